"""Configuration: frozen dataclasses to and from YAML; unknown keys are refused with a suggestion.

Values come from a preset, then a YAML file, then `--set key=value`. A default lives once, in the dataclass, and with it what
the setting means and which values it takes: `setting`. Checks, help, and the tables of the documents are made from that.
"""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from delaminate.errors import ConfigError, reading

T = TypeVar("T")
LARGEST_FILE = 100_000
MOST_LISTS = 500
LARGEST_NUMBER = 2**63  # of whole numbers, either way: what files of models hold


def suggest(word: str, words: Sequence[str]) -> str:
    """Say which known word was meant, or list them."""
    close = difflib.get_close_matches(word, words, n=1)
    return f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(sorted(words))}."


def build(base: T, values: Mapping[str, Any], where: str) -> T:
    """Change some fields of a configuration.

    Args:
        base: A dataclass instance, such as a preset.
        values: New values by field name; YAML lists become tuples.
        where: Whose configuration this is, for messages.

    Raises:
        ConfigError: A key is unknown or a value has the wrong type or range.
    """
    assert dataclasses.is_dataclass(base) and not isinstance(base, type)
    hints = typing.get_type_hints(type(base))
    known = [f.name for f in dataclasses.fields(base)]
    checked: dict[str, Any] = {}
    for key, value in current_names(type(base), values).items():
        if key not in known:
            raise ConfigError(f"{where}: unknown key {key!r}. {suggest(str(key), known)}")
        checked[key] = _convert(value, hints[key], f"{where}: {key}")
    with reading(where, ConfigError, "these settings do not go together"):
        return dataclasses.replace(base, **checked)


def _convert(value: Any, hint: Any, where: str) -> Any:
    """Check `value` against a type hint; ints serve as floats, lists as tuples."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        nothing = ("none", "None") if str not in arguments else ()  # Python's word for YAML's null
        if type(None) in arguments and (value is None or value in nothing):
            return None
        return _convert(value, next(a for a in arguments if a is not type(None)), where)
    if origin is typing.Literal:
        if value not in arguments:
            raise ConfigError(f"{where} is {value!r}; expected one of {', '.join(map(repr, arguments))}.")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{where} is {value!r}; expected a list, such as [64, 64].")
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return tuple(_convert(item, arguments[0], where) for item in value)
        if len(value) != len(arguments):
            raise ConfigError(f"{where} has {len(value)} items; expected {len(arguments)}.")
        return tuple(_convert(item, a, where) for item, a in zip(value, arguments, strict=True))
    if isinstance(value, int) and not -LARGEST_NUMBER <= value < LARGEST_NUMBER:
        raise ConfigError(f"{where} has {len(f'{value:x}')} hexadecimal digits; expected a number of at most 16.")
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    if hint is float and isinstance(value, str):
        # YAML 1.1 reads 1e-4 as a string.
        try:
            return float(value)
        except ValueError:
            pass
    raise ConfigError(f"{where} is {value!r}; expected {getattr(hint, '__name__', hint)}.")


def current_names(config_class: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Put settings that were written under older names, or with older values, under those that hold now.

    A configuration class may list both: `renamed`, from old names to new ones, and `renamed_values`, from old values to new
    ones for each setting. What is given under its new name, too, stands.
    """
    renamed: Mapping[str, str] = getattr(config_class, "renamed", {})
    revalued: Mapping[str, Mapping[Any, Any]] = getattr(config_class, "renamed_values", {})
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = renamed.get(key, key)
        if name == key or name not in values:
            known = revalued.get(name, {})
            found[name] = known.get(value, value) if isinstance(value, str) else value
    return found


def at_defaults(config: T) -> T:
    """Set every field that has a default to it."""
    assert dataclasses.is_dataclass(config) and not isinstance(config, type)
    known = {f.name: f.default for f in dataclasses.fields(config) if f.default is not dataclasses.MISSING}
    return dataclasses.replace(config, **known)


@dataclass(frozen=True)
class Setting:
    """What is known about a setting, besides its type and default.

    Attributes:
        meaning: In sentences, with the source where there is one.
        unit: Such as "px" or "steps"; empty for plain numbers.
        minimum, maximum: Bounds that may be reached; of a tuple: of each item.
        above, below: Bounds that may not.
        multiple_of: The value is a multiple of this.
        group: The part of the method, or the stage of training, that it belongs to.
    """

    meaning: str
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    below: float | None = None
    multiple_of: int | None = None
    group: str = ""

    def holds(self, number: float) -> bool:
        """Say whether a number is finite and within the bounds."""
        return (
            math.isfinite(number)
            and (self.minimum is None or number >= self.minimum)
            and (self.maximum is None or number <= self.maximum)
            and (self.above is None or number > self.above)
            and (self.below is None or number < self.below)
            and (self.multiple_of is None or number % self.multiple_of == 0)
        )

    @property
    def expected(self) -> str:
        """The bounds in words, such as "1 to 4096"."""
        low, high = self.minimum, self.maximum
        if low is not None and high is not None:
            said = f"{low:g} to {high:g}"
        elif low is not None and self.below is not None:
            said = f"{low:g} to below {self.below:g}"
        elif low is not None:
            said = f"{low:g} or more"
        elif self.above is not None:
            said = f"above {self.above:g}" + (f", at most {high:g}" if high is not None else "")
        else:
            said = "a finite number" if high is None else f"at most {high:g}"
        return said if self.multiple_of is None else f"{said}, a multiple of {self.multiple_of}"

    @property
    def expected_with_unit(self) -> str:
        """The bounds in words with the unit, such as "1 to 4096 px"; empty where there is neither."""
        bounds = [self.minimum, self.maximum, self.above, self.below, self.multiple_of]
        said = self.expected if any(bound is not None for bound in bounds) else ""
        return f"{said} {self.unit}".strip()


