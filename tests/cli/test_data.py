import pytest

from delaminate.data import draw, load_labelled_folder, names


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
    assert command("data", "write", "objects-on-texture", "--out", out, "-n", 1, "--again")[0] == 0
    assert {path.name for path in (out / "images").iterdir()} == {"000000.png"}


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
