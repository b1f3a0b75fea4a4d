"""`delaminate settings METHOD`: every setting, its value in a preset, what it may be and what it means."""

from typing import Annotated

import typer


def settings(
    method: Annotated[str, typer.Argument(help="The method, such as dti-sprites.")],
    preset: Annotated[
        str | None, typer.Option(help="Whose values are shown; default: the method's first preset.")
    ] = None,
    group: Annotated[str | None, typer.Option(help="Only settings of this group, such as training.")] = None,
) -> None:
    """Explain the settings of a method, group by group; `train --set NAME=VALUE` changes one.

    delaminate settings redo

    delaminate settings dti-sprites --preset gtsrb8 --group training
    """
    from rich.console import Console
    from rich.table import Table

    from delaminate.config import settings_of, suggest
    from delaminate.errors import ConfigError
    from delaminate.methods import METHODS

    method_class = METHODS.find(method, "settings")
    name = preset or next(iter(method_class.presets))
    config = method_class.preset_config(name)
    known = settings_of(config)
    groups = list(dict.fromkeys(setting.group for setting in known.values()))
    if group is not None and group not in groups:
        raise ConfigError(f"settings: {method} has no group {group!r}. {suggest(group, groups)}")
    console = Console()
    for each in [group] if group is not None else groups:
        table = Table(
            "setting", f"in {name}", "expected", "what it means", title=each or "others", title_justify="left"
        )
        for key, setting in known.items():
            if setting.group == each:
                table.add_row(key, str(vars(config)[key]), setting.expected_with_unit, setting.meaning)
        console.print(table)
