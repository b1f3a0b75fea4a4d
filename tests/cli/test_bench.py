"""The tables of results, and what a record counts."""

import json
from pathlib import Path

import pytest

from delaminate.bench.benchmarks import BENCHES, Bench
from delaminate.bench.run import busy_seconds, run_seed
from delaminate.bench.tables import VARIANT, _is_above, results_table
from delaminate.cli.bench import bench
from delaminate.config import build
from delaminate.errors import ConfigError
from delaminate.methods import METHODS
from delaminate.pipelines.training import resolve_config

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


def record(folder, name, seed, iou, finished=True, **more):
    found = {
        "bench": name, "seed": seed, "about": "flowers", "machine": {"cores": 2, "threads": 1}, "train_seconds": 60.0 + seed,
        "finished": finished, "published": {"iou_best": 0.764}, "check_curve": [["adversary", 499, 30.0, 0.5]],
        "figures": {"network": {"iou": iou, "iou_best": iou + 0.01, "count": 5}},
    } | more  # fmt: skip
    (folder / f"{name}-{seed}.json").write_text(json.dumps(found))


def test_a_table_has_mean_spread_failures_and_what_needs_no_learning(tmp_path):
    record(tmp_path, "redo-flowers17", 0, 0.7)
    record(tmp_path, "redo-flowers17", 1, 0.8, finished=False)
    baselines = {"flowers17": {"centred disc": {"iou": 0.59}}, "horses": {"centred disc": {"iou": 0.1}}}
    (tmp_path / "baselines.json").write_text(json.dumps({"baselines": baselines}))
    (tmp_path / "speed.json").write_text("{}")  # not a benchmark's
    table = results_table(tmp_path)
    assert (
        "2 seeds (0, 1), median 60 s of training on 1 of 2 cores; failed: 0, unfinished otherwise: 1, restarts: 0."
        in table
    )
    assert "| network | `iou` | 0.75 | 0.7 to 0.8 |  |" in table
    assert "| network | `iou_best` | 0.76 | 0.71 to 0.81 | 0.764 |" in table
    assert "| *baseline: centred disc* | `iou` | 0.59 | | |" in table
    assert "0.1 |" not in table


def test_a_table_tells_time_by_what_was_trained_on(tmp_path):
    record(tmp_path, "redo-flowers17", 0, 0.7)
    gpu = {"cores": 16, "threads": 5, "gpu": "a GPU"}
    record(tmp_path, "redo-flowers17", 1, 0.8, machine=gpu, train_seconds=7.0)
    record(tmp_path, "redo-flowers17", 2, 0.8, machine=gpu, train_seconds=9.0)
    assert (
        "3 seeds (0, 1, 2), median 60 s of training on 1 of 2 cores, median 8 s of training on a GPU; failed: 0, "
        in results_table(tmp_path)
    )


def test_a_table_counts_failures_restarts_other_settings_and_seeds_above_the_baselines(tmp_path):
    guesses = {"baseline_all": 0.3, "baseline_disc": 0.5, "baseline_colour": 0.4}
    network = {"iou": 0.6, "miou": 0.2, "role_swaps": 0.0, **guesses}
    three = {"iou": 0.9, "miou": 0.3, "miou_split": 0.6, **guesses}
    lost = {"iou": 0.45, "miou": 0.9, "role_swaps": 0.0, **guesses}
    notes = ["adversary, step 9: gone. Begun anew, restart 1 of 3.", "12 images are few."]
    record(
        tmp_path, "x", 0, 0.0, figures={"network": network, "refined": network}, notes=notes, config={"a": 1, "b": 1}
    )
    record(tmp_path, "y", 0, 0.0, figures={"network": three})
    record(tmp_path, "x", 1, 0.0, False, figures={"network": lost}, stopped_by="failed", config={"a": 2, "b": 1})
    table = results_table(tmp_path)
    assert "failed: 1, unfinished otherwise: 0, restarts: 1." in table
    assert "different settings (a): means tell little" in table
    assert "| network | above every baseline | 1 of 2 seeds | | |" in table
    assert "| network | above every baseline | 1 of 1 seeds | | |" in table
    assert "| refined | `iou` | 0.6 | 0.6 to 0.6, 1 seeds |  |" in table


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("tetrominoes-search", "tetrominoes"),
        ("perturbgan-flowers17", "flowers17"),
        ("objects-on-texture-still", "objects-on-texture"),
        ("colored-2-mnist", "colored-2-mnist"),
        ("colored-2-mnist-64", "colored-2-mnist-64"),  # another size, other baselines
    ],
)
def test_variants_of_a_benchmark_share_the_baselines_of_its_data(name, data):
    assert VARIANT.sub("", name) == data


