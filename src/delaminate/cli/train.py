"""`delaminate train METHOD DATA`: learn layers from images."""

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from delaminate.data import ImageSet
    from delaminate.data.synthetic.scenes import Split
    from delaminate.engine import Outcome

TRAIN_COUNT = 20_000
"""Images drawn for training from a built-in set, unless -n says otherwise."""


def resolve(method: str, preset: str, config_file: Path | None, settings: list[str]) -> tuple[Any, Any]:
    """Turn preset, file and `--set` into a method class and its configuration."""
    from delaminate.config import build, parse_settings, read_yaml, suggest
    from delaminate.errors import ConfigError
    from delaminate.methods import METHODS

    if method not in METHODS:
        raise ConfigError(f"train: unknown method {method!r}. {suggest(method, list(METHODS))}")
    method_class, presets = METHODS[method]
    if preset not in presets:
        raise ConfigError(f"{method}: unknown preset {preset!r}. {suggest(preset, list(presets))}")
    config = presets[preset]
    if config_file is not None:
        values = read_yaml(config_file)
        fitting = [
            name for name, (_, some) in METHODS.items() if values.keys() <= vars(next(iter(some.values()))).keys()
        ]
        if fitting and method not in fitting:
            raise ConfigError(f"{config_file}: these are settings of {' or '.join(fitting)}, not of {method}.")
        config = build(config, values, str(config_file))
    return method_class, build(config, parse_settings(settings), "--set")


def pick_device(name: str) -> str:
    """Resolve `auto` to a GPU where there is one, each process of `torchrun` to its own."""
    import torch

    from delaminate.engine.parallel import own_device
    from delaminate.errors import ConfigError

    if name == "auto":
        return own_device()
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError):
        raise ConfigError(f"--device {name!r}: not available here. Use auto or cpu.") from None
    return name


def training_images(
    data: str, size: tuple[int, int], count: int | None, seed: int, fit: str, split: "Split" = "train"
) -> "ImageSet":
    """Open a folder, a clip or a built-in set without its labels; of size (0, 0): as they are, upscaling undone."""
    from delaminate.data import draw_images
    from delaminate.data.synthetic.scenes import DRAWINGS
    from delaminate.errors import ConfigError
    from delaminate.pipelines.images import AS_THEY_ARE, open_images

    if fit not in ("squash", "crop", "pad"):
        raise ConfigError(f"--fit {fit}: expected squash, crop or pad.")

    wanted = None if size == AS_THEY_ARE else size
    if data in DRAWINGS and not Path(data).exists():
        return draw_images(data, count or TRAIN_COUNT, seed=seed, split=split, size=wanted)
    return open_images(data, wanted, fit, count=count, seed=seed, split=split)


ASKED = {"dti-sprites": "such as instagram for photos that share an object, or tetrominoes for flat pieces on black"}
"""Methods of which no preset suits just any folder, and what to say then."""


def guess_preset(method: str, data: str, asks: bool = True) -> str:
    """Take the preset of a built-in set's name, else the method's first, which is for a folder of one's own.

    Raises:
        ConfigError: There is none for just any folder, and `asks`.
    """
    from delaminate.errors import ConfigError
    from delaminate.methods import METHODS

    presets = METHODS[method][1] if method in METHODS else {}
    own = Path(data).exists()
    if asks and own and method in ASKED:
        raise ConfigError(
            f"train: {method} needs a --preset for a folder, {ASKED[method]}. Known: {', '.join(presets)}."
        )
    return data if data in presets and not own else next(iter(presets), "")


