"""Classes of glyphs: what is one letter and what is another, on pages that we print."""

import numpy as np
from helpers.printing import frayed, letter, printed

from delaminate.matching.exact.glyphs import Shape, classes_of, letter_height, nearest, shapes_of
from delaminate.matching.exact.templates import ColourCodes, Frames

WHITE = np.ones((1, 1, 1, 3), np.float32)


def page_of(*pages):
    return Frames(np.stack(pages), WHITE, 50, ColourCodes(0.3))


def prints(name, count, seed=0):
    """Shapes of one letter, each frayed in its own way."""
    rng = np.random.default_rng(seed)
    return [Shape(0, 0, 0, cut(frayed(np.pad(letter(name), 1), rng))) for _ in range(count)]


def cut(ink):
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def test_frayed_prints_of_a_letter_are_one_class_and_it_looks_like_the_letter():
    (found,) = classes_of(prints("n", 20))
    assert len(found.members) == 20
    there = letter("n")[8:]
    assert found.mask.shape == there.shape
    assert (found.mask == there).mean() > 0.97


def test_letters_that_differ_in_a_stroke_are_different_classes():
    for one, other in (("c", "e"), ("n", "u"), ("l", "i")):
        found = classes_of(prints(one, 12) + prints(other, 8, seed=1))
        assert sorted(len(each.members) for each in found) == [8, 12]
        assert all(each.members.max() < 12 or each.members.min() >= 12 for each in found)


def test_what_is_known_stays_as_it_is_and_takes_its_members():
    known = [letter("n")[8:]]
    found = classes_of(prints("n", 5) + prints("e", 5), known)
    assert [each.known for each in found] == [True, False]
    assert found[0].mask is known[0]
    assert [len(each.members) for each in found] == [5, 5]


def test_the_nearest_glyph_lies_where_the_shape_is():
    glyph = letter("e")[8:]
    shape = Shape(0, 30, 40, np.pad(glyph, ((2, 1), (1, 0))))
    found = nearest([shape], [letter("n")[8:], glyph])
    assert (found.entry[0], found.down[0], found.right[0], found.differs[0]) == (1, 2, 1, 0)
    assert found.alike[0]


def test_nothing_is_near_to_a_shape_of_another_size():
    found = nearest([Shape(0, 0, 0, np.ones((60, 60), bool))], [letter("n")])
    assert found.entry.tolist() == [-1]
    assert nearest([], [letter("n")]).entry.shape == (0,)
    assert nearest(prints("n", 2), []).entry.tolist() == [-1, -1]


def test_shapes_are_the_regions_of_ink_without_dirt():
    page, boxes = printed(["nun", "leu"], share=0)
    page[200, 300] = 0
    frames = page_of(page)
    shapes = shapes_of(frames, 0, 90)
    assert [(s.top - 50, s.left - 50, *s.mask.shape) for s in shapes] == [
        box[1:] for box in sorted(boxes, key=lambda b: b[1:])
    ]
    assert letter_height(shapes) == 20


def test_an_empty_page_has_no_shapes():
    frames = page_of(np.full((60, 60, 3), 255, np.uint8))
    assert shapes_of(frames, 0, 90) == []
    assert letter_height([]) == 0
    assert classes_of([]) == []
