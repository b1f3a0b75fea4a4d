import json
import os

import numpy as np
import pytest
from PIL import Image

from delaminate.data import LabelledSet, Labels, open_data
from delaminate.data.boxed import GROUND, load_space_invaders_sample, load_text_pages
from delaminate.data.images import ImageSet
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
    with pytest.raises(DataError, match=r"7\.json: not boxes of a page.*height.*expected width, height and chars"):
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


@pytest.mark.skipif("DELAMINATE_DATA" not in os.environ, reason="DELAMINATE_DATA is not set")
def test_the_real_boxes_load():
    invaders = open_data("space-invaders-sample", split="dev")
    assert invaders.images.size == (210, 160)
    assert len(invaders) == 50
    assert {box[0] for boxes in invaders.labels.boxes for box in boxes} == {"Alien", "Shield", "Player"}
    text = open_data("text-goethe1809", split="dev")
    assert len(text) == 10
    assert text.images.size == (1782, 1156)
    # Nearly every box of a page that was not resized holds ink that touches its four sides.
    index = max(range(10), key=lambda i: text.images.frames[i].is_identity * len(text.labels.boxes[i]))
    dark = text.images.pixels[index].float().mean(0).div(255) < text.labels.ink
    tight = 0
    for _, x, y, w, h in text.labels.boxes[index]:
        inside = dark[round(y) : round(y + h), round(x) : round(x + w)]
        tight += bool(inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any())
    assert tight > 0.8 * len(text.labels.boxes[index]) > 100
