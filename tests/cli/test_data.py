import numpy as np
import pytest
from PIL import Image

from delaminate.data import draw, load_labelled_folder, names, open_data


def test_every_built_in_set_is_listed_with_what_it_needs(command, monkeypatch):
    monkeypatch.delenv("DELAMINATE_DATA", raising=False)
    code, out, _ = command("data", "list")
    assert code == 0
    for name, description, needs in names():
        assert name in out
        assert description in out
        assert needs in out


def test_a_written_set_is_the_drawn_one(command, tmp_path):
    code, out, _ = command("data", "write", "tetrominoes", "--out", tmp_path / "x", "-n", 3, "--seed", 7)
    assert code == 0
    assert "3 images of 35 x 35" in out
    assert "replica" in out
    read, drawn = load_labelled_folder(tmp_path / "x"), draw("tetrominoes", 3, seed=7)
    assert (read.images.pixels == drawn.images.pixels).all()
    assert (read.labels.instances == drawn.labels.instances).all()
    assert (read.labels.classes == drawn.labels.classes).all()


def test_a_set_that_is_there_is_kept_unless_told_otherwise(command, tmp_path):
    out = tmp_path / "set"
    assert command("data", "write", "tetrominoes", "--out", out, "-n", 3)[0] == 0
    code, _, err = command("data", "write", "tetrominoes", "--out", out, "-n", 2)
    assert code == 2
    assert "holds a set already" in err
    assert command("data", "write", "objects-on-texture", "--out", out, "-n", 1, "--overwrite")[0] == 0
    assert {path.name for path in (out / "images").iterdir()} == {"000000.png"}


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["images/000000.png", "masks/mine.png", "classes/notes.txt", "index.csv"])
@pytest.mark.parametrize("again", [[], ["--overwrite"]])
@pytest.mark.parametrize("set_there", [False, True])
def test_files_of_somebody_else_stay(command, tmp_path, name, again, set_there):
    out = tmp_path / "set"
    if set_there:
        assert command("data", "write", "tetrominoes", "--out", out, "-n", 2)[0] == 0
        name = name.replace("000000", "000009")
    (out / name).parent.mkdir(parents=True, exist_ok=True)
    (out / name).write_bytes(b"mine")
    before = files(out)
    code, _, err = command("data", "write", "tetrominoes", "--out", out, "-n", 1, *again)
    assert code == 2
    assert f"{out / name}: is there already, and no `data write` wrote it. Choose another --out." in err
    assert files(out) == before


@pytest.fixture
def real(tmp_path, monkeypatch):
    """Sets as they lie where DELAMINATE_DATA says, of one image each."""
    for folder in ("flowers17_seg", "pennfudan"):
        for part, values in (("images", np.zeros((2, 3, 3), np.uint8)), ("masks", np.arange(6, dtype=np.uint8))):
            (tmp_path / "data" / folder / part).mkdir(parents=True)
            picture = Image.fromarray(values if values.ndim == 3 else values.reshape(2, 3))
            picture.save(tmp_path / "data" / folder / part / "0.png")
    monkeypatch.setenv("DELAMINATE_DATA", str(tmp_path / "data"))


def test_what_lies_beside_a_set_stays_and_folders_that_the_new_one_lacks_go(command, tmp_path, real):
    out = tmp_path / "set"
    assert command("data", "write", "tetrominoes", "--out", out, "-n", 2)[0] == 0
    (out / "notes.txt").write_text("mine")
    assert command("data", "write", "pennfudan", "--out", out, "--overwrite")[0] == 0
    assert set(files(out)) == {"images/000000.png", "masks/000000.png", "index.csv", "notes.txt"}
    assert not (out / "classes").exists()


def test_pixels_that_nobody_labelled_are_said_and_read_back(command, tmp_path, real):
    code, said, err = command("data", "write", "flowers17", "--out", tmp_path / "set")
    assert code == 0, err
    assert "Pixels that nobody labelled are 255 in the masks: measure with `evaluate --ignore 255`." in said
    read, known = load_labelled_folder(tmp_path / "set", ignore=(255,)), open_data("flowers17")
    assert read.labels.instances.tolist() == known.labels.instances.tolist() == [[[-1, 1, 0], [0, 0, -1]]]
    assert (read.labels.classes == known.labels.classes).all()


def test_parts_are_different_scenes(command, tmp_path):
    for split in ("train", "dev"):
        assert command("data", "write", "tetrominoes", "--out", tmp_path / split, "-n", 1, "--split", split)[0] == 0
    one, other = (load_labelled_folder(tmp_path / split).images.pixels for split in ("train", "dev"))
    assert not (one == other).all()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tetrominos"], "Did you mean 'tetrominoes'?"),
        (["tetrominoes", "--split", "test"], "only `delaminate bench` opens the test scenes"),
        (["tetrominoes", "--split", "half"], "Use train or dev"),
    ],
)
def test_what_cannot_be_written_is_refused(command, tmp_path, words, message):
    code, _, err = command("data", "write", *words, "--out", tmp_path / "x")
    assert code == 2
    assert message in err
    assert not (tmp_path / "x").exists()
