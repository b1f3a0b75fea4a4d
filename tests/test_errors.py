import inspect
import sys

import pytest

from delaminate import errors

KINDS = [value for value in vars(errors).values() if inspect.isclass(value) and value.__module__ == errors.__name__]


def test_the_drawn_tree_holds_every_error():
    for kind in KINDS:
        assert kind.__name__ in (errors.__doc__ or "")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_everything_we_raise_is_caught_by_one_name_and_explained(kind):
    assert issubclass(kind, errors.DelaminateError)
    assert kind.__doc__


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (errors.ShapeError, ValueError),
        (errors.ConfigError, ValueError),
        (errors.DataError, ValueError),
        (errors.FormatError, ValueError),
        (errors.OutputError, OSError),
        (errors.TrainingError, RuntimeError),
        (errors.MissingExtra, ImportError),
    ],
)
def test_who_catches_the_builtin_catches_ours(kind, builtin):
    assert issubclass(kind, builtin)


def test_a_missing_extra_says_how_to_get_it():
    assert str(errors.MissingExtra("the studio", "studio")) == (
        f"the studio needs more packages: in the project's folder, {sys.executable} -m pip install -e '.[studio]'"
    )