def test_seeds_are_held_against_all_that_learns_nothing(tmp_path):
    guesses = {"components": {"box_f1": 0.8}, "discs": {"box_f1": 0.9, "f1": 0.1}}
    (tmp_path / "baselines.json").write_text(
        json.dumps({"baselines": {"pages": guesses, "photos": {"disc": {"iou": 0.7}}}})
    )
    record(tmp_path, "pages", 0, 0.0, figures={"search": {"box_f1": 0.85}})
    record(tmp_path, "pages", 1, 0.0, figures={"search": {"box_f1": 0.95}})
    own = {"iou": 0.6, "role_swaps": 0.0, "baseline_all": 0.3, "baseline_disc": 0.5, "baseline_colour": 0.4}
    record(tmp_path, "photos", 0, 0.0, figures={"network": own})
    table = results_table(tmp_path)
    assert "| search | above every baseline | 1 of 2 seeds | | |" in table
    assert "| network | above every baseline | 0 of 1 seeds | | |" in table


@pytest.mark.parametrize("name", BENCHES)
def test_every_row_stands_beside_something_that_learns_nothing(name):
    known = json.loads((RESULTS / "baselines.json").read_text())["baselines"]
    guesses = known.get(VARIANT.sub("", name), {})
    assert guesses, f"{name}: measure what learns nothing, in benchmarks/baselines.py"
    for path in RESULTS.glob(f"{name}-[0-9]*.json"):
        measured = json.loads(path.read_text())
        if measured.get("bench") == name:
            for by, figures in measured["figures"].items():
                assert by == "sampled" or _is_above(figures, guesses) is not None, path.name


def test_breaks_between_calls_are_no_training_time():
    assert busy_seconds([]) == 0
    assert busy_seconds([100.0, 110.0, 130.0, 9_000.0, 9_005.0]) == 35


@pytest.mark.parametrize("name", BENCHES)
def test_every_row_names_a_preset_and_settings_that_are_there(name):
    row = BENCHES[name]
    config = resolve_config(METHODS[row.method], row.preset, None, {})
    build(config, row.settings, name)


def test_unknown_names_are_refused_with_a_hint(tmp_path):
    with pytest.raises(ConfigError, match="redo-flowers17"):
        bench(["redo-flower17"], out=tmp_path)


@pytest.mark.parametrize(("steps", "minutes"), [(100_000, 0.02), (2, None)])
def test_a_run_is_recorded_where_it_ends_and_one_that_is_cut_has_no_figures(steps, minutes, monkeypatch, tmp_path):
    from delaminate.bench import run as judging

    settings = {
        "image_size": [16, 16], "noise_width": 4, "mapping_depth": 1, "width": 8, "most_channels": 8, "batch": 4,
        "steps": steps, "encoder_steps": 0, "segmenter_steps": 2, "segmenter_width": 8, "self_training_steps": 2,
    }  # fmt: skip
    row = Bench("tiny", "objects-on-texture", "objects-on-texture", settings, "perturbgan", count=20, test=8)
    monkeypatch.setitem(BENCHES, "tiny", row)
    taught, sampled = judging.taught, judging.sampled_figures
    monkeypatch.setattr(judging, "taught", lambda *a: taught(*a, scenes=8, steps=1))
    monkeypatch.setattr(judging, "sampled_figures", lambda *a: sampled(*a, count=8))
    (tmp_path / "runs" / "tiny-0" / "previews").mkdir(parents=True)
    (tmp_path / "runs" / "tiny-0" / "previews" / "00009999.png").write_bytes(b"of another run")
    if minutes is not None:
        with pytest.raises(judging.Interrupted, match="UNFINISHED") as stop:
            run_seed("tiny", 0, tmp_path, "cpu", minutes, resume=False)
        assert stop.value.status == 1
        return
    found = run_seed("tiny", 0, tmp_path, "cpu", minutes, resume=False)
    assert set(found["figures"]) == {"despeckled", "refined", "segmenter", "sampled"}
    assert found["stopped_by"] == "finished" and found["finished"]
    assert 0 <= found["figures"]["sampled"]["iou_sampled"] <= 1
    assert not (tmp_path / "runs" / "tiny-0" / "previews" / "00009999.png").exists()
