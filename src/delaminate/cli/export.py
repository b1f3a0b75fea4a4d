"""`delaminate export SCENES`: layers as files for other programs."""

from pathlib import Path
from typing import Annotated

import typer

from delaminate.cli.options import ScenesFolder

KNOWN = "png, masks, atlas, aseprite, ase, tiled, ora, psd, svg, gif, apng, webp, mp4, placements, coco, html"


def export(
    scenes: ScenesFolder,
    out: Annotated[Path, typer.Option(help="Each format gets a folder of its own in here.")],
    to: Annotated[str, typer.Option(help=f"{KNOWN}; several with commas.")] = "png",
    rate: Annotated[
        float | None, typer.Option(help="Frames per second of animations; default: the clip's own, else 10.")
    ] = None,
    background: Annotated[
        bool | None,
        typer.Option(help="Animations with the background; default: mp4 with, others without."),
    ] = None,
    ground: Annotated[bool | None, typer.Option(hidden=True, help="Older name of --background.")] = None,
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
    from delaminate.pipelines.exporting import export as export_scenes

    written = export_scenes(scenes, out, to, rate=rate, background=ground if background is None else background)
    for name, result in written.items():
        error = "" if result.max_error is None else f"; composites back within {result.max_error:.4f} of 1"
        typer.echo(f"{name}: {len(result.files)} files in {out / name}{error}")
