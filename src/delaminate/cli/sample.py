"""`delaminate sample MODEL`: paint scenes from noise."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from delaminate.methods import Method
    from delaminate.methods.perturbgan import PerturbGAN

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

    The first scenes of a seed are the same, however many are asked for. With their masks they are a labelled set.

        delaminate sample runs/photos --out made -n 100

        delaminate export made --to png,coco,html --out set
    """
    import torch

    from delaminate.cli.decompose import clear
    from delaminate.cli.train import pick_device
    from delaminate.methods import load_model
    from delaminate.rng import stream
    from delaminate.scene.document import save_scenes
    from delaminate.scene.placements import Decomposition

    painting = painter(load_model(model, pick_device(device)))
    clear(out, again)
    rasters = []
    for first in range(0, count, AT_A_TIME):
        layers = painting.sample(AT_A_TIME, stream(seed, "sample", first))
        rasters.append(torch.cat([layers.rgb, layers.alpha], 2).cpu()[: count - first])  # B 2 4 H W
    made = Decomposition.from_rasters(torch.cat(rasters), background=True)
    save_scenes(made.scenes([f"{number:06d}" for number in range(count)]), out)
    typer.echo(f"{count} scenes from noise in {out}.\nNext: delaminate export {out} --to png,coco,html --out set")


def painter(method: "Method") -> "PerturbGAN":
    """The method, if it paints from noise.

    Raises:
        ConfigError: It does not.
    """
    from delaminate.errors import ConfigError
    from delaminate.methods.perturbgan import PerturbGAN

    if not isinstance(method, PerturbGAN) or not method.can_sample:
        raise ConfigError(
            f"{method.name}: this model paints nothing from noise. Take a model of perturbgan with its generators."
        )
    return method
