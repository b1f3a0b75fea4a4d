"""Reading pages: parts of one glyph, broken letters and letters that touch, on pages that we print."""

import numpy as np
from helpers.printing import letter, printed

from delaminate.matching.exact.background import Background
from delaminate.matching.exact.glyphs import shapes_of
from delaminate.matching.exact.growth import RegionGrowing
from delaminate.matching.exact.learning import learn_round
from delaminate.matching.exact.reading import GlyphReader, unions_of
from delaminate.matching.exact.search import FrameStack, Search, parse_all
from delaminate.matching.exact.templates import ColourCodes, Frames

WHITE = Background(np.ones((1, 1, 3), np.float32))
SETTINGS = Search(0.3, RegionGrowing(11, 42, 0.84), most=60, components=True)
TEXT = ["nun eile ein", "leu ein lu::n", "ce unciel nie", "eine nil: un", "clun lieu nec"]


def read(page, glyphs):
    """Glyphs on a page: which, and their corners."""
    frames = Frames(page[None], np.ones((1, 1, 1, 3), np.float32), 50, ColourCodes(0.3))
    return sorted((r.top - 50, r.left - 50, r.entry) for r in GlyphReader(glyphs).read(frames, 0))


def cut(name):
    drawn = letter(name)
    return drawn[np.flatnonzero(drawn.any(1))[0] :]


def share_found(places, patterns, boxes, slack=2):
    """The share of letters whose box is found, and of boxes that are a letter's."""
    mine = [(p.top, p.left, *patterns[p.entry].size) for p in places]
    near = [[max(abs(a - b) for a, b in zip(one, box[1:], strict=True)) <= slack for one in mine] for box in boxes]
    return np.any(near, 1).mean(), np.any(near, 0).mean()


def test_a_page_is_learned_and_another_one_is_read():
    first, _ = printed(TEXT, seed=0)
    other, boxes = printed(TEXT[::-1], seed=1)
    patterns = learn_round(FrameStack.of(first[None], WHITE), [], SETTINGS, 0)
    _, found = parse_all(FrameStack.of(other[None], WHITE), patterns, SETTINGS)
    assert share_found(found.places[0], patterns, boxes) == (1, 1)
    names = {}
    for place in found.places[0]:
        box = min(boxes, key=lambda b: abs(b[1] - place.top) + abs(b[2] - place.left))
        names.setdefault(place.entry, set()).add(box[0])
    assert all(len(each) == 1 for each in names.values())
    assert found.left[0] < 0.15 * (other == 0).all(-1).sum()


def test_a_second_round_over_the_same_page_changes_nothing():
    scenes = FrameStack.of(printed(TEXT, seed=0)[0][None], WHITE)
    patterns = learn_round(scenes, [], SETTINGS, 0)
    again = learn_round(scenes, patterns, SETTINGS, 1)
    assert [p is q for p, q in zip(patterns, again, strict=True)] == [True] * len(patterns)


def test_dots_belong_to_their_letter_and_dirt_does_not():
    page, boxes = printed(["i n i", "n n i"], share=0)
    page[12:16, 70:72] = 0  # dirt above a letter
    glyphs = [cut("i"), cut("n"), np.ones((20, 6), bool)]
    wanted = sorted((box[1], box[2], 0 if box[0] == "i" else 1) for box in boxes)
    assert read(page, glyphs) == wanted


def test_a_broken_letter_is_read_as_one():
    page, ((_, top, left, *_), *_) = printed(["n"], share=0)
    page[top : top + 28, left + 8 : left + 10] = 255
    assert read(page, [cut("n"), np.ones((20, 6), bool)]) == [(top, left, 0)]


def test_letters_that_touch_are_told_apart():
    page, boxes = printed(["n_e_u", "l_e"], share=0)
    glyphs = [cut(name) for name in "neul"]
    assert read(page, glyphs) == sorted((top, left, "neul".index(name)) for name, top, left, *_ in boxes)


def test_touching_letters_are_no_glyph_of_their_own():
    page, _ = printed([*TEXT[:4], "nec n_e"], seed=2)
    patterns = learn_round(FrameStack.of(page[None], WHITE), [], SETTINGS, 0)
    assert max(pattern.size[1] for pattern in patterns) <= 20


def test_what_no_glyph_explains_is_left():
    page = np.full((120, 160, 3), 255, np.uint8)
    page[20:60, 20:60] = 0
    page[30:50, 30:50] = 255
    assert read(page, [cut("n"), cut("e")]) == []
    assert read(page, []) == []


def test_unions_are_of_what_lies_close_above_or_beside():
    page, _ = printed([":  n"], share=0)
    frames = Frames(page[None], np.ones((1, 1, 1, 3), np.float32), 50, ColourCodes(0.3))
    shapes = shapes_of(frames, 0, 90)
    assert [union.mask.shape for union in unions_of(shapes, 20, 90)] == [(18, 6)]
    assert unions_of(shapes, 5, 90) == []
    assert unions_of(shapes[:1], 20, 90) == []
