"""`delaminate export SCENES`: layers as files for other programs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from delaminate.scene.scenes import Scene

KNOWN = "png, masks, atlas, aseprite, ase, tiled, ora, psd, svg, gif, apng, webp, mp4, placements, coco, html"


def export(
    scenes: Annotated[Path, typer.Argument(help="A folder that `delaminate decompose` wrote.")],
    out: Annotated[Path, typer.Option(help="Each format gets a folder of its own in here.")],
    to: Annotated[str, typer.Option(help=f"{KNOWN}; several with commas.")] = "png",
    rate: Annotated[
        float | None, typer.Option(help="Frames per second of animations; default: the clip's own, else 10.")
    ] = None,
    ground: Annotated[
        bool | None,
        typer.Option("--ground/--no-ground", help="Animations with the background; default: mp4 with, others without."),
    ] = None,
) -> None:
    """Write layers in the formats of other programs, and say how closely each one composites back.

    - **png**: every layer as a transparent picture, and a manifest
    - **masks**: which layer, and which sprite, is seen at each pixel
    - **atlas**: a sprite sheet with TexturePacker's JSON, for game engines
    - **aseprite**: a sprite sheet with Aseprite's JSON: animations as tags
    - **ase**: the clip as one Aseprite file: a layer for each track
    - **tiled**: maps and a tileset for Tiled; the grid is found
    - **ora**: OpenRaster, layered files for Krita and GIMP
    - **psd**: layered files for Photoshop and its relatives (extra: export)
    - **svg**: vector drawings that place each sprite by reference
    - **gif**: the objects as an animation of 256 colours
    - **apng**: the objects as an animated PNG, nothing lost
    - **webp**: the objects as an animated WebP, nothing lost
    - **mp4**: the clip as a video (extra: video)
    - **placements**: where every sprite is, as CSV and JSON
    - **coco**: masks as annotations, for training detectors
    - **html**: one page to look at and to send to a colleague

    An example:

        delaminate export scenes --to ora,atlas --out layers

        delaminate export scenes --to aseprite,tiled --rate 25 --out game
    """
    from delaminate.data.sets import natural_key
    from delaminate.export import FORMATS
    from delaminate.export.files import frame_milliseconds
    from delaminate.export.residuals import RESIDUALS
    from delaminate.scene.loading import load_rate, load_scenes

    names = _formats(to)
    frame_milliseconds(rate)  # a rate that is none is refused before anything is written
    loaded = load_scenes(scenes, order=natural_key)
    _refuse_sheets_of_nothing(names, loaded)
    given: dict[str, Any] = {"rate": load_rate(scenes) if rate is None else rate}
    if (scenes / RESIDUALS).is_dir():
        given["residuals"] = scenes / RESIDUALS
    if ground is not None:
        given["ground"] = ground
    for name in names:
        chosen = FORMATS[name]
        options = {option: given[option] for option in chosen.options if option in given}
        result = chosen.write(loaded, out / name, **options)
        error = "" if result.max_error is None else f"; composites back within {result.max_error:.4f} of 1"
        typer.echo(f"{name}: {len(result.files)} files in {out / name}{error}")


def _refuse_sheets_of_nothing(names: list[str], scenes: "Sequence[Scene]") -> None:
    """Refuse formats that hold the sprites which scenes share, where they share none."""
    from delaminate.errors import ConfigError
    from delaminate.export import FORMATS

    for name in names:
        if FORMATS[name].of_sprites and scenes and not len(scenes[0].dictionary):
            raise ConfigError(
                f"--to {name}: these scenes share no sprites. Cut-outs go to png, masks, coco, ora or psd."
            )


def _formats(to: str) -> list[str]:
    """The formats of a list with commas, each once."""
    from delaminate.config import suggest
    from delaminate.errors import ConfigError
    from delaminate.export import FORMATS

    names = list(dict.fromkeys(name.strip() for name in to.split(",") if name.strip()))
    for name in names:
        if name not in FORMATS:
            raise ConfigError(f"--to {name}: unknown format. {suggest(name, list(FORMATS))}")
    if not names:
        raise ConfigError(f"--to: no format. Known: {', '.join(FORMATS)}.")
    return names
