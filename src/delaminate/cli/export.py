"""`delaminate export SCENES`: layers as files for other programs."""

from pathlib import Path
from typing import Annotated

import typer


def export(
    scenes: Annotated[Path, typer.Argument(help="A folder that `delaminate decompose` wrote.")],
    out: Annotated[Path, typer.Option(help="Each format gets a folder of its own in here.")],
    to: Annotated[str, typer.Option(help="png, masks, atlas, ora, coco, html; several with commas.")] = "png",
) -> None:
    """Write layers in the formats of other programs, and say how closely each one composites back.

    - **png**: every layer as a transparent picture, and a manifest
    - **masks**: which layer, and which sprite, is seen at each pixel
    - **atlas**: a sprite sheet with JSON, for game engines
    - **ora**: OpenRaster, layered files for Krita and GIMP
    - **coco**: masks as annotations, for training detectors
    - **html**: one page to look at and to send to a colleague

    An example:

        delaminate export scenes --to ora,atlas --out layers
    """
    from delaminate.config import suggest
    from delaminate.errors import ConfigError
    from delaminate.export import FORMATS
    from delaminate.scene.document import load_scenes

    names = list(dict.fromkeys(name.strip() for name in to.split(",") if name.strip()))
    for name in names:
        if name not in FORMATS:
            raise ConfigError(f"--to {name}: unknown format. {suggest(name, list(FORMATS))}")
    if not names:
        raise ConfigError(f"--to: no format. Known: {', '.join(FORMATS)}.")
    loaded = load_scenes(scenes)
    for name in names:
        result = FORMATS[name](loaded, out / name)
        error = "" if result.max_error is None else f"; composites back within {result.max_error:.4f} of 1"
        typer.echo(f"{name}: {len(result.files)} files in {out / name}{error}")
