"""Files of every kind, spoiled a little: each is read, or refused in one line that names it.

`./run fuzz` tries many more, in processes of their own, with limits of memory and time.
"""

import hostile
import pytest
from fuzz import FINE, attempt
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """True files of a kind, made once."""
    made = {}

    def of(kind):
        if kind not in made:
            made[kind] = tmp_path_factory.mktemp(kind)
            hostile.KINDS[kind].make(made[kind])
        return made[kind]

    return of


@pytest.mark.parametrize("kind", hostile.KINDS)
def test_true_files_are_read(kind, originals, tmp_path):
    for entry in sorted(originals(kind).iterdir()):
        with hostile.copied(entry, tmp_path) as path:
            hostile.KINDS[kind].read(path)


@pytest.mark.parametrize("kind", hostile.KINDS)
def test_spoiled_files_are_read_or_refused_by_name(kind, originals, tmp_path):
    @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(0, 2**32))
    def holds(seed):
        outcome, said = attempt(kind, originals(kind), tmp_path, seed, 0)
        assert outcome in FINE, said

    holds()
