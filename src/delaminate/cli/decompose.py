"""`delaminate decompose MODEL IMAGES`: take images apart into scenes."""

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from delaminate.cli.options import (
    Again,
    By,
    Cache,
    Cluster,
    Device,
    Fit,
    Model,
    Workers,
    Zoom,
    progress_bar,
    report_skipped,
)


def decompose(
    model: Model,
    images: Annotated[
        str, typer.Argument(help="A folder of images, one image, a clip, an archive, an address, or a built-in set.")
    ],
    out: Annotated[Path, typer.Option(help="Where the scenes go.")],
    by: By = None,
    fit: Fit = "squash",
    zoom: Zoom = None,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, help="Only so many images, the first ones.")
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            min=0, help="Frames a second, where images are the frames of a clip; 0: they are none. Default: found."
        ),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Images at a time, fewer where they are large.")] = 64,
    overwrite: Annotated[bool, typer.Option(help="Remove the scenes in OUT, edits included, and start over.")] = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with the scenes in OUT: finished and edited ones stay, the rest is made."),
    ] = False,
    shard: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="Only part I of N, from 1/N to N/N: machines share the work, and OUT."),
    ] = None,
    packed: Annotated[
        bool, typer.Option("--packed", help="Into few large files (tar) instead of some for each scene.")
    ] = False,
    cache: Cache = None,
    workers: Workers = None,
    cluster: Cluster = None,
    again: Again = False,
    device: Device = "auto",
) -> None:
    """Take every image apart into layers that you can edit, export and measure.

    OUT holds the sprites (dictionary/*.png), one scene for each image (scenes/NAME/scene.json), small pictures of what
    the layers do not explain (residuals/NAME.png, not of cut-outs) and errors.json, which says how closely the layers
    rebuild each image, at the model's size and at the image's own, and which files were skipped and why. Redraw a sprite
    of the dictionary and every image that uses it changes. Ends with 1 if no image holds anything but background.

    Wherever it is cut off, the same command with --resume finishes it. For very many images give --packed, and share the work:
    --workers 8 on one machine, --cluster ADDRESS where Dask runs, or each machine gets a --shard of its own, into the same OUT.

        delaminate decompose dti-sprites/tetrominoes pieces/images --out scenes

        delaminate decompose runs/photos photos/ --out scenes --packed --shard 2/4 --resume
    """
    from delaminate.pipelines.decomposition import decompose as decompose_images
    from delaminate.pipelines.images import parse_zoom
    from delaminate.pipelines.shards import parse_shard

    with progress_bar("Decomposing") as callback:
        found = decompose_images(
            model, images, out, by=by, fit=fit, zoom=None if zoom is None else parse_zoom(zoom), limit=limit, rate=rate,
            batch=batch, overwrite=overwrite or again, resume=resume,
            shard=None if shard is None else parse_shard(shard), packed=packed, device=device, callback=callback, cache=cache,
            workers=workers, cluster=cluster,
        )  # fmt: skip
    report_skipped(found.skipped)
    typer.echo(f"{found.summary}\nNext: delaminate export {quote(str(out))} --to html --out report")
    if found.verdict is not None and found.verdict.level == "nothing":
        raise typer.Exit(1)
