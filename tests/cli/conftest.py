import sys
from dataclasses import replace

import pytest

from delaminate.cli import main


@pytest.fixture
def command(monkeypatch, capsys):
    """Run the command line in this process: exit code, standard output, standard error."""
    # Wide enough that no table or path is broken into lines.
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.delenv("DELAMINATE_TRACEBACK", raising=False)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["delaminate", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            main()
        said = capsys.readouterr()
        return left.value.code, said.out, said.err

    return run


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """A model folder; nothing has trained it, so its layers are blobs."""
    from delaminate.methods import METHODS, save_model

    method_class, presets = METHODS["dti-sprites"]
    config = replace(presets["tetrominoes-paper"], num_sprites=3, num_layers=2)
    folder = tmp_path_factory.mktemp("model") / "model"
    save_model(method_class(config, 0), folder)
    return folder


@pytest.fixture(scope="session")
def pieces(tmp_path_factory):
    """A small labelled folder of drawn scenes."""
    from delaminate.data import draw, write_folder

    folder = tmp_path_factory.mktemp("data") / "pieces"
    write_folder(draw("tetrominoes", 5, split="dev"), folder)
    return folder


@pytest.fixture
def scenes(tmp_path, model, pieces, command):
    """Scenes that the model made of the pieces."""
    assert command("decompose", model, pieces / "images", "--out", tmp_path / "scenes")[0] == 0
    return tmp_path / "scenes"
