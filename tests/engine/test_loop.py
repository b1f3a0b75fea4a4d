"""The training loop: order of the data, budgets, what it refuses, what it leaves behind."""

import pickle
from dataclasses import replace

import pytest
import torch
from helpers.tiny import CONFIG, EVERY_STEP, GROWING, PAPER, SELDOM, differences, model, pixels, total_steps
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.testing import assert_close

from delaminate.engine import Budget, train
from delaminate.engine.batches import batch_indices
from delaminate.engine.checkpoint import load, save
from delaminate.engine.ema import EMA
from delaminate.engine.guards import LOCK
from delaminate.engine.record import RunLog, SilentCallback, read_log
from delaminate.errors import DataError, FormatError, OutputError, TrainingError
from delaminate.methods import load_model

CPU = torch.device("cpu")


# --- order of the data --------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None, database=None)
@given(st.integers(1, 12), st.integers(1, 15), st.integers(0, 5))
def test_every_image_comes_once_an_epoch(count, batch, seed):
    row = torch.cat([batch_indices(count, batch, seed, "refine", step, {}) for step in range(2 * count)])
    for epoch in range(len(row) // count):
        assert sorted(row[epoch * count : (epoch + 1) * count].tolist()) == list(range(count))


def test_the_order_is_a_function_of_seed_stage_and_step():
    cache = {}
    row = [batch_indices(10, 4, 0, "refine", step, cache).tolist() for step in range(9)]
    for step in (8, 0, 5):
        assert batch_indices(10, 4, 0, "refine", step, {}).tolist() == row[step]
    assert [batch_indices(10, 4, 1, "refine", step, {}).tolist() for step in range(9)] != row
    assert [batch_indices(10, 4, 0, "distil", step, {}).tolist() for step in range(9)] != row
    assert len(cache) <= 2


# --- budgets ------------------------------------------------------------------------------------------------------


def test_a_budget_of_steps_counts_over_all_stages_and_resumptions(tmp_path):
    outcome = train(model(), pixels(), tmp_path, intervals=SELDOM, budget=Budget(steps=6))
    assert (outcome.finished, outcome.reason, outcome.total_step) == (False, "steps", 6)
    outcome = train(model(), pixels(), tmp_path, intervals=SELDOM, budget=Budget(steps=6), resume=True)
    assert outcome.total_step == 6
    outcome = train(model(), pixels(), tmp_path, intervals=SELDOM, budget=Budget(steps=100), resume=True)
    assert (outcome.finished, outcome.reason, outcome.total_step) == (True, "finished", total_steps(CONFIG))


def test_minutes_only_stop_and_change_no_schedule(tmp_path):
    outcome = train(model(), pixels(), tmp_path, intervals=SELDOM, budget=Budget(minutes=0.0))
    assert (outcome.finished, outcome.reason) == (False, "minutes")
    assert outcome.total_step < total_steps(CONFIG)
    resumed, whole = model(), model()
    train(resumed, pixels(), tmp_path, intervals=SELDOM, resume=True, budget=Budget(minutes=60.0))
    train(whole, pixels())
    assert differences(resumed.state_dict(), whole.state_dict()) == []


def test_a_trained_model_has_the_averaged_weights_that_its_folder_has(tmp_path):
    trained = model()
    train(trained, pixels(), tmp_path)
    stored = load_model(tmp_path)
    assert torch.equal(trained.sprites_alpha, stored.sprites_alpha)
    assert not torch.equal(load(tmp_path / "checkpoint.pt", CPU)["weights"]["sprites_alpha"], stored.sprites_alpha)


def test_a_run_that_stops_right_after_a_restart_is_measured_at_its_first_stage():
    config = replace(
        GROWING, growing=False, steps=5, batch=4, restarts=3, monitor_from=0, border_ratio=1e-9, encoder_steps=0
    )
    some, measured = model(config), []
    error = some.error
    some.error = lambda images, stage: measured.append(stage) or error(images, stage)
    assert train(some, pixels(), budget=Budget(steps=1)).reason == "steps"
    assert measured == ["layers"]


def test_a_stage_may_begin_with_the_averaged_weights_in_place(tmp_path):
    """What was averaged is then what a later stage learns from, and it stays as it is."""
    before, after = (total_steps(GROWING) - 4 + more for more in (0, 1))
    for steps in (before, after):
        train(model(GROWING), pixels(), tmp_path, budget=Budget(steps=steps), resume=steps == after, intervals=SELDOM)
        state = load(tmp_path / "checkpoint.pt", CPU)
        own = {n: w for n, w in state["weights"].items() if n.startswith("generator.")}
        same = [torch.equal(weight, state["average"][name]) for name, weight in own.items()]
        assert all(same) if steps == after else not all(same)


def test_figures_beside_the_loss_are_not_part_of_it(tmp_path):
    train(model(GROWING), pixels(), tmp_path, budget=Budget(steps=1))
    (line,) = (each for each in read_log(tmp_path) if "stage" in each)
    terms = ("real", "fake", "penalty", "adversary", "area", "binary")
    assert {"covered", "border", "gap"} <= set(line)
    assert line["loss"] == pytest.approx(sum(line[name] for name in terms))


def test_a_model_stopped_before_its_network_begins_offers_only_search(tmp_path):
    some = model()
    train(some, pixels(), tmp_path, intervals=SELDOM, budget=Budget(steps=CONFIG.search_steps))
    assert some.decomposers == ("search",)
    assert load_model(tmp_path).decomposers == ("search",)


# --- what goes wrong ------------------------------------------------------------------------------------------------


def test_a_loss_that_is_no_number_stops_and_leaves_the_last_good_checkpoint(tmp_path):
    train(model(PAPER), pixels(), tmp_path, intervals=EVERY_STEP, budget=Budget(steps=3))
    good = load(tmp_path / "checkpoint.pt", CPU)

    class Spoiler(SilentCallback):
        """Spoils the weights after some steps."""

        def step(self, name, step, figures):
            if step == 5:
                with torch.no_grad():
                    spoiled.sprites_rgb.fill_(torch.nan)

    spoiled = model(PAPER)
    with pytest.raises(TrainingError, match=r"refine, step 5: .* nan") as caught:
        train(spoiled, pixels(), tmp_path, intervals=SELDOM, resume=True, callback=Spoiler())
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "checkpoint.pt") in str(caught.value)
    assert differences(good, load(tmp_path / "checkpoint.pt", CPU)) == []
    assert train(model(PAPER), pixels(), tmp_path, intervals=SELDOM, resume=True).finished


