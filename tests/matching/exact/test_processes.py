"""Frames explained by several processes."""

import os
import signal
from dataclasses import replace

import numpy as np
import pytest
from helpers.patterns import BACKGROUND, pattern, placed, scattered

from delaminate.matching.exact import search as searching
from delaminate.matching.exact.background import Background
from delaminate.matching.exact.processes import MOST, shared_out, usual_number
from delaminate.matching.exact.progress import InterruptedSearch, Progress
from delaminate.matching.exact.search import FrameStack, Search, explained


def half(number):
    return number / 2


def killed(number):
    """Ends the process that it runs in, unless that is the one of the tests."""
    if os.getppid() == TESTS:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


TESTS = int(os.environ.setdefault("DELAMINATE_TESTS_PID", str(os.getpid())))


@pytest.mark.parametrize("noisy", [False, True])
def test_several_processes_find_the_same(monkeypatch, noisy):
    those = [pattern((8, 8), 1), pattern((6, 9), 2)]
    frames, _ = scattered(12, (40, 40), those, 3, hang=3)
    if noisy:
        frames = (frames + np.random.default_rng(0).integers(0, 3, frames.shape)).clip(0, 255).astype(np.uint8)
    scenes = FrameStack.of(frames, Background(BACKGROUND.astype(np.float32) / 255))
    search = Search(tolerance=0.06 if noisy else 0.02)
    one = explained(scenes, those, search, [0, 2, 3, 5, 7, 8, 11])
    monkeypatch.setattr(searching, "WORTH", 1)
    monkeypatch.setattr(searching, "PART", 40 * 40 * 2 * 2)  # two frames
    several = explained(scenes, those, replace(search, processes=2), [0, 2, 3, 5, 7, 8, 11])
    assert sum(map(len, one.places)) > 15
    assert [placed(some) for some in several.places] == [placed(some) for some in one.places]
    assert several.left.tolist() == one.left.tolist() and several.pieces.tolist() == one.pieces.tolist()
    with pytest.raises(InterruptedSearch):
        explained(scenes, those, replace(search, processes=2, progress=Progress(lambda: True)))


def test_what_a_killed_process_leaves_is_done_here(recwarn):
    assert list(shared_out(half, [(n,) for n in range(9)], 2, lambda: None)) == [n / 2 for n in range(9)]
    assert list(shared_out(killed, [(n,) for n in range(5)], 2, lambda: None)) == list(range(5))
    assert not recwarn.list


def test_there_are_as_many_as_torch_has_threads(monkeypatch):
    monkeypatch.setattr("torch.get_num_threads", lambda: 3)
    assert usual_number() == 3
    monkeypatch.setattr("torch.get_num_threads", lambda: 64)
    assert usual_number() == MOST
