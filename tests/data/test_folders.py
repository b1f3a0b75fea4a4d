import numpy as np
import pytest
import torch
from PIL import Image

from delaminate.data.folders import load_folder
from delaminate.data.sets import ImageSet, LabelledSet, Labels, natural_key
from delaminate.errors import DataError


def write(path, size=(4, 6), value=9):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), value, dtype=np.uint8)).save(path)


def test_folders_are_read_in_natural_order_with_subfolders(tmp_path):
    for index, name in enumerate(["10.png", "2.png", "sub/1.PNG", "a.bmp"]):
        write(tmp_path / name, value=index)
    images = load_folder(tmp_path)
    assert images.names == ("2", "10", "a", "sub/1")
    assert images.pixels[:, 0, 0, 0].tolist() == [1, 0, 3, 2]
    assert all(frame.is_identity for frame in images.canvas_maps)
    assert load_folder(tmp_path, limit=2).names == ("2", "10")


def test_names_keep_their_suffix_when_stems_repeat(tmp_path):
    for name in ("a.png", "a.bmp", "b.png"):
        write(tmp_path / name)
    assert load_folder(tmp_path).names == ("a.bmp", "a.png", "b.png")


def test_bad_files_are_named_and_others_passed_over(tmp_path):
    write(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"no image")
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("text")
    write(tmp_path / ".hidden" / "x.png")
    images = load_folder(tmp_path)
    assert images.names == ("good",)
    assert [name for name, _ in images.skipped] == ["bad.png", "empty.jpg"]
    assert images.skipped[1][1] == "the file is empty"