@pytest.mark.parametrize("shape", [(0, 3, 16, 16), (4, 3, 16, 17), (4, 1, 16, 16), (4, 16, 16)], ids=str)
def test_images_of_the_wrong_shape_are_refused(shape):
    with pytest.raises(DataError, match="train: images are"):
        train(model(), torch.zeros(shape, dtype=torch.uint8))


def test_images_that_are_not_bytes_are_refused():
    with pytest.raises(DataError, match=r"train: images are torch\.float32"):
        train(model(), pixels().float() / 255)


def test_an_unwritable_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(OutputError, match="cannot be written"):
            train(model(), pixels(), out)


def test_a_checkpoint_that_cannot_be_replaced_is_refused_and_leaves_no_rubbish(tmp_path):
    (tmp_path / "checkpoint.pt").mkdir()
    with pytest.raises(OutputError, match="cannot be written"):
        train(model(), pixels(), tmp_path, budget=Budget(steps=1))
    assert {path.name for path in tmp_path.glob(".*")} <= {LOCK}


def damaged_checkpoints():
    def cut(path):
        path.write_bytes(path.read_bytes()[:-1000])

    def empty(path):
        path.write_bytes(b"")

    def garbage(path):
        path.write_bytes(b"\x00\xff" * 5000)

    def pickled(path):
        class Evil:
            def __reduce__(self):
                return print, ("executed",)

        with path.open("wb") as file:
            pickle.dump(Evil(), file)

    def stump(path):
        path.write_bytes(b"\x80\x04R.")  # a pickle that takes from an empty stack

    def zipped_pickle(path):
        torch.save({"format": 1, "evil": Spy()}, path)

    def another_format(path):
        torch.save({"format": 99}, path)

    def no_state(path):
        torch.save([1, 2, 3], path)

    def missing(path):
        path.unlink()

    def another_seed(path):
        save(path, {**load(path, CPU), "seed": 12})

    def another_config(path):
        state = load(path, CPU)
        save(path, {**state, "config": state["config"].replace("num_layers: 2", "num_layers: 1")})

    def without_weights(path):
        state = load(path, CPU)
        del state["weights"]
        save(path, state)

    def other_weights(path):
        state = load(path, CPU)
        state["weights"]["sprites_rgb"] = torch.zeros(2, 3, 8, 8)
        save(path, state)

    def other_players(path):
        save(path, {**load(path, CPU), "players": {"nobody": {}}})

    def players_of_another_kind(path):
        save(path, {**load(path, CPU), "players": {"distiller": {}}, "optimisers": {}})

    def words_for_numbers(path):
        save(path, {**load(path, CPU), "stage": "first"})

    return [value for value in locals().values() if callable(value)]


