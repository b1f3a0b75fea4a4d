"""decompose goes on where it was cut off, and machines share a collection."""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np
import pytest
from helpers.folders import contents
from PIL import Image

import delaminate
from delaminate.errors import ConfigError, FormatError
from delaminate.pipelines import decomposition, scene_folder
from delaminate.scene.loading import load_scenes


def files_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(params=["files", "packs"])
def kind(request):
    return ["--packed"] if request.param == "packs" else []


@pytest.fixture
def words(model, pieces):
    return ("decompose", model, pieces / "images", "--batch", 2)


@pytest.fixture
def cut_off(monkeypatch):
    """Let `decompose` end before the batch of a number, as if its process was killed: nothing is tidied up."""

    @contextmanager
    def cut(at):
        decomposed, count = decomposition._decomposed, []

        def some(*given):
            count.append(1)
            if len(count) > at:
                raise KeyboardInterrupt
            return decomposed(*given)

        with monkeypatch.context() as inside:
            inside.setattr(decomposition, "_decomposed", some)
            inside.setattr("delaminate.pipelines.scene_output.SceneOutput.publish", lambda output: None)
            yield

    return cut


@pytest.mark.parametrize("at", [0, 1, 2])
def test_what_was_cut_off_and_resumed_ends_with_the_same_bytes(command, words, kind, tmp_path, cut_off, at):
    assert command(*words, "--out", tmp_path / "whole", *kind)[0] == 0
    out = tmp_path / "out"
    with cut_off(at):
        assert command(*words, "--out", out, *kind)[0] == 130
    if at:
        assert command(*words, "--out", out, *kind)[0] == 2  # it is not begun anew unasked
        with (out / "journal.jsonl").open("ab") as file:
            file.write(b'{"name": "0000')  # a line that was cut off
        (out / "scenes" / f".{'0' * 16}.tmp").parent.mkdir(exist_ok=True)
        (out / "scenes" / f".{'0' * 16}.tmp").write_bytes(b"a file that was cut off")
    code, said, err = command(*words, "--out", out, "--resume", *kind)
    assert code == 0, err
    assert ("Going on with" in said) == bool(at)
    assert files_of(out) == files_of(tmp_path / "whole")
    # Once more: nothing is left to do.
    with cut_off(0):
        assert command(*words, "--out", out, "--resume")[0] == 0
    assert command(*words, "--out", out, "--resume")[0] == 0
    assert files_of(out) == files_of(tmp_path / "whole")
