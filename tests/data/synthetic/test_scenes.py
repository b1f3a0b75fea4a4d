import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from delaminate.data.synthetic.scenes import (
    COLOURS,
    DRAWINGS,
    ORIENTATIONS,
    SHAPES,
    draw,
    draw_images,
    shape_mask,
    tetromino_stencils,
)
from delaminate.errors import DataError


def available(drawing):
    root = os.environ.get("DELAMINATE_DATA")
    return not drawing.folder or (root is not None and (Path(root) / drawing.folder).is_dir())


HERE = [name for name, drawing in DRAWINGS.items() if available(drawing)]
PICTURES = [name for name in HERE if DRAWINGS[name].film is None]


@pytest.mark.parametrize("name", HERE)
def test_a_scene_does_not_depend_on_how_many_are_drawn(name):
    few, many = draw(name, 3, seed=5), draw(name, 6, seed=5, start=1)
    assert torch.equal(few.images.pixels[1:], many.images.pixels[:2])
    assert torch.equal(few.labels.instances[1:], many.labels.instances[:2])
    assert torch.equal(few.images.pixels, draw_images(name, 3, seed=5).pixels)
    assert few.replica == (name not in ("side-scroller", "objects-on-texture", "objects-on-photos"))


@pytest.mark.parametrize("name", PICTURES)
def test_splits_and_seeds_differ(name):
    drawn = [draw_images(name, 20, seed, split).pixels for seed in (0, 1) for split in ("train", "dev", "test")]
    assert len({scene.numpy().tobytes() for pixels in drawn for scene in pixels}) == 120


def test_tetrominoes_are_three_whole_pieces():
    drawn = draw("tetrominoes", 200)
    instances, classes, pixels = drawn.labels.instances, drawn.labels.classes, drawn.images.pixels
    assert all((instances == number).sum((1, 2)).eq(100).all() for number in (1, 2, 3))
    assert ((pixels.amax(1) > 0) == (instances > 0)).all()
    assert ((classes > 0) == (instances > 0)).all()
    assert set(classes.unique().tolist()) == set(range(20))
    assert len(tetromino_stencils()) == len({(s.shape, s.tobytes()) for s in tetromino_stencils()}) == 19


def sample_folder():
    root = os.environ.get("DELAMINATE_DATA")
    return Path(root) / "tetrominoes_sample" if root else None


@pytest.mark.skipif(
    sample_folder() is None or not sample_folder().is_dir(),
    reason="DELAMINATE_DATA is not set or holds no tetrominoes_sample",
)
def test_the_ten_real_tetrominoes_are_drawn_pixel_by_pixel():
    folder, seen = sample_folder(), 0
    for path in sorted((folder / "images").glob("*.png")):
        real = np.asarray(Image.open(path).convert("RGB"))
        ids = np.asarray(Image.open(folder / "masks" / path.name))
        ours = np.zeros_like(real)
        for number in (1, 2, 3):
            rows, columns = np.nonzero(ids == number)
            window = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
            colour = (real[ids == number] > 0).any(axis=0)
            assert tuple(int(c) for c in colour) in COLOURS.values()
            shape = ids[window] == number
            (stencil,) = [s for s in tetromino_stencils() if s.shape == shape.shape and ((s > 0) == shape).all()]
            ours[window] += stencil[:, :, None] * colour.astype(np.uint8)
        assert (ours == real).all()
        seen += 1
    assert seen == 10


@pytest.mark.parametrize(("name", "fewest", "most"), [("multi-dsprites", 2, 5), ("multi-dsprites-colour", 1, 4)])
def test_multi_dsprites_are_flat_and_masks_exact(name, fewest, most):
    drawn = draw(name, 120, split="dev")
    counts = set()
    for pixels, instances, classes in zip(
        drawn.images.pixels, drawn.labels.instances, drawn.labels.classes, strict=True
    ):
        for number in instances.unique():
            region = instances == number
            assert len(pixels[:, region].unique(dim=1).T) == 1
            assert len(classes[region].unique()) == 1
        counts.add(int(instances.max()))
        assert pixels[:, 0, 0].unique().numel() == 1 or name == "multi-dsprites-colour"
        # No shape is cut by the canvas: the outermost pixels are background.
        border = torch.cat([instances[0], instances[-1], instances[:, 0], instances[:, -1]])
        assert (border == 0).all()
    assert max(counts) == most
    assert min(counts) >= fewest
    assert set(drawn.labels.classes.unique().tolist()) == {0, 1, 2, 3}


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_stay_within_16_pixels_and_scale_by_area(shape):
    axis = (np.arange(360) - 179.5) / 10
    for orientation in ORIENTATIONS[::7]:
        mask = shape_mask(shape, axis[None], axis[:, None], 1.0, orientation)
        rows, columns = np.nonzero(mask)
        assert np.hypot(axis[rows], axis[columns]).max() < 16
        half = shape_mask(shape, axis[None], axis[:, None], 0.5, orientation)
        assert half.sum() == pytest.approx(mask.sum() / 4, rel=0.02)


def test_the_heart_stands_on_its_tip():
    axis = np.arange(31) - 15.0
    heart = shape_mask("heart", axis[None], axis[:, None], 1.0, 0.0)
    rows = np.flatnonzero(heart.any(1))
    assert heart[rows[-1]].sum() < heart[rows[3]].sum()
    assert not heart[rows[0], 15]


def test_unknown_names_and_splits_are_refused():
    with pytest.raises(DataError, match="Did you mean 'tetrominoes'"):
        draw("tetrominos", 1)
    with pytest.raises(DataError, match="expected one of train"):
        draw("tetrominoes", 1, split="val")
    with pytest.raises(DataError, match="negative"):
        draw("tetrominoes", -1)
