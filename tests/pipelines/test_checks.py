"""What looks wrong with sprites is said in words."""

import torch

from delaminate.pipelines.checks import hardly_recurs, remarks
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.placements import Dictionary, Placement, Transform

CANVAS = (40, 80)


def sprite(seed, size=(8, 8)):
    rgb = torch.rand(3, *size, generator=torch.Generator().manual_seed(seed))
    return torch.cat([rgb, torch.ones(1, *size)])


def scenes(sprites, images):
    placed = tuple(
        tuple(Placement(entry, (Transform.shift(left, top, CANVAS),)) for entry, left, top in image) for image in images
    )
    return Decomposition(Dictionary(tuple(sprites)), placed, CANVAS).scenes()


def apart(count, entries=(0, 1)):
    """Things at places that have nothing to do with one another."""
    return [
        [(entry, (7 * n * (entry + 1)) % 60, (5 * n * (entry + 2)) % 30) for entry in entries] for n in range(count)
    ]


def test_nothing_is_said_of_sprites_that_are_right():
    assert remarks(scenes([sprite(0), sprite(1)], apart(12))) == []


def test_sprites_that_look_alike_are_named():
    near = sprite(0).clone()
    near[:3, 0, 0] = 0
    (said,) = remarks(scenes([sprite(0), near], apart(12)))
    assert "sprite-00 and sprite-01 look alike" in said


def test_two_parts_of_one_thing_are_named():
    images = [[(0, n * 4, 5), (1, n * 4 + 8, 5)] for n in range(10)]
    (said,) = remarks(scenes([sprite(0), sprite(1)], images))
    assert "parts of one thing" in said


def test_a_sprite_in_pieces_is_named():
    glued = sprite(0, (8, 20))
    glued[3, :, 6:14] = 0
    (said,) = remarks(scenes([glued, sprite(1)], apart(12)))
    assert said.startswith("In separate pieces") and "sprite-00" in said


def test_unused_ones_and_a_full_dictionary_are_said():
    said = remarks(scenes([sprite(0), sprite(1)], apart(6, (0,))), offered=2)
    assert said[0] == "Never used: sprite-01." and "more may be found" in said[-1]


def test_sprites_seen_but_once_are_no_find():
    many = [sprite(n) for n in range(12)]
    assert hardly_recurs(scenes(many, [[(n, 5, 5)] for n in range(12)]))
    assert not hardly_recurs(scenes(many, [[(n, 5, 5), (n, 30, 9)] for n in range(12)]))
    assert not hardly_recurs(scenes(many[:3], [[(n, 5, 5)] for n in range(3)]))
