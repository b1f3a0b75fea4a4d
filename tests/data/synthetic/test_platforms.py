import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from delaminate.data import draw, names
from delaminate.data.synthetic.drawing import Stamp
from delaminate.data.synthetic.platforms import COLUMNS, ROWS, floating_sprites, kenney_theme, random_level
from delaminate.data.synthetic.scenes import DRAWINGS, true_sprites
from delaminate.errors import DataError
from delaminate.rng import numpy_stream


def stamp(alpha):
    rgba = np.full((*np.shape(alpha), 4), 200, dtype=np.uint8)
    rgba[..., 3] = alpha
    return Stamp.of(rgba)


def canvas(height, width):
    return np.zeros((3, height, width), np.uint8), *np.zeros((2, height, width), np.int64)


def test_a_stamp_is_cut_off_at_the_border():
    pixels, instances, classes = canvas(2, 3)
    stamp([[255, 255], [0, 255]]).onto(pixels, instances, classes, -1, 2, 7, 5)
    assert pixels.sum() == 0  # the one pixel inside is transparent
    stamp([[255, 255], [0, 255]]).onto(pixels, instances, classes, -1, 1, 7, 5)
    assert instances.tolist() == [[0, 0, 7], [0, 0, 0]]
    assert classes.tolist() == [[0, 0, 5], [0, 0, 0]]
    assert pixels[:, 0, 2].tolist() == [200, 200, 200]
    stamp([[255, 255], [0, 255]]).onto(pixels, instances, classes, 5, 0, 8, 5)
    assert instances.max() == 7


def test_soft_alpha_mixes_colours_and_is_seen_from_half_on():
    pixels, instances, classes = canvas(1, 3)
    stamp([[127, 128, 255]]).onto(pixels, instances, classes, 0, 0, 300, 2)
    assert pixels[0].tolist() == [[100, 100, 200]]  # 200 * 127 / 255 = 99.6, 200 * 128 / 255 = 100.4
    assert instances.tolist() == [[0, 300, 300]]


def test_a_mirrored_stamp_faces_the_other_way():
    assert stamp([[255, 0, 0]]).mirrored.alpha.tolist() == [[0, 0, 255]]
    assert stamp([[255, 0], [255, 0], [0, 0]]).feet == 2


def recomposed(name, pixels, instances, ground):
    """Whether every pixel without an object is ground."""
    return bool((pixels.permute(1, 2, 0)[instances == 0] == torch.tensor(ground, dtype=torch.uint8)).all())


def test_floating_sprites_lie_fully_inside_in_front_of_white():
    drawn = draw("floating-sprites", 200)
    counts, pairs = set(), zip(drawn.images.pixels, drawn.labels.instances, drawn.labels.classes, strict=True)
    for pixels, instances, classes in pairs:
        assert recomposed("floating-sprites", pixels, instances, (255, 255, 255))
        counts.add(int(instances.max()))
        number = int(instances.max())  # the one in front is whole
        kind = int(classes[instances == number].unique())
        sprite = floating_sprites()[kind - 1]
        rows, columns = np.nonzero((instances == number).numpy())
        window = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
        mask = torch.from_numpy(sprite.mask)
        inside = torch.nonzero(mask)
        trimmed = mask[inside[:, 0].min() : inside[:, 0].max() + 1, inside[:, 1].min() : inside[:, 1].max() + 1]
        assert torch.equal(instances[window] == number, trimmed)
        assert torch.equal(pixels[:, instances == number], torch.from_numpy(sprite.rgb)[:, mask])
    assert min(counts) >= 5 and max(counts) == 15
    assert set(drawn.labels.classes.unique().tolist()) == set(range(12))


def check_game(name, ground, num_kinds):
    drawn = draw(name, 60, split="dev")
    counts = []
    for pixels, instances, classes in zip(
        drawn.images.pixels, drawn.labels.instances, drawn.labels.classes, strict=True
    ):
        if name == "platform-game":
            assert recomposed(name, pixels, instances, ground)
        counts.append(len(instances.unique()) - 1)
        assert torch.equal(classes > 0, instances > 0)
        kinds = [classes[instances == number].unique() for number in instances.unique()]
        assert all(len(kind) == 1 for kind in kinds)
    assert set(drawn.labels.classes.unique().tolist()) == set(range(num_kinds + 1))
    assert 55 < np.mean(counts) < 115
    return drawn


