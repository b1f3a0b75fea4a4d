import pytest
import torch

from delaminate.data import true_sprites
from delaminate.metrics.dictionaries import dictionary_figures, match_sprites


def sprite(rows, colour=0.5):
    """A sprite from rows of `#`."""
    alpha = torch.tensor([[float(cell == "#") for cell in row] for row in rows])
    return torch.cat([torch.full((3, *alpha.shape), colour), alpha[None]])


CORNER = ("#..", "#..", "###")


def test_frames_and_shifts_do_not_matter():
    padded = sprite(("......", "..#...", "..#...", "..###.", "......"))
    (match,) = match_sprites([sprite(CORNER)], [sprite(("#",)), padded])
    assert (match.entry, match.alpha_iou, match.colour_error, match.mirrored) == (1, 1, pytest.approx(0), False)


def test_a_mirrored_entry_is_a_find():
    (match,) = match_sprites([sprite(CORNER)], [sprite(("..#", "..#", "###"))])
    assert (match.alpha_iou, match.mirrored) == (1, True)
    turned = match_sprites([sprite(CORNER)], [sprite(("###", "#..", "#.."))])[0]  # upside down is another sprite
    assert turned.alpha_iou < 1


def test_the_figures_by_hand():
    # Nine of ten pixels: an IoU of 0.9, at the best shift.
    true, most = sprite(("#####", "#####")), sprite(("#####", "####."))
    (match,) = match_sprites([true], [most])
    assert match.alpha_iou == pytest.approx(0.9)
    assert dictionary_figures([true, true], [most]) == {"sprites_found": 2, "sprites_true": 2}
    assert dictionary_figures([true], [most], alpha_iou=0.95)["sprites_found"] == 0
    # A colour that is off by 0.05 everywhere is the limit; by 0.06 it is none.
    assert dictionary_figures([true], [sprite(("#####", "#####"), 0.549)])["sprites_found"] == 1
    assert dictionary_figures([true], [sprite(("#####", "#####"), 0.56)])["sprites_found"] == 0
    half = sprite(("#####", "#####"))
    half[:3, 0] = 0.58  # half of the pixels are off by 0.08
    assert match_sprites([true], [half])[0].colour_error == pytest.approx(0.04)


def test_colour_under_transparent_pixels_does_not_matter():
    loud = sprite(CORNER)
    loud[:3, loud[3] == 0] = 1
    assert match_sprites([sprite(CORNER)], [loud])[0].colour_error == pytest.approx(0)


def test_a_find_is_preferred_to_a_better_shape_in_another_colour():
    true = sprite(("#####", "#####"))
    (match,) = match_sprites([true], [sprite(("#####", "#####"), 1.0), sprite(("#####", "####."))])
    assert match.entry == 1
    assert match.is_find()


def test_empty_sprites_match_nothing():
    empty = sprite(("...",))
    assert match_sprites([sprite(CORNER)], [empty, empty])[0].entry == -1
    assert match_sprites([empty], [sprite(CORNER)])[0].alpha_iou == 0
    assert dictionary_figures([sprite(CORNER)], []) == {"sprites_found": 0, "sprites_true": 1}


def test_drawn_sprites_are_told_apart():
    sprites = true_sprites("platform-game")
    assert dictionary_figures(sprites, sprites) == {"sprites_found": 8, "sprites_true": 8}
    assert dictionary_figures(sprites, sprites[1:])["sprites_found"] == 7
