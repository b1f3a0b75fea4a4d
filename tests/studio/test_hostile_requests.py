"""Spoiled uploads and requests are refused in words; `tools/fuzz_studio.py` sends thousands."""

import pytest
from fuzz_studio import DOORS, campaign, ended_at_once

from delaminate.studio.jobs import Jobs


@pytest.mark.parametrize("door", DOORS)
def test_spoiled_uploads_and_requests_are_refused_in_words(door, tmp_path, monkeypatch):
    monkeypatch.setattr(Jobs, "_run", ended_at_once)
    found = campaign(door, seed=1, first=0, count=60, folder=tmp_path / "in")
    assert found["faults"] == 0, found["first_faults"]
    assert found["answers"].get("2xx", 0) >= 5 and found["answers"].get("4xx", 0) >= 5
