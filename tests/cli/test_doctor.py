"""What `doctor` says of an installation."""

import sys
import tomllib
from pathlib import Path

import torch

from delaminate.pipelines.doctor import EXTRAS, examine


def test_this_installation_is_in_order(command):
    code, out, _ = command("doctor")
    assert code == 0
    assert torch.__version__ in out
    assert all(f"[{extra}]" in out for extra in EXTRAS)
    assert not any(finding.broken for finding in examine())


def test_every_extra_that_users_may_want_is_looked_for():
    known = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    assert set(EXTRAS) == set(known) - {"dev", "docs", "browser"}


def test_what_is_broken_is_said_and_ends_with_1(command, monkeypatch):
    monkeypatch.setattr("delaminate.pipelines.doctor.composite", lambda layers: torch.zeros(1, 3, 64, 64))
    monkeypatch.setattr(torch, "__version__", "2.6.0+cpu")
    code, out, err = command("doctor")
    assert code == 1
    assert "needs 2.10 or newer" in out
    assert "computes wrongly" in out
    assert "Broken: torch, Compositing." in err


def test_an_extra_that_is_missing_is_no_fault(monkeypatch):
    monkeypatch.setattr("delaminate.pipelines.doctor._version_of", lambda module: None)
    missing = [finding for finding in examine() if "not installed" in finding.found]
    assert len(missing) == len(EXTRAS)
    assert all(sys.executable in finding.remedy and not finding.broken for finding in missing)
