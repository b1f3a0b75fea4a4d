from dataclasses import replace

import numpy as np
import pytest
import torch

from delaminate.data import ImageSet, LabelledSet, Labels, draw
from delaminate.data.synthetic.scenes import tetromino_stencils
from delaminate.errors import ShapeError
from delaminate.metrics import evaluate
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.placements import Dictionary, Placement, Transform

SIZE = (35, 35)
SPRITES = tuple(
    torch.stack([torch.from_numpy(stencil).float() / 255] * 3 + [torch.from_numpy(stencil > 0).float()])
    for stencil in tetromino_stencils()
)
PERFECT = ("ari", "ari_fg", "ari_fg_helped", "class_accuracy", "class_miou", "precision", "recall", "f1")


def true_placements(labelled, index):
    """The pieces of a drawn scene, as a perfect model would find them."""
    instances, classes = labelled.labels.instances[index], labelled.labels.classes[index]
    pixels = labelled.images.pixels[index]
    found = []
    for number in (1, 2, 3):
        rows, columns = np.nonzero((instances == number).numpy())
        top, left = int(rows.min()), int(columns.min())
        entry = int(classes[rows[0], columns[0]]) - 1
        gain = (pixels[:, rows, columns].amax(1) > 0).float()
        found.append(Placement(entry, (Transform.shift(left, top, SIZE),), (*gain.tolist(), 0.0, 0.0, 0.0)))
    return tuple(found)


def knows_all(labelled):
    """A decomposer that gives the truth, batch after batch in order."""
    done = 0

    def decompose(images):
        nonlocal done
        rows = range(done, done + len(images))
        done = rows.stop % len(labelled)
        return Decomposition(Dictionary(SPRITES), tuple(true_placements(labelled, i) for i in rows), SIZE)

    return decompose


def finds_nothing(images):
    return Decomposition(Dictionary(SPRITES), ((),) * len(images), SIZE)


# Enough scenes for all 19 pieces.
DRAWN = draw("tetrominoes", 40, split="dev")


def test_the_truth_scores_one_in_everything():
    figures = evaluate(knows_all(DRAWN), DRAWN.images, DRAWN.labels, batch=16)
    assert [figures[name] for name in PERFECT] == [1.0] * len(PERFECT)
    assert figures["psnr"] == 100
    assert figures["count"] == 40
    assert figures["images_per_second"] > 0
    assert "Hungarian" in figures["protocol"]


def test_finding_nothing_scores_nothing():
    figures = evaluate(finds_nothing, DRAWN.images, DRAWN.labels)
    # One label for all pixels of the objects: no agreement beyond chance.
    assert figures["ari"] == pytest.approx(0)
    assert figures["ari_fg"] == pytest.approx(0)
    assert figures["ari_fg_helped"] == pytest.approx(0)
    assert figures["class_accuracy"] == pytest.approx(1 / 20)
    assert figures["precision"] == figures["recall"] == figures["f1"] == 0
    assert figures["psnr"] < 20


def test_the_size_of_a_batch_changes_no_figure():
    names = (*PERFECT, "psnr")
    one = evaluate(finds_nothing, DRAWN.images, DRAWN.labels, batch=7)
    other = evaluate(finds_nothing, DRAWN.images, DRAWN.labels, batch=40)
    assert [one[name] for name in names] == pytest.approx([other[name] for name in names])


def test_the_helper_never_chooses_a_layer_that_is_not_there():
    def finds_the_first_piece_of_every_second_image(images):
        pieces = tuple(true_placements(DRAWN, i)[: 1 - i % 2] for i in range(len(images)))
        return Decomposition(Dictionary(SPRITES), pieces, SIZE)

    some = DRAWN.subset(range(8))
    figures = evaluate(finds_the_first_piece_of_every_second_image, some.images, some.labels)
    # With one layer or none, every pixel of an object has one label.
    assert figures["ari_fg_helped"] == pytest.approx(0)
    assert figures["ari_fg"] > 0


def test_single_objects_give_foreground_figures_and_image_classes_give_clusters():
    kept = [true_placements(DRAWN, i)[0] for i in range(12)]
    truth = Decomposition(Dictionary(SPRITES), tuple((placement,) for placement in kept), SIZE)
    instances = truth.labels()[0]
    pixels = (truth.composite() * 255).round().to(torch.uint8)
    labels = replace(
        DRAWN.subset(range(12)).labels,
        instances=instances,
        classes=instances,
        image_classes=torch.tensor([placement.entry for placement in kept]),
    )
    labelled = LabelledSet(type(DRAWN.images).from_arrays(pixels), labels, "one piece")
    calls = iter([truth, truth])
    figures = evaluate(lambda _: next(calls), labelled.images, labels, validation=(labelled.images, labels))
    for name in ("accuracy", "iou", "miou"):
        assert figures[name] == figures[f"{name}_split"] == figures[f"{name}_best"] == 1
    assert figures["clustering_accuracy"] == figures["nmi"] == 1
    assert "ari" not in figures
    assert "class_miou" not in figures
    assert "_split" in figures["protocol"]


