import shutil
import sys
from dataclasses import replace
from pathlib import Path

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


@pytest.fixture(scope="session")
def made(tmp_path_factory, model, pieces):
    """Scenes that the model made of the pieces; not to be changed."""
    from delaminate.cli.decompose import decompose

    folder = tmp_path_factory.mktemp("made") / "scenes"
    decompose(str(model), str(pieces / "images"), folder, device="cpu")
    return folder


@pytest.fixture
def scenes(tmp_path, made):
    """A copy of those scenes."""
    return Path(shutil.copytree(made, tmp_path / "scenes"))
