import json
import os

import numpy as np
import pytest
from PIL import Image

from delaminate.data import LabelledSet, Labels, open_data, true_sprites
from delaminate.data.real.games import GROUND, load_dubey_sample, load_space_invaders_sample, load_text_pages
from delaminate.data.sets import ImageSet
from delaminate.errors import DataError


def frames(folder):
    pixels = np.zeros((210, 160, 3), np.uint8)
    pixels[31:41, 20:28] = 100
    for index in range(2):
        Image.fromarray(pixels).save(folder / f"{index}.png")
    rows = [
        {"category": "Alien", "xywh": [20, 31, 8, 10]},
        {"category": "Player", "xywh": [60, 185, 7, 10]},  # not lit
        {"category": "Bullet", "xywh": [24, 35, 1, 10]},
    ]
    (folder / "boxes.json").write_text(json.dumps({"frames": {f"{i}.png": {"ram": rows} for i in range(2)}}))


def test_boxes_without_a_lit_pixel_are_dropped_and_unjudged_ones_set_apart(tmp_path):
    frames(tmp_path)
    found = load_space_invaders_sample(tmp_path)
    assert found.labels.boxes == ((("Alien", 20, 31, 8, 10),),) * 2
    assert found.labels.ignored_boxes == ((("Bullet", 24, 35, 1, 10), GROUND),) * 2
    assert found.labels.ink is None
    one = found.subset([1])
    assert len(one.labels.boxes) == len(one.labels.ignored_boxes) == 1


def test_boxes_follow_the_image_onto_the_canvas(tmp_path):
    frames(tmp_path)
    half = load_space_invaders_sample(tmp_path, (105, 80))
    assert half.labels.boxes[0] == (("Alien", 10, 15.5, 4, 5),)
    cropped = load_space_invaders_sample(tmp_path, (160, 160), "crop")  # 25 rows are cut off above and below
    assert cropped.labels.boxes[0] == (("Alien", 20, 6, 8, 10),)
    assert cropped.labels.ignored_boxes[0] == (("Bullet", 24, 10, 1, 10),)


def page(folder, document):
    (folder / "images").mkdir()
    (folder / "boxes").mkdir()
    Image.new("1", (30, 60), 1).save(folder / "images/7.png")
    (folder / "boxes/7.json").write_text(json.dumps(document))


def test_glyph_boxes_are_rescaled_to_the_page(tmp_path):
    page(tmp_path, {"width": 60, "height": 120, "chars": [["e", 10, 20, 16, 40, 0, 99]]})
    found = load_text_pages(tmp_path, (60, 30))
    assert found.labels.boxes == ((("e", 5, 10, 3, 10),),)
    assert found.labels.ink == 0.5


def test_boxes_that_do_not_fit_are_refused(tmp_path):
    page(tmp_path, {"width": 60, "chars": []})
    with pytest.raises(DataError, match=r"7\.json: not boxes of a page; expected width, height and chars.*height"):
        load_text_pages(tmp_path)
    (tmp_path / "boxes/7.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read as JSON"):
        load_text_pages(tmp_path)
    invaders = tmp_path / "invaders"
    invaders.mkdir()
    frames(invaders)
    Image.new("RGB", (160, 210)).save(invaders / "2.png")
    with pytest.raises(DataError, match=r"no boxes for frame '2\.png'"):
        load_space_invaders_sample(invaders)
    images = ImageSet.from_arrays(np.zeros((2, 4, 4, 3), np.uint8))
    with pytest.raises(DataError, match="boxes has 1 entries; expected one per image, 2"):
        LabelledSet(images, Labels(boxes=((),)), "x")


def game(folder):
    ids = np.zeros((4, 6), np.uint8)
    ids[0], ids[1, :2], ids[2, 2:4] = 1, 2, 3
    for index in (2, 10):
        Image.new("RGB", (6, 4), (40, 20, 0)).save(folder / f"{index}.png")
        Image.fromarray(ids).save(folder / f"{index}_ids.png")
    objects = [{"id": 1, "class": 4}, {"id": 2, "class": 9}, {"id": 3, "class": 5}, {"id": 9, "class": 0}]
    (folder / "objects.json").write_text(json.dumps({f"{index}.png": {"objects": objects} for index in (2, 10)}))
    Image.new("RGBA", (15, 15)).save(folder / "class_0.png")


def test_the_border_of_the_game_is_left_out_and_all_poses_are_one_kind(tmp_path):
    game(tmp_path)
    found = load_dubey_sample(tmp_path)
    assert found.images.names == ("2", "10")
    assert found.labels.instances[0].tolist() == [[-1] * 6, [2, 2, 0, 0, 0, 0], [0, 0, 3, 3, 0, 0], [0] * 6]
    assert found.labels.classes[0].tolist() == [[-1] * 6, [2, 2, 0, 0, 0, 0], [0, 0, 5, 5, 0, 0], [0] * 6]
    assert load_dubey_sample(tmp_path, (2, 3), limit=1).labels.instances.shape == (1, 2, 3)


def test_frames_without_objects_are_refused(tmp_path):
    with pytest.raises(DataError, match="found no frames"):
        load_dubey_sample(tmp_path)
    game(tmp_path)
    (tmp_path / "objects.json").write_text("{}")
    with pytest.raises(DataError, match=r"no objects of frame '2\.png'"):
        load_dubey_sample(tmp_path)


def kind(labelled, number):
    """The class of an object of the first image."""
    return int(labelled.labels.classes[0][labelled.labels.instances[0] == number][0])


@pytest.mark.skipif("DELAMINATE_DATA" not in os.environ, reason="DELAMINATE_DATA is not set")
def test_the_real_boxes_load():
    invaders = open_data("space-invaders-sample", split="dev")
    assert invaders.images.size == (210, 160)
    assert len(invaders) == 50
    assert {box[0] for boxes in invaders.labels.boxes for box in boxes} == {"Alien", "Shield", "Player"}
    game = open_data("dubey-game-sample", split="dev")
    assert game.images.size == (230, 230)
    assert set(game.labels.classes.unique().tolist()) == set(range(-1, 7))
    # The sprites of the drawn set are those of the frames: a wall's pixels reappear.
    wall = (true_sprites("platform-game-dubey")[-2] * 255).round()
    number = max(game.labels.instances[0].unique().tolist(), key=lambda n: n if kind(game, n) == 5 else -1)
    rows, columns = np.nonzero((game.labels.instances[0] == number).numpy())
    seen = game.images.pixels[0, :, rows.min() : rows.min() + 15, columns.min() : columns.min() + 15].float()
    solid = wall[3] == 255
    assert (seen - wall[:3]).abs()[:, solid].max() <= 2
    text = open_data("text-goethe1809", split="dev")
    assert len(text) == 10
    assert text.images.size == (1782, 1156)
    # Nearly every box of a page that was not resized holds ink that touches its four sides.
    index = max(range(10), key=lambda i: text.images.canvas_maps[i].is_identity * len(text.labels.boxes[i]))
    dark = text.images.pixels[index].float().mean(0).div(255) < text.labels.ink
    tight = 0
    for _, x, y, w, h in text.labels.boxes[index]:
        inside = dark[round(y) : round(y + h), round(x) : round(x + w)]
        tight += bool(inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any())
    assert tight > 0.8 * len(text.labels.boxes[index]) > 100