def test_the_game_shows_tiles_cut_by_the_frame():
    drawn = check_game("platform-game", (34, 32, 52), 8)
    walls = drawn.labels.classes == 6  # crates
    sizes = {
        int((walls[index] & (instances == number)).sum())
        for index, instances in enumerate(drawn.labels.instances)
        for number in instances.unique()
    }
    whole = int(kenney_theme().walls[0].mask.sum())
    assert max(sizes) == whole
    assert len(sizes) > 30  # crates are cut at any pixel


def test_levels_hold_walls_in_runs_of_any_length_and_ladders_that_stand_on_walls():
    lengths, heights = set(), set()
    for index in range(30):
        level = random_level(numpy_stream("test", index), kenney_theme())
        assert not set(level.walls) & level.ladders
        assert not set(level.walls) & level.fire
        assert all(0 <= row < ROWS and 0 <= column < COLUMNS for row, column in {*level.walls, *level.ladders})
        for row, column in level.walls:
            if (row, column - 1) not in level.walls and column > 0:
                length = 1
                while (row, column + length) in level.walls:
                    length += 1
                lengths.add(length)
        for row, column in level.ladders:
            if (row + 1, column) not in level.ladders:
                assert (row + 1, column) in level.walls
                height = 1
                while (row - height, column) in level.ladders:
                    height += 1
                heights.add(height)
        assert all((row + 1, column) in level.walls for row, column in level.fire)
    assert set(range(1, 8)) <= lengths
    assert {3, 4, 5} <= heights


@pytest.mark.skipif("DELAMINATE_DATA" not in os.environ, reason="DELAMINATE_DATA is not set")
def test_the_game_of_dubey_is_drawn_from_its_own_sprites():
    check_game("platform-game-dubey", (40, 20, 0), 6)
    sprites = true_sprites("platform-game-dubey")
    assert len(sprites) == 11
    princess = np.asarray(Image.open(Path(os.environ["DELAMINATE_DATA"]) / "dubey_sample/class_6.png").convert("RGBA"))
    assert torch.equal((sprites[-1] * 255).round().byte().permute(1, 2, 0), torch.from_numpy(princess.copy()))


def test_absent_sprites_are_refused(tmp_path, monkeypatch):
    monkeypatch.delenv("DELAMINATE_DATA", raising=False)
    with pytest.raises(DataError, match="DELAMINATE_DATA is not set"):
        draw("platform-game-dubey", 1)
    monkeypatch.setenv("DELAMINATE_DATA", str(tmp_path))
    with pytest.raises(DataError, match="platform-game-dubey: found no folder"):
        draw("platform-game-dubey", 1)
    (tmp_path / "dubey_sample").mkdir()
    (tmp_path / "dubey_sample/class_0.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"class_0\.png: not an image that we read \(PNG\)"):
        draw("platform-game-dubey", 1)
    assert ("platform-game-dubey", "DELAMINATE_DATA with dubey_sample/") in [
        (name, needs) for name, _, needs in names()
    ]


def test_true_sprites_are_those_drawn_and_others_are_refused():
    sprites = true_sprites("floating-sprites")
    assert len(sprites) == 11
    assert sprites[0].shape == (4, 18, 18)
    assert torch.equal((sprites[4][3] * 255).byte(), torch.from_numpy(floating_sprites()[4].alpha))
    assert len(true_sprites("platform-game")) == 8
    with pytest.raises(DataError, match="not drawn from fixed sprites; these are: floating-sprites"):
        true_sprites("multi-dsprites")


def test_the_packaged_sprites_come_with_their_licence():
    import delaminate.data.synthetic

    folder = Path(delaminate.data.synthetic.__file__).parent / "sprites/kenney"
    assert "CC0" in (folder / "LICENSE.txt").read_text()
    assert len(list(folder.glob("*.png"))) == 16


@pytest.mark.parametrize(("name", "least"), [("floating-sprites", 100), ("platform-game", 30)])
def test_drawing_is_fast(name, least):
    draw(name, 2)
    began = time.process_time()
    draw(name, 20)
    assert 20 / (time.process_time() - began) > least
    assert DRAWINGS[name].rate is None
