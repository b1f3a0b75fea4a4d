"""A run interrupted anywhere and resumed is the run that was never interrupted, to the bit."""

import json

import pytest
import torch
from helpers.tiny import CONFIG, CONFIGS, EVERY_STEP, SELDOM, differences, model, pixels, total_steps

from delaminate.engine import Budget, train
from delaminate.engine.checkpoint import load
from delaminate.engine.record import read_log
from delaminate.errors import FormatError

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """Uninterrupted runs, by configuration: model and final checkpoint."""
    found = {}
    for name, config in CONFIGS.items():
        trained = model(config)
        out = tmp_path_factory.mktemp(name)
        assert train(trained, pixels(), out, seed=3, intervals=SELDOM).finished
        found[name] = trained, load(out / "checkpoint.pt", CPU), out
    return found


@pytest.mark.parametrize("name", CONFIGS)
def test_the_same_seed_tells_the_same_history_and_another_seed_another(name, straight):
    again, other = model(CONFIGS[name]), model(CONFIGS[name])
    train(again, pixels(), seed=3)
    train(other, pixels(), seed=4)
    first = straight[name][0].state_dict()
    assert differences(first, again.state_dict()) == []
    assert differences(first, other.state_dict())


# In every stage, at its borders, before and after sprites thaw, transforms unlock, rates fall and levels have faded in.
STOPS = {
    "matched": (0, 2, 4, 5, 9), "peaks": (3, 6, 8, 10, 12), "paper": (1, 2, 3, 5), "adversary": (1, 2, 4, 6),
    "growing": (3, 4, 5, 6, 7, 8, 9), "penalised": (1, 2), "recommended": (2, 3, 4, 6),
    "anchors": (1, 2), "outside": (1, 3),
}  # fmt: skip


@pytest.mark.parametrize("name", CONFIGS)
def test_a_run_stopped_after_any_step_resumes_to_the_same_end(name, straight, tmp_path):
    config = CONFIGS[name]
    _, end, _ = straight[name]
    for stop in STOPS[name]:
        out = tmp_path / str(stop)
        outcome = train(model(config), pixels(), out, seed=3, intervals=SELDOM, budget=Budget(steps=stop))
        assert (outcome.finished, outcome.reason, outcome.total_step) == (False, "steps", stop)
        resumed = model(config)
        assert train(resumed, pixels(), out, seed=3, intervals=SELDOM, resume=True).finished
        assert differences(end, load(out / "checkpoint.pt", CPU)) == [], f"stopped after {stop}"


def test_a_run_goes_on_with_its_own_images_only(tmp_path):
    train(model(CONFIG), pixels(), tmp_path, seed=3, budget=Budget(steps=2))
    for other in (pixels(seed=1), pixels(10)):
        with pytest.raises(FormatError, match=r"was trained on other images. Resume with the same data"):
            train(model(CONFIG), other, tmp_path, seed=3, resume=True)


def test_a_run_stopped_after_every_step_resumes_to_the_same_end(straight, tmp_path):
    for stop in range(total_steps(CONFIG) + 1):
        train(model(), pixels(), tmp_path, seed=3, intervals=SELDOM, budget=Budget(steps=stop), resume=stop > 0)
    train(model(), pixels(), tmp_path, seed=3, intervals=SELDOM, resume=True)
    assert differences(straight["matched"][1], load(tmp_path / "checkpoint.pt", CPU)) == []


def test_going_back_to_an_earlier_checkpoint_repeats_what_followed(straight, tmp_path):
    train(model(), pixels(), tmp_path, seed=3, intervals=EVERY_STEP, budget=Budget(steps=5))
    earlier = (tmp_path / "checkpoint.pt").read_bytes()
    train(model(), pixels(), tmp_path, seed=3, intervals=EVERY_STEP, resume=True)
    (tmp_path / "checkpoint.pt").write_bytes(earlier)  # as a kill before the next save leaves it
    train(model(), pixels(), tmp_path, seed=3, intervals=EVERY_STEP, resume=True)
    assert differences(straight["matched"][1], load(tmp_path / "checkpoint.pt", CPU)) == []


def history(out):
    timeless = ("time", "images_per_second")
    return [{key: value for key, value in line.items() if key not in timeless} for line in read_log(out)]


def test_the_log_of_a_resumed_run_tells_one_history(straight, tmp_path):
    train(model(), pixels(), tmp_path, seed=3, intervals=EVERY_STEP, budget=Budget(steps=5))
    earlier = (tmp_path / "checkpoint.pt").read_bytes()
    train(model(), pixels(), tmp_path, seed=3, intervals=EVERY_STEP, resume=True, budget=Budget(steps=8))
    (tmp_path / "checkpoint.pt").write_bytes(earlier)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"total_step": 8, "loss": 0.')  # cut short by a kill
    train(model(), pixels(), tmp_path, seed=3, intervals=EVERY_STEP, resume=True)
    assert [line["total_step"] for line in read_log(tmp_path)] == list(range(total_steps(CONFIG)))
    assert history(tmp_path) == history(straight["matched"][2])
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["stage"] for line in lines] == ["search"] * 4 + ["distil"] * 3 + ["refine"] * 6


def test_stopping_changes_neither_the_best_model_nor_its_error(straight, tmp_path):
    for stop in (2, 9, 11):
        train(model(), pixels(), tmp_path, seed=3, intervals=SELDOM, budget=Budget(steps=stop), resume=stop > 2)
    outcome = train(model(), pixels(), tmp_path, seed=3, intervals=SELDOM, resume=True)
    whole = straight["matched"][2]
    assert outcome.best_error == straight["matched"][1]["best_error"]
    for folder in ("best", "model"):
        mine, theirs = (root / folder / "model.safetensors" for root in (tmp_path, whole))
        assert mine.read_bytes() == theirs.read_bytes(), folder