def test_images_in_which_nothing_is_found_share_a_cluster():
    labels = replace(DRAWN.labels, instances=None, classes=None, image_classes=torch.arange(40) % 4)
    figures = evaluate(finds_nothing, DRAWN.images, labels)
    assert figures["clustering_accuracy"] == 0.25
    assert figures["nmi"] == pytest.approx(0)
    assert set(figures) == {"clustering_accuracy", "nmi", "psnr", "images_per_second", "count", "protocol"}


def test_decompositions_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match="expected 40"):
        evaluate(lambda images: finds_nothing(images[:3]), DRAWN.images, DRAWN.labels)
    with pytest.raises(ShapeError, match="no image"):
        evaluate(finds_nothing, DRAWN.images.subset([]), DRAWN.labels)


def test_progress_is_reported():
    done = []
    evaluate(finds_nothing, DRAWN.images, DRAWN.labels, batch=16, progress=done.append)
    assert done == [16, 32, 40]


def test_soft_reconstructions_have_a_figure_of_their_own():
    labelled = draw("tetrominoes", 4, split="dev")
    figures = evaluate(knows_all(labelled), labelled.images, labelled.labels, soft=lambda images: images + 0.1)
    assert figures["psnr_soft"] == pytest.approx(20, abs=1e-3)
    assert figures["psnr"] > 50
    assert "psnr_soft" not in evaluate(knows_all(labelled), labelled.images, labelled.labels)


def squares(num_regions):
    """Two images of a ground with a red and a blue square, and a decomposer that finds both under wrong names."""
    true = torch.zeros(2, 12, 12, dtype=torch.int64)
    true[0, 1:4, 1:4], true[0, 6:11, 5:11] = 1, num_regions - 1
    true[1, 7:10, 7:10], true[1, 1:6, 2:7] = 1, num_regions - 1
    colours = torch.tensor([[0.5, 0.5, 0.5], [0.9, 0.2, 0.2], [0.0, 0.0, 0.8]])
    pixels = (colours[true].movedim(-1, 1) * 255).round().to(torch.uint8)
    labelled = LabelledSet(ImageSet.from_arrays(pixels), Labels(true, regions=num_regions), "squares")

    def decompose(images):
        found = []
        for image in images:
            # Blue comes first, red second; the ground is the image itself.
            masks = (image[2] > 0.7, image[0] > 0.8)
            rasters = [torch.cat([image, mask[None].to(image)]) for mask in (torch.ones(12, 12), *masks)]
            whole = (Transform.shift(0, 0, (12, 12)),)
            found.append(tuple(Placement(-1, whole, raster=raster) for raster in rasters))
        return Decomposition(Dictionary(()), tuple(found), (12, 12), background=True)

    return labelled, decompose


def test_named_regions_give_region_figures_and_baselines():
    labelled, decompose = squares(3)
    validation = (labelled.images, labelled.labels)
    figures = evaluate(decompose, labelled.images, labelled.labels, validation=validation, batch=1)
    assert figures["accuracy_split"] == figures["miou_split"] == figures["accuracy_best"] == 1
    assert figures["iou"] == figures["iou_split"] == 1  # the background is right
    assert figures["miou"] == pytest.approx(1 / 3)
    assert figures["baseline_colour"] == 1
    assert 0 < figures["baseline_all"] < figures["baseline_disc"] < 1
    assert "role_swaps" not in figures and "ari" not in figures and "class_miou" not in figures
    assert "which label is which region of _split" in figures["protocol"]


def test_one_object_gives_the_foreground_baselines_and_role_swaps_whether_regions_are_named_or_not():
    labelled, decompose = squares(2)
    figures = evaluate(decompose, labelled.images, labelled.labels)
    unnamed = evaluate(decompose, labelled.images, replace(labelled.labels, regions=None))
    assert {**figures, "images_per_second": 0} == {**unnamed, "images_per_second": 0}
    assert figures["iou"] == 1
    assert figures["role_swaps"] == 0
    foreground = labelled.labels.instances > 0
    assert figures["baseline_all"] == pytest.approx(foreground.double().mean((1, 2)).mean())
    keys = ["baseline_all", "baseline_disc", "baseline_colour"]
    assert [name for name in figures if name.startswith("baseline")] == keys


def test_likeness_is_left_out_where_layers_carry_the_image():
    labelled, decompose = squares(3)
    assert evaluate(decompose, labelled.images, labelled.labels)["psnr"] == 100
    assert "psnr" not in evaluate(decompose, labelled.images, labelled.labels, reconstructs=False)