def train(
    method: Annotated[str, typer.Argument(help="The method, such as dti-sprites.")],
    data: Annotated[str, typer.Argument(help="A folder, a clip, or a built-in set (see `delaminate data list`).")],
    preset: Annotated[
        str | None, typer.Option(help="A preset; default: that of the built-in set, or the method's one for folders.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="A YAML file of settings, over the preset.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="key=value, over both; repeatable.")] = None,
    print_config: Annotated[bool, typer.Option(help="Print the resolved settings and stop.")] = False,
    out: Annotated[Path | None, typer.Option(help="Run folder; default runs/METHOD-PRESET-SEED.")] = None,
    seed: Annotated[int, typer.Option(help="Names every random number of the run.")] = 0,
    count: Annotated[int | None, typer.Option("-n", min=1, help="Use at most this many images.")] = None,
    fit: Annotated[str, typer.Option(help="How images meet the canvas: squash, crop or pad.")] = "squash",
    steps: Annotated[int | None, typer.Option(min=1, help="Stop after this many steps in all; schedules stay.")] = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="Stop after this many minutes; schedules stay.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the run folder's checkpoint, exactly.")] = False,
    again: Annotated[bool, typer.Option(help="Remove the run in the run folder, and begin anew.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    tensorboard: Annotated[bool, typer.Option(help="Also write TensorBoard files (extra `track`).")] = False,
    quiet: Annotated[bool, typer.Option(help="Show no progress.")] = False,
) -> None:
    """Train METHOD on DATA, without labels.

    Stops cleanly on Ctrl-C and can be resumed exactly with --resume. Under `torchrun` several processes share each batch.

        delaminate train dti-sprites tetrominoes --minutes 5

        delaminate train dti-sprites photos/ --preset instagram --set num_sprites=12 --out runs/photos

        delaminate train marionette clip.mp4

        torchrun --nproc-per-node 2 -m delaminate train perturbgan photos/ --fit crop
    """
    from rich.console import Console

    from delaminate.config import to_yaml
    from delaminate.engine import Budget
    from delaminate.engine import train as run_training
    from delaminate.engine.parallel import leads
    from delaminate.engine.record import PARTS, Quiet, Terminal
    from delaminate.pipelines.images import fill_size, forecast_training
    from delaminate.pipelines.output_folders import make_room

    console, quiet = Console(quiet=not leads()), quiet or not leads()
    preset = preset or guess_preset(method, data, asks=not resume)
    out = out or Path("runs") / f"{method}-{preset}-{seed}"
    stored = out / "config.yaml"
    if resume and config is None and stored.exists():
        config = stored
    method_class, chosen = resolve(method, preset, config, settings or [])
    if print_config:
        console.print(to_yaml(chosen), highlight=False, end="")
        return
    images = training_images(data, chosen.image_size, count, seed, fit)
    chosen = fill_size(chosen, images)
    report_skipped(console, images.skipped)
    where = pick_device(device)
    if not resume and leads():
        make_room(out, again, PARTS, ("checkpoint.pt", "model"), "a run already. Go on with --resume")
    if not quiet:
        console.print(
            f"preset {preset}: {len(images)} images of {chosen.image_size[0]} x {chosen.image_size[1]} on {where} -> {out}"
        )
    if said := forecast_training(chosen, images):
        console.print(said, highlight=False)
    outcome = run_training(
        method_class(chosen, seed), images.pixels, out, seed=seed, device=where, budget=Budget(steps, minutes),
        resume=resume, listener=Quiet() if quiet else Terminal(console), tensorboard=tensorboard,
    )  # fmt: skip
    if not leads():
        raise typer.Exit(int(outcome.reason == "failed"))
    facts = {"Method": method} | ({} if resume else {"Preset": preset})
    facts |= {"Images": f"{len(images)} of {data}", "Fit": fit, "Seed": str(seed)}
    conclude(console, outcome, out, method_class, facts)


def conclude(console: Any, outcome: "Outcome", out: Path, method_class: Any, facts: dict[str, str]) -> None:
    """Write the page about the run, and name the model, or what to do next; failed, the command ends with 1."""
    report = write_page(out, method_class, facts | {"Ended": f"{outcome.reason}, step {outcome.total_step}"})
    if outcome.reason == "failed":
        console.print(f"[red]Failed[/red] at step {outcome.total_step}: training collapsed; {report} says how.")
        raise typer.Exit(1)
    if outcome.finished:
        fit = "" if facts["Fit"] == "squash" else f" --fit {facts['Fit']}"
        console.print(
            f"Done. The model is {out / 'model'}; try: delaminate decompose {quote(str(out))} IMAGES{fit} --out scenes"
        )
    else:
        console.print(
            f"Stopped ({outcome.reason}) at step {outcome.total_step}; go on with the same words and "
            f"--resume --out {quote(str(out))}."
        )
    console.print(f"How it went: {report}")


def write_page(out: Path, method_class: Any, facts: dict[str, str]) -> Path:
    """Write the page about a training into its run folder."""
    from delaminate.engine.record import read_log
    from delaminate.export.training_page import write_history

    page = out / "report.html"
    previews = sorted((out / "previews").glob("*.png"))
    write_history(
        page, title="How it was trained", log=read_log(out), previews=previews, rows=method_class.rows, facts=facts
    )
    return page


def report_skipped(console: Any, skipped: tuple[tuple[str, str], ...]) -> None:
    """Name the files that could not be used."""
    if skipped:
        console.print(f"[yellow]{len(skipped)} files skipped:[/yellow]")
    for name, reason in skipped[:10]:
        console.print(f"  {name}: {reason}", markup=False)
    if len(skipped) > 10:
        console.print(f"  ... and {len(skipped) - 10} more")
