"""`delaminate sample MODEL`: paint scenes from noise."""

from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from delaminate.methods import Method
    from delaminate.methods.perturbgan import PerturbGAN
    from delaminate.scene.layers import Layers

AT_A_TIME = 64


def sample(
    model: Annotated[str, typer.Argument(help="A model or run folder of perturbgan, with its generators.")],
    out: Annotated[Path, typer.Option(help="Where the scenes go.")],
    count: Annotated[int, typer.Option("-n", min=1, help="How many.")] = 64,
    seed: Annotated[int, typer.Option(help="Another seed paints other scenes.")] = 0,
    again: Annotated[bool, typer.Option(help="Remove the scenes in OUT, edits included, and begin anew.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> None:
    """Paint scenes that never were: background and foreground, each a layer of its own, to edit and to export.

    The first scenes of a seed are the same, however many are asked for. Images and masks together are a labelled set:

        delaminate sample runs/photos --out made -n 100

        delaminate recompose made --out set/images

        delaminate export made --to coco,masks --out set
    """
    import torch
    from rich.progress import track

    from delaminate.cli.train import pick_device
    from delaminate.methods import load_model
    from delaminate.pipelines.output_folders import counted_if_stopped, make_room_for_scenes
    from delaminate.scene.decomposition import Decomposition
    from delaminate.scene.saving import SceneWriter

    painting = painter(load_model(model, pick_device(device)))
    make_room_for_scenes(out, again, count)
    writer = SceneWriter(out)
    batches = painted(painting, count, seed, "sample")
    with counted_if_stopped(writer, count):
        for layers in track(batches, "Painting", -(-count // AT_A_TIME), transient=True):
            rasters = torch.cat([layers.rgb, layers.alpha], 2)  # B 2 4 H W
            made = Decomposition.from_rasters(rasters, background=True)
            writer.add(made.scenes([f"{len(writer) + index:06d}.png" for index in range(len(made))]))
    typer.echo(f"{count} scenes from noise in {out}.\nNext: delaminate export {quote(str(out))} --to html --out report")


def painted(painting: "PerturbGAN", count: int, *key: int | str) -> "Iterator[Layers]":
    """Paint scenes batch by batch from the random numbers of a key; the first ones are the same whatever the count."""
    from delaminate.rng import stream

    for first in range(0, count, AT_A_TIME):
        yield painting.sample(AT_A_TIME, stream(*key, first))[: count - first]


def painter(method: "Method") -> "PerturbGAN":
    """The method, if it paints from noise.

    Raises:
        ConfigError: It does not.
    """
    from delaminate.errors import ConfigError
    from delaminate.methods.perturbgan import PerturbGAN

    if not isinstance(method, PerturbGAN) or not method.can_sample:
        raise ConfigError(
            f"{method.name}: this model paints nothing from noise. Take one of perturbgan that you have trained: those in the "
            "box hold no generators."
        )
    return method
