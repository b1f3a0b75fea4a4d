import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from delaminate.refinement.small_regions import has_separate_parts, remove_small_regions


def masks_of(*rows):
    """Masks of two regions from drawings, `#` is the second; a little undecided, each pixel otherwise."""
    drawn = torch.tensor([[letter == "#" for letter in row] for row in rows]).double()
    sure = torch.linspace(0.6, 1.0, drawn.numel(), dtype=torch.float64).view_as(drawn)
    front = drawn * sure + (1 - drawn) * (1 - sure)
    return torch.stack([1 - front, front])[None, :, None]


def drawing(masks):
    return ["".join(".#"[int(pixel)] for pixel in row) for row in masks[0].argmax(0)[0]]


def test_specks_and_pinholes_go_to_what_is_beside_them():
    masks = masks_of(
        "#.......",
        "..####..",
        "..#.##..",
        "..####.#",
        ".......#",
        "##......",
    )
    found = remove_small_regions(masks, least=2 / 48)
    assert drawing(found) == [
        "........",
        "..####..",
        "..####..",
        "..####.#",
        ".......#",
        "##......",
    ]
    kept = torch.ones(6, 8, dtype=torch.bool)
    kept[0, 0] = kept[2, 3] = False
    assert torch.equal(found[..., kept], masks[..., kept])  # nothing else has changed
    assert found[0, 1, 0, 0, 0] in (masks[0, 1, 0, 0, 1], masks[0, 1, 0, 1, 0])  # the nearest pixel's
    torch.testing.assert_close(found.sum(1), masks.sum(1))


def test_regions_in_several_large_parts_are_told_from_those_with_crumbs():
    drawings = (("###..##.", "###....."), ("###....#", "###....."), ("###.....", "###....."), ("........", "........"))
    labels = torch.cat([masks_of(*rows).argmax(1)[:, 0] for rows in drawings])
    assert has_separate_parts(labels).tolist() == [True, False, False, False]
    assert has_separate_parts(1 - labels).tolist() == [False] * 4  # the ground is the object now, in one part
    assert has_separate_parts(labels[:0]).tolist() == []


def test_corners_do_not_hold_parts_together():
    assert drawing(remove_small_regions(masks_of("##..", "##..", "..#.", "...."), least=2 / 16)) == [
        "##..",
        "##..",
        "....",
        "....",
    ]


def test_the_largest_part_of_a_region_stays_however_small():
    masks = masks_of(".....", ".#...", ".....")
    assert torch.equal(remove_small_regions(masks, least=0.5), masks)


@pytest.mark.parametrize("least", [0.0, 1.0])
def test_one_region_alone_stays(least):
    masks = masks_of("....", "....")
    assert torch.equal(remove_small_regions(masks, least), masks)
    assert remove_small_regions(masks[:0], least).shape == (0, 2, 1, 2, 4)


@given(st.integers(0, 2**31), st.integers(2, 4), st.sampled_from([0.02, 0.1, 0.4]))
def test_parts_that_are_no_specks_stay_and_every_region_does(seed, regions, least):
    masks = torch.rand(2, regions, 1, 9, 7, generator=torch.Generator().manual_seed(seed)).softmax(1)
    before, after = masks.argmax(1)[:, 0].numpy(), remove_small_regions(masks, least).argmax(1)[:, 0].numpy()
    for old, new in zip(before, after, strict=True):
        for region in set(old.ravel().tolist()):
            parts, count = ndimage.label(old == region)
            sizes = [int((parts == part).sum()) for part in range(1, count + 1)]
            assert (new[parts == 1 + sizes.index(max(sizes))] == region).all()
            for part, size in enumerate(sizes, start=1):
                assert size < least * 63 or (new[parts == part] == region).all()