def test_photos_and_clips_that_are_not_read_within_a_folder_are_named(tmp_path):
    for name in ("IMG_1.HEIC", "clip.mp4", "raw.NEF", "notes.txt", ".hidden.heic"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(
        DataError, match=r"none of the 3 image files can be read; the first, 'IMG_1.HEIC': HEIC is not read"
    ):
        load_folder(tmp_path)
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    assert load_folder(tmp_path).skipped == (
        ("IMG_1.HEIC", "HEIC is not read within a folder; save it as PNG or JPEG"),
        ("clip.mp4", "MP4 is not read within a folder; give the clip by itself"),
        ("raw.NEF", "NEF is not read within a folder; develop it to PNG or JPEG"),
    )


def test_a_folder_without_images_says_what_is_there(tmp_path):
    (tmp_path / "notes.txt").write_text("text")
    with pytest.raises(DataError, match="no image among 1 files"):
        load_folder(tmp_path)
    (tmp_path / "bad.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"none of the 1 image files.*'bad\.png': the file is empty"):
        load_folder(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        load_folder(tmp_path / "nowhere")


def test_results_among_the_images_are_passed_over_and_named(tmp_path):
    for name in (
        "a.png",
        "more/b.png",
        "cut/scenes/a.png/layers/layer-00.png",
        "cut/dictionary/0.png",
        "run/previews/1.png",
    ):
        write(tmp_path / name)
    assert len(load_folder(tmp_path)) == 5  # nothing says yet that these are results
    for name in ("cut/summary.json", "run/config.yaml", "run/metrics.jsonl"):
        (tmp_path / name).write_text("")
    images = load_folder(tmp_path)
    assert images.names == ("a", "more/b")
    assert images.skipped == (
        ("cut/", "layers, not photos: written by `decompose`, `edit` or `sample`"),
        ("run/", "pictures of a run, not photos: written by `train`"),
    )
    assert load_folder(tmp_path / "run" / "previews").names == ("1",)
    with pytest.raises(DataError, match=r"no image among 3 files; passed over: dictionary/, scenes/ \(layers"):
        load_folder(tmp_path / "cut")


def test_of_a_folder_that_holds_results_too_its_own_images_are_read(tmp_path):
    names = (
        "a.png",
        "more/b.png",
        "scenes/a.png/layers/layer-00.png",
        "dictionary/0.png",
        "residuals/a.png",
        "previews/1.png",
    )
    for name in names:
        write(tmp_path / name)
    (tmp_path / "summary.json").write_text("")
    images = load_folder(tmp_path)
    assert images.names == ("a", "more/b", "previews/1")
    assert [name for name, _ in images.skipped] == ["dictionary/, residuals/, scenes/"]
    for name in ("config.yaml", "metrics.jsonl"):
        (tmp_path / name).write_text("")
    images = load_folder(tmp_path)
    assert images.names == ("a", "more/b")
    assert [name for name, _ in images.skipped] == ["dictionary/, residuals/, scenes/", "previews/"]


def test_sizes_that_differ_need_a_canvas(tmp_path):
    write(tmp_path / "a.png", (4, 6))
    write(tmp_path / "b.png", (5, 6))
    with pytest.raises(DataError, match="give one size"):
        load_folder(tmp_path)
    images = load_folder(tmp_path, size=(3, 3))
    assert images.size == (3, 3)
    assert [frame.original for frame in images.canvas_maps] == [(4, 6), (5, 6)]


def test_one_file_is_a_folder_of_one(tmp_path):
    write(tmp_path / "a.png")
    assert load_folder(tmp_path / "a.png").names == ("a",)


def test_batches_are_floats_from_0_to_1():
    pixels = np.arange(5, dtype=np.uint8)[:, None, None, None].repeat(3, 1).repeat(2, 2).repeat(2, 3) * 51
    images = ImageSet.from_arrays(pixels)
    batch = images.batch([4, 0])
    assert batch.dtype == torch.float32
    assert batch[:, 0, 0, 0].tolist() == [0.8, 0.0] or torch.allclose(batch[:, 0, 0, 0], torch.tensor([0.8, 0]))
    assert images.subset(range(1, 3)).names == ("000001", "000002")
    assert torch.equal(images.to("cpu").batch(torch.tensor([1])), images.batch(np.array([1])))
    assert images.batch([]).shape == (0, 3, 2, 2)
    with pytest.raises(DataError, match="mask of booleans"):
        images.batch(torch.ones(5, dtype=torch.bool))
    with pytest.raises(DataError, match="there are 5 images"):
        images.batch([5])


def test_arrays_come_channels_last_or_first():
    last = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)
    assert torch.equal(ImageSet.from_arrays(last).pixels, ImageSet.from_arrays(last.transpose(0, 3, 1, 2)).pixels)
    for wrong in (last.astype(np.float32), last[0], last[..., :2]):
        with pytest.raises(DataError, match="expected uint8"):
            ImageSet.from_arrays(wrong)


def test_sets_check_their_parts():
    images = ImageSet.from_arrays(np.zeros((2, 4, 4, 3), dtype=np.uint8))
    with pytest.raises(DataError, match="same name"):
        ImageSet(images.pixels, ("a", "a"), images.canvas_maps)
    with pytest.raises(DataError, match="expected one of each"):
        ImageSet(images.pixels, ("a",), images.canvas_maps)
    with pytest.raises(DataError, match="instances are"):
        LabelledSet(images, Labels(torch.zeros(2, 3, 4, dtype=torch.int64)), "x")
    with pytest.raises(DataError, match="image_classes"):
        LabelledSet(images, Labels(image_classes=torch.zeros(3, dtype=torch.int64)), "x")


def test_permuting_moves_labels_and_leaves_images():
    images = ImageSet.from_arrays(np.zeros((20, 2, 2, 3), dtype=np.uint8))
    labelled = LabelledSet(images, Labels(image_classes=torch.arange(20)), "x")
    permuted = labelled.permuted(torch.Generator().manual_seed(0))
    assert permuted.images is images
    assert permuted.labels.image_classes.tolist() != list(range(20))
    assert sorted(permuted.labels.image_classes.tolist()) == list(range(20))


def test_natural_order():
    assert sorted(["x10", "x9", "X1", "y"], key=natural_key) == ["X1", "x9", "x10", "y"]
