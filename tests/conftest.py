"""Which tests run plainly, and the fixtures of all tests.

All others run with every annotation enforced (`./run test` without arguments does both).
"""

import shutil
import sys
from pathlib import Path

import pytest
import torch

from delaminate.cli import main

HERE = Path(__file__).parent
# typer hands over contexts that are not of the class it asks us to name. Where other processes are started, nothing would
# be checked. Tracing a graph has shapes that are no numbers.
FILES = (
    "cli",
    "engine/test_resume.py",
    "laws/test_older_files.py",
    "pipelines/test_model_export.py",
    "test_examples.py",
)
# What takes seconds and trains: left out of `./run test`, and plain, for what it calls is tested elsewhere.
SLOW = (
    "bench/test_judge.py",
    "engine/test_devices.py",
    "engine/test_kill.py",
    "studio/test_kill.py",
    "test_images_are_decomposed_edited_and_taken_away",
    "test_a_training_is_watched_stopped_and_gone_on_with",
    "test_a_job_is_a_command_that_another_server_finds_again",
    "engine/test_parallel.py",
    "methods/test_marionette_parallel.py",
    "test_a_run_stopped_after_any_step",
    "test_a_run_that_began_anew_resumes",
    "test_a_run_in_brain_floats_resumes",
    "test_a_search_resumed_after_a_round",
    "test_a_training_resumed_while_distilling",
    "test_the_network_learns_what_search_has_found",
    "test_recommendations_can_be_distilled",
    "test_every_preset_builds_and_takes_two_steps_with_every_player[clevr6",
    "test_every_preset_builds_and_takes_two_steps_with_every_player[instagram",
    "test_every_preset_builds_and_takes_two_steps_with_every_player[weizmann",
    "test_a_long_clip_is_recomposed",
    "test_a_process_killed_at_random_moments_is_finished",
    "test_what_large_frames_take",
    "test_it_learns_floating_sprites",
)
# In tests of refusals the checker would answer first; trainings that are resumed go through what others do once more; the
# main journeys are commands.
NAMES = ("refuse", "same_end", "same_bits", "same_weights", "main_journeys")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        file = item.path.relative_to(HERE).as_posix() if item.path.is_relative_to(HERE) else ""
        if any(name in f"{file}::{item.nodeid.partition('::')[2]}" for name in SLOW):
            item.add_marker("slow")
        known = file and not any(file == name or file.startswith(f"{name}/") for name in FILES)
        if not known or item.get_closest_marker("slow") or any(name in item.nodeid for name in NAMES):
            item.add_marker("plain")


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """The tensors here are tiny, and several processes share the machine."""
    torch.set_num_threads(1)


@pytest.fixture
def fifth(monkeypatch):
    """The method of `examples/fifth_method.py`, known by its name as if a package offered it."""
    import fifth_method

    from delaminate.methods import METHODS

    monkeypatch.setattr(METHODS, "_known", {**METHODS._known, "colour-regions": fifth_method.ColourRegions})
    return fifth_method.ColourRegions


@pytest.fixture
def brain_floats(monkeypatch):
    """bfloat16 is computed even where it has to be emulated."""
    for place in ("nets.precision", "methods.base", "methods.marionette.model"):
        monkeypatch.setattr(f"delaminate.{place}.has_bfloat16", lambda kind: True)


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
    from delaminate.methods.dti_sprites import DTISprites

    folder = tmp_path_factory.mktemp("model") / "model"
    DTISprites.preset("tetrominoes-paper", num_sprites=3, num_layers=2).save_pretrained(folder)
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
    from delaminate.pipelines.decomposition import decompose

    folder = tmp_path_factory.mktemp("made") / "scenes"
    decompose(str(model), str(pieces / "images"), folder, device="cpu")
    return folder


@pytest.fixture
def scenes(tmp_path, made):
    """A copy of those scenes."""
    return Path(shutil.copytree(made, tmp_path / "scenes"))
