"""`delaminate train METHOD DATA`: learn layers from images."""

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from delaminate.cli.options import Again, Cache, Device, Zoom, report_skipped

if TYPE_CHECKING:
    from delaminate.engine.record import Callback
    from delaminate.pipelines.training import TrainedRun


def train(
    method: Annotated[str, typer.Argument(help="The method, such as dti-sprites.")],
    data: Annotated[
        str,
        typer.Argument(
            help="A folder, a clip, an archive, an address, or a built-in set (see `delaminate data list`)."
        ),
    ],
    preset: Annotated[
        str | None, typer.Option(help="A preset; default: that of the built-in set, or the method's one for folders.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="A YAML file of settings, over the preset.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="key=value, over preset and file; repeatable.")
    ] = None,
    print_config: Annotated[bool, typer.Option(help="Print the resolved settings and stop.")] = False,
    out: Annotated[Path | None, typer.Option(help="Run folder; default runs/METHOD-PRESET-SEED.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of every random number of the run.")] = 0,
    count: Annotated[int | None, typer.Option("-n", min=1, help="Use at most this many images.")] = None,
    fit: Annotated[str, typer.Option(help="How images meet the canvas: squash, crop or pad.")] = "squash",
    zoom: Zoom = None,
    sprites: Annotated[
        Path | None,
        typer.Option(help="Sprites that you have: a folder of pictures, or a sheet's JSON. Search begins with them."),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Stop after this many steps in all; schedules stay.")] = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="Stop after this many minutes; schedules stay.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the run folder's checkpoint, exactly.")] = False,
    overwrite: Annotated[bool, typer.Option(help="Remove the run in the run folder, and start over.")] = False,
    again: Again = False,
    device: Device = "auto",
    cache: Cache = None,
    tensorboard: Annotated[bool, typer.Option(help="Also write TensorBoard files (extra `track`).")] = False,
    quiet: Annotated[bool, typer.Option(help="Show no progress.")] = False,
) -> None:
    """Train METHOD on DATA, without labels.

    Stops cleanly on Ctrl-C and can be resumed exactly with --resume. Under `torchrun` several processes share each batch; with
    its --max-restarts, all go on from the last checkpoint when one is lost.

        delaminate train dti-sprites tetrominoes --minutes 5

        delaminate train dti-sprites photos/ --preset instagram --set num_sprites=12 --out runs/photos

        delaminate train marionette clip.mp4

        delaminate train marionette clip.mp4 --sprites hero/

        torchrun --nproc-per-node 2 -m delaminate train perturbgan photos/ --fit crop
    """
    from rich.console import Console

    from delaminate.config import parse_settings, to_yaml
    from delaminate.engine.parallel import leads
    from delaminate.engine.record import SilentCallback, TerminalCallback
    from delaminate.methods import METHODS
    from delaminate.pipelines.images import forecast_text, parse_zoom
    from delaminate.pipelines.training import guess_preset, prepare_training, resolve_config

    console, quiet = Console(quiet=not leads()), quiet or not leads()
    method_class = METHODS.find(method, "train")
    preset = preset or guess_preset(method_class, data, asks=not resume)
    out = out or Path("runs") / f"{method}-{preset}-{seed}"
    chosen = parse_settings(settings or [])
    if print_config:
        stored = out / "config.yaml"
        file = stored if resume and config is None and stored.exists() else config
        console.print(to_yaml(resolve_config(method_class, preset, file, chosen)), highlight=False, end="")
        return
    training = prepare_training(
        data, method_class, preset, config=config, settings=chosen, out=out, seed=seed, count=count, fit=fit,
        zoom=None if zoom is None else parse_zoom(zoom), steps=steps, minutes=minutes, resume=resume,
        overwrite=overwrite or again, device=device, callback=_notes_on(console), cache=cache,
        sprites=sprites,
    )  # fmt: skip
    images = training.images
    report_skipped(images.skipped)
    training.make_room()
    if not quiet:
        height, width = images.size
        console.print(
            f"preset {preset}: {len(images)} images of {width} x {height} pixels on {training.device} -> {out}"
        )
    if training.forecast is not None:
        console.print(forecast_text(training.forecast, images.size), highlight=False)
    callback = SilentCallback() if quiet else TerminalCallback(console, tuple(method_class.training_signals))
    run = training.run(callback, tensorboard)
    if not leads():
        raise typer.Exit(int(run.result.reason == "failed"))
    conclude(console, run, out, fit)


def _notes_on(console: Any) -> "Callback":
    """Print what is said of the images, and no progress."""
    from delaminate.engine.record import SilentCallback

    class Notes(SilentCallback):
        def note(self, text: str) -> None:
            console.print(text, markup=False, highlight=False)

    return Notes()


def conclude(console: Any, run: "TrainedRun", out: Path, fit: str) -> None:
    """Name the model, or what to do next; failed, the command ends with 1."""
    result = run.result
    if result.reason == "failed":
        console.print(f"[red]Failed[/red] at step {result.total_step}: training collapsed; {run.page} says how.")
        raise typer.Exit(1)
    if run.verdict is not None:
        console.print(run.verdict.text, markup=False, highlight=False)
    if result.finished and run.verdict is not None and run.verdict.level == "nothing":
        console.print(f"Ended without a result; {run.page} shows how it went.")
        raise typer.Exit(1)
    if result.finished:
        fitted = "" if fit == "squash" else f" --fit {fit}"
        console.print(
            f"Done. The model is {out / 'model'}; try: delaminate decompose {quote(str(out))} IMAGES{fitted} --out scenes"
        )
    else:
        console.print(
            f"Stopped ({result.reason}) at step {result.total_step}; go on with the same words and "
            f"--resume --out {quote(str(out))}."
        )
    console.print(f"How it went: {run.page}")
