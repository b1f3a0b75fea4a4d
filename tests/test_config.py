from dataclasses import dataclass
from typing import Literal

import pytest

from delaminate.config import build, differences, parse_settings, parse_yaml, read_yaml, suggest, to_dict, to_yaml
from delaminate.errors import ConfigError


@dataclass(frozen=True)
class Settings:
    num_sprites: int = 4
    rate: float = 1e-3
    size: tuple[int, int] = (8, 8)
    steps: tuple[int, ...] = ()
    kind: Literal["search", "network"] = "search"
    clip: float | None = None
    strict: bool = True

    def __post_init__(self):
        if self.num_sprites < 1:
            raise ConfigError(f"settings: num_sprites is {self.num_sprites}; expected at least 1.")


def test_yaml_and_back_is_the_same_configuration():
    settings = Settings(3, 0.5, (5, 6), (1, 2), "network", 1.0, False)
    assert build(Settings(), parse_yaml(to_yaml(settings), "here"), "here") == settings


def test_a_stored_configuration_differs_by_names_and_may_lack_what_was_added_later():
    settings = Settings(3, 0.5, (5, 6), clip=2.0)
    stored = parse_yaml(to_yaml(settings), "here")
    assert differences(settings, stored) == []
    assert differences(settings, stored | {"rate": 0.25, "size": [5, 7]}) == ["rate", "size"]
    assert differences(settings, stored | {"gone": 1}) == ["gone"]
    del stored["kind"]  # stands at its default
    assert differences(settings, stored) == []
    del stored["clip"]  # does not
    assert differences(settings, stored) == ["clip"]


def test_values_take_the_types_of_their_fields():
    found = build(Settings(), {"rate": 1, "size": [3, 4], "steps": [7], "clip": "1e-4"}, "here")
    assert found == Settings(rate=1.0, size=(3, 4), steps=(7,), clip=1e-4)
    assert isinstance(found.rate, float)
    for nothing in (None, "none", "None"):
        assert build(found, {"clip": nothing}, "here").clip is None


def test_an_unknown_key_is_refused_with_the_right_one():
    with pytest.raises(ConfigError, match=r"here: unknown key 'n_sprites'. Did you mean 'num_sprites'\?"):
        build(Settings(), {"n_sprites": 3}, "here")
    with pytest.raises(ConfigError, match="Known: clip, kind, num_sprites"):
        build(Settings(), {"zzz": 3}, "here")


@pytest.mark.parametrize(
    "values",
    [
        {"num_sprites": 2.5},
        {"num_sprites": True},
        {"num_sprites": "many"},
        {"num_sprites": None},
        {"rate": "fast"},
        {"rate": True},
        {"size": 8},
        {"size": [8]},
        {"size": [8, "x"]},
        {"kind": "magic"},
        {"strict": 1},
        {"num_sprites": 0},
    ],
    ids=str,
)
def test_wrong_values_are_refused_in_one_line(values):
    with pytest.raises(ConfigError) as caught:
        build(Settings(), values, "here")
    assert next(iter(values)) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_words_of_a_command_line_become_values():
    found = parse_settings(["num_sprites=3", "size=[5, 6]", "kind=network", "clip=null", "name=a=b"])
    assert found == {"num_sprites": 3, "size": [5, 6], "kind": "network", "clip": None, "name": "a=b"}


@pytest.mark.parametrize("word", ["steps", "=3", "steps=[1"])
def test_half_a_setting_is_refused(word):
    with pytest.raises(ConfigError, match="--set"):
        parse_settings([word])


def test_a_file_is_read_and_an_empty_one_changes_nothing(tmp_path):
    (tmp_path / "a.yaml").write_text("rate: 0.25\n")
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert read_yaml(tmp_path / "a.yaml") == {"rate": 0.25}
    assert read_yaml(tmp_path / "empty.yaml") == {}


@pytest.mark.parametrize(
    "data",
    [
        b"- a list\n",
        b"rate: [1\n",
        b"a: &x [1]\nb: *x\n",
        b"a: !!python/object/apply:os.system ['true']\n",
        b"\xff\xfe\x00",
        b"a: " + b"x" * 200_000,
    ],
    ids=["list", "broken", "alias", "python", "binary", "huge"],
)
def test_files_that_are_no_settings_are_refused_in_one_line(tmp_path, data):
    (tmp_path / "bad.yaml").write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        read_yaml(tmp_path / "bad.yaml")
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        read_yaml(tmp_path / "none.yaml")


def test_tuples_become_lists_and_suggestions_name_the_closest_word():
    assert to_dict(Settings())["size"] == [8, 8]
    assert suggest("serch", ["search", "network"]) == "Did you mean 'search'?"