def setting(default: Any = dataclasses.MISSING, meaning: str = "", **known: Any) -> Any:
    """Declare a field of a configuration: its default, its meaning, and the other attributes of `Setting`."""
    return dataclasses.field(default=default, metadata={"setting": Setting(meaning, **known)})


def settings_of(config: Any) -> dict[str, Setting]:
    """List what is known about every setting of a configuration or its class, by name."""
    return {field.name: field.metadata.get("setting", Setting("")) for field in dataclasses.fields(config)}


def check_bounds(where: str, config: Any) -> None:
    """Refuse numbers that are not finite or out of their bounds, and words that are none of those known.

    Raises:
        ConfigError: Names the setting, what came and what was expected.
    """
    hints = typing.get_type_hints(type(config))
    for name, known in settings_of(config).items():
        value = getattr(config, name)
        if typing.get_origin(hints[name]) is typing.Literal:
            _convert(value, hints[name], f"{where}: {name}")
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, int | float) and not isinstance(number, bool) and not known.holds(number):
                each = ", each" if isinstance(value, tuple) else ""
                raise ConfigError(f"{where}: {name} is {value!r}; expected {known.expected}{each}.")


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file of settings, safely.

    Raises:
        ConfigError: The file is missing, too large, not YAML, or not a mapping.
    """
    with reading(path, ConfigError, "cannot be read as text"):
        if path.stat().st_size > LARGEST_FILE:
            raise ConfigError(f"{path}: larger than {LARGEST_FILE} bytes; expected a short YAML file of settings.")
        text = path.read_text("utf-8")
    return parse_yaml(text, str(path))


class _PlainLoader(yaml.SafeLoader):
    """Knows the types that JSON has, and no other: no dates, bytes, sets or merged mappings."""

    yaml_constructors = {  # noqa: RUF012
        tag: yaml.SafeLoader.yaml_constructors[tag]
        for tag in (
            None,
            *(f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "seq", "map")),
        )
    }
    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in rules if tag.rpartition(":")[2] in ("null", "bool", "int", "float")]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def parse_yaml(text: str, where: str) -> dict[str, Any]:
    """Read settings in YAML, of the types that JSON has.

    Raises:
        ConfigError: The text is no YAML, has aliases, or is not a mapping.
    """
    # Aliases are how a small file becomes a huge tree; settings need none.
    with reading(where, ConfigError, "not valid YAML"):
        # The scanner takes the square of their number in time.
        if text.count("[") + text.count("{") > MOST_LISTS:
            raise ConfigError(f"{where}: holds more than {MOST_LISTS} lists; expected a short YAML text of settings.")
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=_PlainLoader)):
            raise ConfigError(f"{where}: YAML aliases are not allowed here. Write the values out.")
        values = yaml.load(text, Loader=_PlainLoader)  # noqa: S506
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{where}: expected `key: value` lines, got {type(values).__name__}.")
    return values


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """Read `key=value` words of a command line; values are YAML.

    >>> parse_settings(["steps=100", "image_size=[35, 35]"])
    {'steps': 100, 'image_size': [35, 35]}
    """
    values: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key:
            raise ConfigError(f"--set {setting!r}: expected key=value, such as --set steps=1000.")
        values[key.strip()] = parse_yaml(f"value: {text}", f"--set {key}").get("value")
    return values


def differences(config: Any, stored: Mapping[str, Any]) -> list[str]:
    """Name the settings in which a configuration is not the stored one.

    What was not stored was added later; its default is what was done before.
    """
    now = to_dict(config)
    before = {f.name: _plain(f.default) for f in dataclasses.fields(config) if f.default is not dataclasses.MISSING}
    before |= current_names(type(config), stored)
    return sorted(name for name in now.keys() | before.keys() if now.get(name) != before.get(name))


def to_dict(config: Any) -> dict[str, Any]:
    """Turn a configuration into plain values: tuples become lists, and whole numbers floats where floats are meant."""
    hints = typing.get_type_hints(type(config))
    values = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    return {name: float(value) if hints[name] is float else _plain(value) for name, value in values.items()}


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


def to_yaml(config: Any) -> str:
    return yaml.safe_dump(to_dict(config), sort_keys=False)
