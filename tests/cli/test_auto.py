"""`delaminate auto` from the command line: what it prints, and how it ends."""

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def noise(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for n in range(10):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3)).astype(np.uint8)).save(tmp_path / "in" / f"{n}.png")
    return tmp_path / "in"


def test_a_look_says_what_images_are_and_the_commands(command):
    code, said, _ = command("auto", "tetrominoes", "--look")
    assert code == 0 and "flat-coloured shapes" in said
    assert "$ delaminate train dti-sprites tetrominoes --preset tetrominoes --set 'image_size=[35,35]'" in said


def test_nothing_in_common_ends_with_one(command, noise, tmp_path):
    code, said, _ = command("auto", str(noise), "--out", str(tmp_path / "out"))
    assert code == 1 and "nothing in common" in said and "Nothing worth having" in said
    assert said.count("Segment Anything") == 1


def test_a_path_that_is_not_there_ends_with_two(command, tmp_path):
    code, _, wrong = command("auto", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out"))
    assert code == 2 and "nowhere" in wrong
