"""`delaminate models`: the models in the box, and what is in a model folder."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from delaminate.methods import Method


def models(
    model: Annotated[str | None, typer.Argument(help="A model to look into; none lists the models in the box.")] = None,
) -> None:
    """List the trained models that come with Delaminate, or look into one.

    delaminate models

    delaminate models dti-sprites/tetrominoes
    """
    from rich.console import Console
    from rich.table import Table

    from delaminate import zoo
    from delaminate.methods import load_model

    console = Console()
    if model is None:
        table = Table("name", "what it is", box=None)
        for name, title in zoo.names().items():
            table.add_row(name, title)
        console.print(table if table.row_count else "No model comes with this copy of Delaminate.")
        return
    table = Table(box=None, show_header=False)
    for key, value in describe(load_model(model)).items():
        table.add_row(key, value)
    console.print(table, highlight=False)


def describe(method: "Method") -> dict[str, str]:
    """Say what a model holds, in words."""
    height, width = method.image_size
    dictionary = method.dictionary()
    sprites = len(dictionary) - len(dictionary.backgrounds)
    sizes = sorted({f"{sprite.shape[1]} x {sprite.shape[2]}" for sprite in dictionary.sprites})
    numbers = sum(tensor.numel() for tensor in method.export_state().values())
    ways, found = method.decomposers, {"method": method.name}
    found["images"] = "any size" if ways and method.accepts_size((1, 1), ways[0]) else f"{height} x {width} pixels"
    if len(dictionary):
        found["dictionary"] = f"{sprites} sprites, {len(dictionary.backgrounds)} backgrounds ({', '.join(sizes)})"
    found["decomposes by"] = f"{', '.join(ways)} (the first is the default)" if ways else "nothing yet"
    return found | {"numbers": f"{numbers:,}"}
