import json
import shutil

import pytest

SMALLEST = (
    "search_steps=2", "search_batch=8", "num_sprites=4", "num_layers=2", "distil_steps=2", "distil_batch=4", "steps=2",
    "batch=4", "frozen_steps=0",
)  # fmt: skip
TINY = tuple(word for setting in SMALLEST for word in ("--set", setting))


def test_training_leaves_a_run_folder_that_decomposes(command, pieces, tmp_path):
    run = tmp_path / "run"
    words = ("train", "dti-sprites", pieces / "images", "--preset", "tetrominoes", *TINY, "--fit", "crop")
    code, out, _ = command(*words, "--out", run)
    assert code == 0, out
    assert f"delaminate decompose {run} IMAGES --fit crop --out scenes" in " ".join(out.split())
    assert {"config.yaml", "metrics.jsonl", "checkpoint.pt", "model", "previews"} <= {p.name for p in run.iterdir()}
    stages = [json.loads(line)["stage"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert list(dict.fromkeys(stages)) == ["search", "distil", "refine"]
    for by in ("search", "network", "refined"):
        code, out, err = command("decompose", run, pieces / "images", "--out", tmp_path / by, "--by", by)
        assert code == 0, err


def test_a_stopped_training_goes_on_to_the_same_end(command, pieces, tmp_path):
    words = ("train", "dti-sprites", pieces / "images", "--preset", "tetrominoes", *TINY, "--quiet")
    assert command(*words, "--out", tmp_path / "straight")[0] == 0
    code, out, _ = command(*words, "--out", tmp_path / "halves", "--steps", 3)
    assert code == 0
    assert "--resume" in out
    assert command(*words, "--out", tmp_path / "halves", "--resume")[0] == 0
    one, other = ((tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("straight", "halves"))
    assert one == other


def test_the_configuration_is_printed_and_nothing_else_happens(command, tmp_path):
    code, out, _ = command(
        "train", "dti-sprites", "tetrominoes", "--print-config", "--set", "num_layers=5", "--out", tmp_path / "run"
    )
    assert code == 0
    assert "num_layers: 5" in out
    assert not (tmp_path / "run").exists()


def test_a_file_of_settings_comes_before_the_command_line(command, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("num_layers: 4\nnum_sprites: 7\n")
    _, out, _ = command(
        "train", "dti-sprites", "tetrominoes", "--print-config", "--config", path, "--set", "num_sprites=9"
    )
    assert "num_layers: 4" in out
    assert "num_sprites: 9" in out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("dti-sprites", "tetrominoes", "--set", "num_sprite=3"), "Did you mean 'num_sprites'?"),
        (("dti-sprites", "tetrominoes", "--set", "steps=many"), "expected int"),
        (("dti-sprites", "tetrominoes", "--preset", "tetromino"), "Did you mean 'tetrominoes'?"),
        (("dti-sprite", "tetrominoes"), "Did you mean 'dti-sprites'?"),
        (("dti-sprites", "tetrominoes", "--set", "sprite_size=[0, 3]"), "expected 1 to 4096, each"),
    ],
)
def test_wrong_words_are_refused_with_the_right_ones(command, words, says):
    code, _, err = command("train", *words)
    assert code == 2
    assert says in err
    assert len(err.strip().splitlines()) == 1


def test_resuming_nothing_is_refused(command, pieces, tmp_path):
    code, _, err = command(
        "train", "dti-sprites", pieces / "images", "--preset", "tetrominoes", "--resume", "--out", tmp_path / "no"
    )
    assert code == 2
    assert "no checkpoint to resume" in err


def test_benchmarks_are_listed_and_their_table_is_made(command, tmp_path):
    code, out, _ = command("bench")
    assert code == 0
    assert "tetrominoes-search" in out
    record = {
        "bench": "tetrominoes", "seed": 3, "about": "a trial", "train_seconds": 60.0, "finished": True,
        "machine": {"cores": 2}, "published": {"ari_fg": 0.9}, "figures": {"search": {"ari_fg": 0.5}},
    }  # fmt: skip
    (tmp_path / "tetrominoes-3.json").write_text(json.dumps(record))
    assert command("bench", "--table", "--out", tmp_path)[0] == 0
    table = (tmp_path / "README.md").read_text()
    assert "| search | `ari_fg` | 0.5 | 0.5 to 0.5 | 0.9 |" in table
    assert "replica" in table


def test_a_folder_that_holds_a_run_is_kept_unless_told_otherwise(pieces, command, tmp_path):
    run = tmp_path / "run"
    words = ("train", "dti-sprites", pieces / "images", "--preset", "tetrominoes", *TINY, "--quiet", "--out", run)
    assert command(*words)[0] == 0
    kept = (run / "checkpoint.pt").read_bytes()
    (run / "previews" / "99999999.png").write_bytes(b"of another run")
    (run / "mine.txt").write_text("not of a run")
    code, _, err = command(*words, "--seed", 1)
    assert code and "--overwrite" in err and (run / "checkpoint.pt").read_bytes() == kept
    assert command(*words, "--seed", 1, "--again")[0] == 0
    assert (run / "checkpoint.pt").read_bytes() != kept
    assert not (run / "previews" / "99999999.png").exists()
    assert (run / "mine.txt").exists()


def test_the_name_of_a_folder_chooses_no_preset(command, pieces, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(pieces / "images", "flowers")
    code, said, _ = command("train", "redo", "flowers", "--print-config")
    assert code == 0
    assert "steps: 2000\n" in said  # those of photos; the set of that name has 20,000
    shutil.copytree(pieces / "images", "tetrominoes")
    code, _, err = command("train", "dti-sprites", "tetrominoes")
    assert code == 2
    assert "dti-sprites needs a --preset for a folder, such as instagram" in err


def test_settings_of_another_method_are_named_as_such(pieces, command, tmp_path):
    run = tmp_path / "run"
    words = (pieces / "images", "--preset", "tetrominoes", *TINY, "--quiet", "--out", run)
    assert command("train", "dti-sprites", *words)[0] == 0
    code, _, err = command("train", "redo", pieces / "images", "--out", run, "--resume")
    assert code == 2
    assert "config.yaml: these are settings of dti-sprites, not of redo" in err


def test_resuming_heeds_a_configuration_that_is_given(pieces, command, tmp_path):
    run = tmp_path / "run"
    words = ("train", "dti-sprites", pieces / "images", "--preset", "tetrominoes", "--quiet", "--out", run)
    assert command(*words, *TINY)[0] == 0
    assert command(*words, "--resume")[0] == 0
    other = tmp_path / "other.yaml"
    other.write_text((run / "config.yaml").read_text().replace("num_layers: ", "num_layers: 1"))
    code, _, err = command(*words, "--resume", "--config", other)
    assert code and "num_layers" in err
