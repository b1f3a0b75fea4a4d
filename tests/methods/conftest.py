"""One thread: the tensors here are tiny, and several suites may share the machine."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="package")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def brain_floats(monkeypatch):
    """bfloat16 is computed even where it has to be emulated."""
    for place in ("nets.precision", "methods.base", "methods.marionette.model"):
        monkeypatch.setattr(f"delaminate.{place}.has_bfloat16", lambda kind: True)
