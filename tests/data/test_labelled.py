import numpy as np
import pytest
import torch
from PIL import Image

from delaminate.data.labelled import load_labelled_folder, write_folder, written_files
from delaminate.data.sets import ImageSet, LabelledSet, Labels
from delaminate.data.synthetic.scenes import draw
from delaminate.errors import DataError, OutputError


def folder_of(root, masks, size=(4, 8)):
    for name in ("images", "masks"):
        (root / name).mkdir()
    for index, values in enumerate(masks):
        Image.fromarray(np.zeros((*size, 3), dtype=np.uint8)).save(root / "images" / f"{index}.jpg")
        if values is not None:
            Image.fromarray(values).save(root / "masks" / f"{index}.png")
    return root


@pytest.mark.parametrize("name", ["tetrominoes", "multi-dsprites"])
def test_written_folders_read_back_exactly(tmp_path, name):
    drawn = draw(name, 4)
    write_folder(drawn, tmp_path / "set")
    read = load_labelled_folder(tmp_path / "set")
    assert torch.equal(read.images.pixels, drawn.images.pixels)
    assert torch.equal(read.labels.instances, drawn.labels.instances)
    assert torch.equal(read.labels.classes, drawn.labels.classes)
    assert read.images.names == drawn.images.names
    assert read.name == "set"
    assert (tmp_path / "set/index.csv").read_text().splitlines()[0] == "id,name,class,foreground"
    assert not list(tmp_path.rglob("*.partial"))


def test_labels_of_16_bits_survive(tmp_path):
    images = ImageSet.from_arrays(np.zeros((1, 2, 2, 3), dtype=np.uint8), names=["=cmd"])
    labels = Labels(torch.tensor([[[0, 300], [65535, 1]]]))
    write_folder(LabelledSet(images, labels, "x"), tmp_path)
    assert torch.equal(load_labelled_folder(tmp_path).labels.instances, labels.instances)
    assert "'=cmd" in (tmp_path / "index.csv").read_text()
    for wrong in (labels.instances - 2, labels.instances + 1):
        with pytest.raises(DataError, match="a PNG holds"):
            write_folder(LabelledSet(images, Labels(wrong), "x"), tmp_path / "wrong")
        assert not (tmp_path / "wrong").exists()


@pytest.mark.parametrize(
    ("classes", "value"),
    [([-1, 3], 255), ([255, 300], 254), ([*range(1, 257)], 257), ([*range(65536)], None)],
    ids=["free", "taken", "none of 8 bits", "none"],
)
def test_labels_to_be_ignored_are_a_value_that_no_map_holds(tmp_path, classes, value):
    classes = torch.tensor(classes).view(1, 1, -1)
    images = ImageSet.from_arrays(np.zeros((1, 1, classes.shape[2], 3), dtype=np.uint8))
    instances = torch.zeros_like(classes)
    instances[..., 0] = -1
    labelled = LabelledSet(images, Labels(instances, classes), "x")
    if value is None:
        with pytest.raises(DataError, match="none is left"):
            write_folder(labelled, tmp_path / "set")
        assert not (tmp_path / "set").exists()
        return
    assert write_folder(labelled, tmp_path / "set") == value
    read = load_labelled_folder(tmp_path / "set", ignore=(value,)).labels
    assert torch.equal(read.instances, instances)
    assert torch.equal(read.classes, classes)


def test_what_was_written_is_known_by_its_index(tmp_path):
    assert written_files(tmp_path) == set()
    assert write_folder(draw("tetrominoes", 2), tmp_path) is None
    written = {path for path in tmp_path.rglob("*") if path.is_file()}
    (tmp_path / "masks/mine.png").write_bytes(b"")
    (tmp_path / "images/000002.png").write_bytes(b"")
    assert written_files(tmp_path) == written
    (tmp_path / "masks/000001.png").rename(tmp_path / "masks/.000001.png.partial")  # as a kill leaves it
    assert tmp_path / "masks/.000001.png.partial" in written_files(tmp_path)
    for content in ("a,b\n000000,1\n", "id,name,class,foreground\n../x,1,,\n", ""):
        (tmp_path / "index.csv").write_text(content)
        assert written_files(tmp_path) == set()


def test_what_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot write"):
        write_folder(draw("tetrominoes", 1), tmp_path / "file")


def test_masks_follow_the_frame_of_their_image(tmp_path):
    values = np.zeros((4, 8), dtype=np.uint8)
    values[:, :2], values[:, 2:6], values[:, 6:] = 1, 2, 255
    root = folder_of(tmp_path, [values])
    squashed = load_labelled_folder(root, (4, 4)).labels.instances
    assert squashed[0, 0].tolist() == [1, 2, 2, 255]
    assert load_labelled_folder(root, (4, 4), "crop").labels.instances[0, 0].tolist() == [2, 2, 2, 2]
    padded = load_labelled_folder(root, (4, 4), "pad", ignore=(0, 255)).labels.instances
    assert padded[0].tolist() == [[0, 0, 0, 0], [1, 2, 2, -1], [1, 2, 2, -1], [0, 0, 0, 0]]


def test_exported_label_maps_are_masks(tmp_path):
    labelled = draw("tetrominoes", 2, split="dev")
    write_folder(labelled, tmp_path)
    for path in list((tmp_path / "masks").iterdir()):
        path.rename(path.with_name("instances.png"))  # as `export --to masks` lays them out
        path.mkdir()
        path.with_name("instances.png").rename(path / "instances.png")
        (path / "classes.png").write_bytes((path / "instances.png").read_bytes())
    assert torch.equal(load_labelled_folder(tmp_path).labels.instances, labelled.labels.instances)


def test_a_missing_or_unfit_mask_is_named(tmp_path):
    good = np.zeros((4, 8), dtype=np.uint8)
    root = folder_of(tmp_path, [good, None])
    with pytest.raises(DataError, match="no mask for image '1'"):
        load_labelled_folder(root)
    Image.fromarray(good[:2]).save(root / "masks/1.png")
    with pytest.raises(DataError, match=r"1\.png: the mask is \(2, 8\)"):
        load_labelled_folder(root)
    Image.fromarray(good).save(root / "masks/1.bmp")
    with pytest.raises(DataError, match="masks of one image"):
        load_labelled_folder(root)


def test_a_folder_without_masks_is_refused(tmp_path):
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match="no folder 'masks'"):
        load_labelled_folder(tmp_path)
