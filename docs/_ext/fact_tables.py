"""Tables made from code: settings, presets, formats, figures, models. Each is a header and rows of Markdown."""

import dataclasses
import types
import typing
from dataclasses import MISSING, dataclass
from typing import Any

from delaminate import zoo
from delaminate.config import Setting, settings_of
from delaminate.exporters import FORMATS
from delaminate.exporters.figure_texts import EXPLANATIONS, SHARES, SIGNALS, VARIANTS
from delaminate.methods.base import Method
from delaminate.methods.registry import METHODS
from delaminate.methods.settings import MethodConfig


@dataclass(frozen=True)
class Table:
    """A table of a page.

    Attributes:
        title: A heading above it; empty: none.
        header: Names of the columns.
        rows: Cells in Markdown.
    """

    title: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]


def code(value: Any) -> str:
    """A value in code, as one writes it in YAML."""
    if value is None or isinstance(value, bool):
        value = str(value).lower()
    elif isinstance(value, tuple | list):
        value = "[" + ", ".join(str(item) for item in value) + "]"
    elif isinstance(value, float):
        value = f"{value:g}"
    return f"`{value}`"


def choices(hint: Any) -> tuple[Any, ...]:
    """The values that a type names, within tuples and unions too."""
    if typing.get_origin(hint) is typing.Literal:
        return typing.get_args(hint)
    return tuple(value for inner in typing.get_args(hint) for value in choices(inner))


def holds_numbers(hint: Any) -> bool:
    """Whether a setting's value, or each item of it, is a number."""
    return hint in (int, float) or any(holds_numbers(inner) for inner in typing.get_args(hint))


def values_of(hint: Any, known: Setting) -> str:
    """What a setting may be, in words."""
    named = choices(hint)
    if named:
        said = ", ".join(code(value) for value in named)
        return f"some of {said}" if typing.get_origin(hint) is tuple else said
    if hint is bool:
        return "`true`, `false`"
    if not holds_numbers(hint):
        return "text"
    said = known.expected
    if typing.get_origin(hint) is tuple:
        inner = typing.get_args(hint)
        said = f"numbers, each {said}" if Ellipsis in inner else f"{len(inner)} numbers, each {said}"
    optional = typing.get_origin(hint) in (typing.Union, types.UnionType) and type(None) in typing.get_args(hint)
    return f"{said}, or `none`" if optional else said


def settings_tables(method: str) -> list[Table]:
    """Every setting of a method, by the part that it belongs to."""
    config = type(next(iter(METHODS[method].presets.values())))
    hints, known, common = typing.get_type_hints(config), settings_of(config), settings_of(MethodConfig)
    groups: dict[str, list[tuple[str, ...]]] = {}
    for field in dataclasses.fields(config):
        default = "from the preset" if field.default is MISSING else code(field.default)
        about = known[field.name]
        if not about.meaning and field.name in common:  # declared again for another default
            about = dataclasses.replace(about, meaning=common[field.name].meaning)
        row = (f"`{field.name}`", default, values_of(hints[field.name], about), about.unit, about.meaning)
        groups.setdefault(about.group or "other", []).append(row)
    header = ("setting", "default", "values", "unit", "meaning")
    return [Table(group.capitalize(), header, rows) for group, rows in groups.items()]


def presets_tables(method: str) -> list[Table]:
    """Every preset of a method: what it sets, and for `-paper` and `-parity` what differs from the one before it."""
    presets = METHODS[method].presets
    rows = []
    for name, config in presets.items():
        family = name.removesuffix("-paper").removesuffix("-parity")
        bases = {"-paper": [family], "-parity": [f"{family}-paper", family]}.get(name.removeprefix(family), [])
        base = next((each for each in bases if each in presets), None)
        changed = differing(config, None if base is None else presets[base])
        said = ", ".join(f"`{key}={text}`" for key, text in changed.items()) or "nothing"
        rows.append((f"`{name}`", f"as `{base}`, but {said}" if base else said))
    return [Table("", ("preset", "what it sets"), rows)]


def differing(config: Any, base: Any) -> dict[str, str]:
    """The settings in which a configuration is not another one; None: not at its defaults."""
    found = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if value != (field.default if base is None else getattr(base, field.name)):
            found[field.name] = code(value).strip("`")
    return found


def formats_table() -> list[Table]:
    """Every way out, as the command line and `delaminate.export` know it."""
    rows = [
        (
            f"`{name}`",
            each.about,
            ", ".join(f"`{option}`" for option in each.options) or "–",
            "the sprites that scenes share" if each.of_sprites else "any scenes",
            f"`{each.extra}`" if each.extra else "–",
        )
        for name, each in FORMATS.items()
    ]
    return [Table("", ("format", "what it writes", "options", "takes", "extra"), rows)]


def figures_tables() -> list[Table]:
    """Every figure of `evaluate`, and every signal of a training, with its meaning."""
    figures = [
        (f"`{name}`", "0 to 1" if name in SHARES else "a number", meaning) for name, meaning in EXPLANATIONS.items()
    ]
    variants = [(f"`…{suffix}`", meaning.strip()) for suffix, meaning in VARIANTS.items()]
    signals = [(f"`{name}`", "every method", meaning) for name, meaning in SIGNALS.items()]
    for name, method in own_methods().items():
        signals += [(f"`{signal}`", f"`{name}`", meaning) for signal, meaning in method.training_signals.items()]
    return [
        Table("Figures", ("figure", "range", "meaning"), figures),
        Table("Variants of a figure", ("suffix", "meaning"), variants),
        Table("Signals of a training", ("signal", "method", "meaning"), signals),
    ]


def models_table() -> list[Table]:
    """The trained models in the box."""
    return [Table("", ("model", "what it knows"), [(f"`{name}`", title) for name, title in zoo.names().items()])]


def own_methods() -> dict[str, type[Method]]:
    """The methods of this library, not those that installed packages offer."""
    return {name: METHODS[name] for name in METHODS if METHODS[name].__module__.startswith("delaminate.")}