class Spy:
    """Would be made, and so prove that something was executed, by an unrestricted reader."""


@pytest.mark.parametrize("damage", damaged_checkpoints(), ids=lambda damage: damage.__name__)
def test_damaged_and_foreign_checkpoints_are_refused(damage, tmp_path, capsys):
    train(model(), pixels(), tmp_path, intervals=SELDOM, budget=Budget(steps=5))
    damage(tmp_path / "checkpoint.pt")
    with pytest.raises(FormatError, match=r"checkpoint\.pt: ") as caught:
        train(model(), pixels(), tmp_path, intervals=SELDOM, resume=True)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")
    assert not any(word in str(caught.value) for word in ("()", "Weights only", "PyTorch"))
    assert "executed" not in capsys.readouterr().out


# --- what is left behind --------------------------------------------------------------------------------------------


def test_previews_of_large_images_are_shrunk_so_that_the_page_can_show_them(tmp_path):
    log = RunLog(tmp_path)
    log.preview(1, [torch.rand(4, 3, 1200, 1200), torch.rand(2, 3, 1500, 3000)])
    with Image.open(tmp_path / "previews" / "00000001.png") as picture:
        assert 2**22 < picture.width * picture.height <= 2**24


def test_a_run_folder_holds_configuration_log_previews_models_and_state(tmp_path):
    train(model(), pixels(), tmp_path, intervals=SELDOM)
    names = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    wanted = {"config.yaml", "metrics.jsonl", "checkpoint.pt"}
    wanted |= {f"{folder}/{name}" for folder in ("best", "model") for name in ("model.safetensors", "config.json")}
    assert wanted <= names
    assert any(name.startswith("previews/") for name in names)
    assert not any(".." in name or name.split("/")[-1].startswith(".") for name in names - {LOCK})
    for line in read_log(tmp_path):
        assert {"total_step", "stage", "step", "time", "loss", "images_per_second"} <= line.keys()


def test_beginning_again_in_a_folder_forgets_the_old_log(tmp_path):
    train(model(), pixels(), tmp_path, intervals=EVERY_STEP)
    train(model(), pixels(), tmp_path, intervals=EVERY_STEP, budget=Budget(steps=2))
    assert [line["total_step"] for line in read_log(tmp_path)] == [0, 1]


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train(model(), pixels())
    assert list(tmp_path.iterdir()) == []


# --- averaged weights -----------------------------------------------------------------------------------------------


def test_the_average_follows_its_formula_and_comes_and_goes():
    layer = torch.nn.Linear(2, 1).double()
    average = EMA(layer, 0.9)
    expected = layer.weight.detach().clone()
    for step in range(1, 31):
        with torch.no_grad():
            layer.weight.fill_(float(step))
        average.update(layer)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert_close(average.weights["weight"], expected)
    with average.applied(layer):
        assert_close(layer.weight.detach(), expected)
    assert bool((layer.weight == 30).all())
    again = EMA(layer, 0.9)
    again.restore(average.state())
    assert differences(again.state(), average.state()) == []


def test_the_average_gives_way_when_something_goes_wrong_under_it():
    layer = torch.nn.Linear(2, 1)
    average = EMA(layer, 0.9)
    with torch.no_grad():
        layer.weight.fill_(7)

    def fail():
        with average.applied(layer):
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert bool((layer.weight == 7).all())
