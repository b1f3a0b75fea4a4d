import json

import numpy as np
import pytest
from helpers.exports import scenes
from hypothesis import given, settings
from hypothesis import strategies as st

from delaminate.errors import FormatError
from delaminate.exporters.coco import compress, expand, mask_of, run_lengths, write_coco
from delaminate.scene.decomposition import Decomposition

masks = st.builds(
    lambda height, width, seed, density: np.random.Generator(np.random.PCG64(seed)).random((height, width)) < density,
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(0, 10**6),
    st.sampled_from([0, 0.02, 0.5, 0.98, 1]),
)


@settings(max_examples=60, deadline=None, database=None)
@given(masks)
def test_a_mask_survives_its_run_lengths_and_its_string(mask):
    runs = run_lengths(mask)
    assert expand(compress(runs)) == runs
    assert (mask_of(runs, *mask.shape) == mask).all()


@settings(max_examples=60, deadline=None, database=None)
@given(masks)
def test_strings_are_those_of_the_reference_implementation(mask):
    reference = pytest.importorskip("pycocotools.mask")
    expected = reference.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert compress(run_lengths(mask)) == expected["counts"].decode()


def test_large_runs_survive():
    runs = [0, 10**6, 3, 2, 10**7, 1, 0, 5]
    assert expand(compress(runs)) == runs


@pytest.mark.parametrize("text", ["\n", "o", "é", "O", "o" * 40])
def test_strings_that_are_no_masks_are_refused(text):
    with pytest.raises(FormatError, match="COCO"):
        expand(text)
    with pytest.raises(FormatError, match="pixels"):
        mask_of([3], 2, 2)


@pytest.mark.parametrize(("background", "compressed"), [(True, True), (False, False)])
def test_annotations_are_what_is_seen_of_the_layers(tmp_path, background, compressed):
    shown = scenes(background)
    result = write_coco(shown, tmp_path, compressed=compressed)
    assert result.max_error is None
    document = json.loads(result.files[0].read_text())
    assert [image["file_name"] for image in document["images"]] == [scene.name for scene in shown]
    names = {category["id"]: category["name"] for category in document["categories"]}
    assert names == {1: "sprite-00", 2: "sprite-01", 3: "sprite-02", 5: "object"}
    assert [annotation["id"] for annotation in document["annotations"]] == list(
        range(1, len(document["annotations"]) + 1)
    )
    for number, scene in enumerate(shown, 1):
        labels = Decomposition.from_scene(scene).labels()[0][0].numpy()
        again = np.zeros_like(labels)
        visible = [layer for layer in scene.layers if layer.visible]
        for annotation in document["annotations"]:
            if annotation["image_id"] != number:
                continue
            counts = annotation["segmentation"]["counts"]
            mask = mask_of(expand(counts) if compressed else counts, *annotation["segmentation"]["size"])
            place = next(i for i, layer in enumerate(visible) if layer.id == annotation["layer"])
            again[mask] = place if background else place + 1
            rows, columns = np.nonzero(mask)
            box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
            assert annotation["bbox"] == [int(number) for number in box]
            assert annotation["area"] == mask.sum()
        assert (again == labels).all()


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
def test_the_reference_program_opens_the_file(tmp_path, capsys):
    coco = pytest.importorskip("pycocotools.coco")
    path = write_coco(scenes(), tmp_path).files[0]
    opened = coco.COCO(str(path))
    for annotation in opened.dataset["annotations"]:
        assert opened.annToMask(annotation).sum() == annotation["area"]
