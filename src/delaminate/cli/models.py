"""`delaminate models`: the models in the box, what is in a model folder, and models for other programs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from delaminate.cli.options import Model

if TYPE_CHECKING:
    from delaminate.methods import Method


class _ModelOrVerb(TyperGroup):
    """`models NAME` looks into a model, unless NAME is a verb."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            args = ["show", *args]
        return super().resolve_command(ctx, args)


app = typer.Typer(cls=_ModelOrVerb, invoke_without_command=True, subcommand_metavar="[MODEL | export MODEL]")


@app.callback()
def models(ctx: typer.Context) -> None:
    """List the trained models that come with Delaminate, look into one, or export its network.

    delaminate models

    delaminate models dti-sprites/tetrominoes

    delaminate models export dti-sprites/tetrominoes --to onnx --out graph

    A folder of your own that is called `export` or `show` is looked into by its path, `./export`.
    """
    from rich.console import Console
    from rich.table import Table

    from delaminate import zoo

    if ctx.invoked_subcommand is not None:
        return
    table = Table("name", "what it is", box=None)
    for name, title in zoo.names().items():
        table.add_row(name, title)
    Console().print(table if table.row_count else "No model comes with this copy of Delaminate.")


@app.command()
def show(model: Model) -> None:
    """Say what a model holds; `delaminate models MODEL` is the same."""
    from rich.console import Console
    from rich.table import Table

    from delaminate.methods import load_model

    table = Table(box=None, show_header=False)
    for key, value in describe(load_model(model)).items():
        table.add_row(key, value)
    Console().print(table, highlight=False)


@app.command()
def export(
    model: Model,
    out: Annotated[Path, typer.Option(help="A folder for the files.")],
    to: Annotated[str, typer.Option(help="onnx, or web-demo: a page that takes images apart in a browser.")] = "onnx",
    by: Annotated[str | None, typer.Option(help="Which network, where a model has several; default: the best.")] = None,
    images: Annotated[
        str | None,
        typer.Option(
            help="Pictures to check the graph on, up to 16; a page offers the first 6 to try. Default: drawn ones."
        ),
    ] = None,
    runtime: Annotated[
        Path | None,
        typer.Option(
            help="web-demo: the npm package onnxruntime-web, its folder or the .tgz of `npm pack onnxruntime-web`."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Write over files that are there.")] = False,
) -> None:
    """Write a model's network and what composites its layers as one ONNX graph (extra: onnx), checked against torch.

    OUT/model.onnx takes any number of images (batch, 3, H, W), RGB in [0, 1], of the model's size, and gives layers, what is
    seen of each, and what they composite to; OUT/model.json says so. Refused if it differs from torch by more than 0.0001.

    delaminate models export redo/flowers17 --to onnx --out graph

    delaminate models export redo/flowers17 --to web-demo --runtime onnxruntime-web-1.30.0.tgz --out page

    python -m http.server -d page
    """
    from delaminate.pipelines.model_export import export_model

    made = export_model(model, out, to, by=by, images=images, runtime=runtime, overwrite=overwrite)
    size = (out / "model.onnx").stat().st_size
    typer.echo(
        f"{out / 'model.onnx'}: by {made.by}, {size / 1e6:.1f} MB; within {made.difference:.1e} of torch on "
        f"{made.num_images - made.ties} images, at most 1e-04 is allowed"
    )
    if made.ties:
        typer.echo(
            f"On {made.ties} more two choices of sprites are equally good, to the last bits, and either is taken."
        )
    if made.left_out:
        typer.echo(
            f"`decompose` takes {made.left_out} by default, which is no network: the graph holds what it starts from, "
            f"{made.by}."
        )
    if to == "web-demo":
        typer.echo(f"{out / 'index.html'}: `{_server(out)}`, then open http://localhost:8000")


def _server(out: Path) -> str:
    from shlex import quote

    return f"python -m http.server -b 127.0.0.1 -d {quote(str(out))}"


def describe(method: "Method") -> dict[str, str]:
    """Say what a model holds, in words."""
    height, width = method.image_size
    dictionary = method.dictionary()
    sprites = len(dictionary) - len(dictionary.backgrounds)
    sizes = sorted({f"{sprite.shape[2]} x {sprite.shape[1]}" for sprite in dictionary.sprites})
    numbers = sum(tensor.numel() for tensor in method.export_state().values())
    ways, found = method.decomposers, {"method": method.name}
    found["images"] = "any size" if ways and method.accepts_size((1, 1), ways[0]) else f"{width} x {height} pixels"
    if len(dictionary):
        found["dictionary"] = f"{sprites} sprites, {len(dictionary.backgrounds)} backgrounds ({', '.join(sizes)})"
    found["decomposes by"] = f"{', '.join(ways)} (the first is the default)" if ways else "nothing yet"
    found["exports as ONNX"] = ", ".join(method.graph_ways) or "nothing: it holds no trained network"
    return found | {"numbers": f"{numbers:,}"}
