"""ReDO: regions, redrawing, and looking after itself."""

import math
import re
from dataclasses import replace

import pytest
import torch
from helpers.collapses import collapsing
from helpers.notes import Notes
from torch.testing import assert_close

from delaminate.engine import Budget, train
from delaminate.engine.loop import Intervals
from delaminate.engine.record import read_log
from delaminate.errors import ConfigError, DataError, TrainingError
from delaminate.methods import load_model, save_model
from delaminate.methods.perturbgan import PRESETS as PERTURBED
from delaminate.methods.players import StepContext
from delaminate.methods.redo import PRESETS, Config, ReDO
from delaminate.methods.redo.networks import MaskNetwork
from delaminate.methods.redo.training import Discriminator, RedrawPlayer, random_regions
from delaminate.objectives.priors import total_variation
from delaminate.refinement.crf import refine
from delaminate.refinement.small_regions import remove_small_regions
from delaminate.rng import stream
from delaminate.scene.scenes import with_photo

TINY = Config(
    image_size=(16, 16), mask_width=8, generator_width=2, discriminator_width=16, noise_width=4, batch=2, steps=6,
    restarts=1, monitor_from=0, learning_rate=1e-3,
)  # fmt: skip


def photos(count=4, side=16):
    return torch.rand(count, 3, side, side, generator=stream("photos", count))


def pixels(count=8):
    return (photos(count) * 255).to(torch.uint8)


def context(step=0, batch=4, stage="adversary", steps=100):
    return StepContext(stage, step, steps, slice(0, batch), batch)


def test_networks_have_the_published_numbers_of_parameters():
    with torch.device("meta"):
        model = ReDO(PRESETS["flowers-paper"])
    parts = {name: sum(p.numel() for p in part.parameters()) / 1e6 for name, part in model.named_children()}
    assert parts["masks"] == pytest.approx(0.27, abs=0.005)
    assert parts["generators"] == pytest.approx(15.9, abs=0.05)
    assert parts["discriminator"] == pytest.approx(38.4, abs=0.05)
    assert parts["encoder"] == pytest.approx(38.5, abs=0.05)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_builds_at_its_size(name):
    with torch.device("meta"):
        model = ReDO(PRESETS[name])
        masks = model.regions(torch.zeros(1, 3, *model.image_size))
        noise = torch.zeros(1, model.config.num_regions, model.config.noise_width)
        painted = model.paint(masks, noise)
    assert masks.shape == (1, model.config.num_regions, 1, *model.image_size)
    assert painted.shape == (1, model.config.num_regions, 3, *model.image_size)


@pytest.mark.parametrize(
    ("side", "halvings", "expected"), [(128, None, 2), (64, None, 1), (32, None, 0), (64, 2, 2), (32, 1, 1)]
)
def test_the_mask_network_has_its_residual_blocks_where_it_is_told(side, halvings, expected):
    network = MaskNetwork(side, 2, 8, stream(0), 0.8, halvings)
    seen = []
    network.residual[0].register_forward_hook(lambda block, inputs, output: seen.append(output.shape[-1]))
    assert network(torch.zeros(1, 3, side, side)).shape == (1, 2, 1, side, side)
    assert seen == [side >> expected]


@pytest.mark.parametrize("num_regions", [2, 3, 4])
def test_masks_sum_to_one_and_redrawing_is_the_papers_formula(num_regions):
    model = ReDO(replace(TINY, num_regions=num_regions)).double()
    images = photos().double()
    masks = model.regions(images)
    assert masks.shape == (4, num_regions, 1, 16, 16)
    assert_close(masks.sum(1), torch.ones(4, 1, 16, 16, dtype=torch.float64))
    painted = torch.rand(4, num_regions, 3, 16, 16, generator=stream(1), dtype=torch.float64)
    expected = masks * painted + (1 - masks) * images[:, None]
    assert_close(model.redrawn(images, masks, painted), expected)


def test_layers_carry_the_photo_and_show_the_masks():
    model = ReDO(replace(TINY, num_regions=3)).eval()
    model.border.copy_(torch.tensor([0.1, 0.2, 0.7]))
    images = photos()
    found = model.decompose(images)
    assert model.copies_input("network")
    assert_close(found.composite(), images, rtol=0, atol=1e-6)
    masks = model.regions(images)[:, model.order(), 0]
    assert model.order() == [2, 0, 1]
    assert torch.equal(found.labels()[0], masks.argmax(1))
    again = model.decompose(images)
    assert torch.equal(found.layers().alpha, again.layers().alpha)


def test_refined_masks_are_those_of_the_network_at_the_outlines_of_the_photo():
    assert ReDO(TINY).decomposers == ("network",)
    model = ReDO(replace(TINY, refine_weight=4.0)).eval()
    assert model.decomposers == ("despeckled", "refined", "network")
    assert ReDO(replace(model.config, min_region_area=0.0)).decomposers == ("refined", "network")
    images, order = photos(), model.order()
    clean, refined, plain = (model.decompose(images, by=by) for by in model.decomposers)
    assert torch.equal(plain.layers().alpha, ReDO(TINY).eval().decompose(images).layers().alpha)
    wanted = refine(images, model.regions(images), 4.0)[:, order, 0]
    assert torch.equal(refined.labels()[0], wanted.argmax(1))
    assert torch.equal(clean.labels()[0], remove_small_regions(wanted[:, :, None], 1 / 400)[:, :, 0].argmax(1))
    for found in (clean, refined):
        assert_close(found.composite(), images, rtol=0, atol=1e-6)


def test_the_mask_network_learns_what_refining_makes_of_the_masks_it_had():
    half = (torch.arange(16) < 8).float().expand(16, 16)
    flat = torch.stack([half, 1 - half, 0.2 * half]).expand(8, 3, 16, 16)  # two flat halves
    model = ReDO(replace(TINY, steps=1, refine_weight=10.0, distil_steps=60, distil_learning_rate=3e-3, ema=0.5))
    assert [stage.name for stage in model.stages()] == ["adversary", "distil"]
    seen = {}
    begin = model.on_stage_start

    def watched(stage):
        begin(stage)
        if stage == "distil":
            seen["wanted"] = refine(flat[:1], model.regions(flat[:1]), 10.0, 16)
            seen["error"] = model.error(flat, stage)

    model.on_stage_start = watched
    noisy = (flat + 0.01 * torch.rand(8, 3, 16, 16, generator=stream("noise"))).clamp(0, 1)
    assert train(model, (noisy * 255).to(torch.uint8)).finished
    assert model.error(flat, "distil").mean() < 0.5 * seen["error"].mean()
    assert torch.equal(model.regions(flat[:1]).argmax(1), seen["wanted"].argmax(1))
    assert model.border.sum() > 0.3  # told while distilling, too: the one step of the rivals leaves 0.01


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        (
            (0.55, 0.45, 0.0),
            (0.0, math.log(2), 0.0),
        ),  # the ground is shared: it goes to the region that has nothing else
        ((0.7, 0.3, 0.0), (0.0, 0.0, 0.0)),  # that is no tie
        ((0.45, 0.55, 0.0), (0.0, 0.0, 0.0)),  # all regions win something
    ],
)
def test_a_ground_that_two_regions_share_goes_to_the_one_that_wins_nothing_else(shares, expected):
    model = ReDO(replace(TINY, num_regions=3, refine_weight=1e-9, distil_steps=3))
    masks = torch.tensor(shares).view(3, 1, 1, 1).repeat(1, 1, 16, 16)
    masks[:, :, :4, :4] = torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1, 1)
    masks[:, :, 8:12, :4] = torch.tensor([0.0, 0.0, 1.0]).view(3, 1, 1, 1)
    model._before = lambda images: masks.expand(len(images), -1, -1, -1, -1)
    model.break_ties(photos(4), StepContext("distil", 0, 3, slice(0, 4), 4))
    assert_close(model.head_start, torch.tensor(expected))
    winners = model.distillation_targets(photos(4)).argmax(1)[0, 0]
    assert winners[0, 0] == 0 and winners[8, 0] == 2
    assert winners[15, 15] == (1 if expected[1] or shares[1] > 0.5 else 0)


def test_a_run_stopped_while_distilling_goes_on_to_the_same_end(tmp_path):
    config = replace(TINY, steps=2, refine_weight=10.0, distil_steps=6)
    whole, model = ReDO(config), ReDO(config)
    train(whole, pixels(), tmp_path / "whole")
    train(model, pixels(), tmp_path / "run", budget=Budget(steps=5))
    again = ReDO(config)
    train(again, pixels(), tmp_path / "run", resume=True)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name


def test_a_scene_shows_the_photo_at_its_own_size():
    model, photo = ReDO(TINY).eval(), torch.rand(3, 40, 30, generator=stream("large"))
    scene = model.decompose(photo).scenes()[0]
    assert scene.size == (40, 30)
    assert not torch.equal(scene.composite(), photo)
    shown = with_photo(scene, photo)
    assert_close(shown.composite(), photo, rtol=0, atol=1e-6)
    levels = (255 * shown.composite()).round(), (255 * photo).round()
    assert torch.equal(*levels)


def test_the_players_share_their_images_and_leave_the_other_alone():
    model = ReDO(TINY)
    redrawer, discriminator = RedrawPlayer(model), Discriminator(model)
    now = context()
    terms = redrawer.turn(photos(), stream(0), now)
    assert set(terms) == {"adversary", "noise"}
    assert now.values["fakes"].shape == (2 * 2, 3, 16, 16)
    assert not now.values["fakes"].requires_grad
    assert set(discriminator.turn(photos(), stream(0), now)) == {"real", "fake"}
    owned = [id(p) for player in (redrawer, discriminator) for g in player.groups() for p in g.parameters]
    assert len(owned) == len(set(owned))
    assert set(owned) == {id(p) for p in model.parameters()}


def test_the_weight_of_the_noise_falls_along_a_line_once_masks_move():
    plain, falling = (ReDO(replace(TINY, final_noise_factor=late)) for late in (1.0, 0.2))

    def share(stage, step):
        terms = [
            RedrawPlayer(m).turn(photos(), stream(0), StepContext(stage, step, 10, slice(0, 4), 4))
            for m in (falling, plain)
        ]
        return (terms[0]["noise"] / terms[1]["noise"]).item()

    assert share("warm-up", 5) == pytest.approx(1.0)
    assert [share("adversary", step) for step in (0, 5, 10)] == pytest.approx([1.0, 0.6, 0.2])


def test_rough_masks_cost_the_more_the_later():
    player = RedrawPlayer(ReDO(replace(TINY, total_variation_weight=3.0)))
    for step, share in ((0, 0.0), (50, 0.5), (100, 1.0)):
        terms = player.turn(photos(), stream(0), now := context(step))
        assert_close(terms["smooth"], 3 * share * total_variation(now.values["masks"]))
    assert float(terms["smooth"].detach()) > 0


def test_the_discriminator_may_learn_at_a_rate_of_its_own():
    for own, expected in ((None, 1e-3), (2e-4, 2e-4)):
        model = ReDO(replace(TINY, learning_rate=1e-3, discriminator_learning_rate=own))
        assert [group.learning_rate for group in Discriminator(model).groups()] == [expected]
        assert RedrawPlayer(model).groups()[1].learning_rate == 1e-3


@pytest.mark.parametrize("redraw_all", [True, False])
@pytest.mark.parametrize("stage", ["warm-up", "adversary"])
def test_the_discriminator_sees_what_was_judged_or_what_is_drawn_after_the_update(stage, redraw_all):
    settings = {"redraw_all": redraw_all, "warmup_steps": 2}
    again = ReDO(replace(TINY, reuse_fakes=False, **settings)).eval()
    now = context(stage=stage)
    RedrawPlayer(again).turn(photos(), stream(0), now)
    assert_close(Discriminator(again).fakes(now), now.values["fakes"])  # nothing has been updated yet
    with torch.no_grad():
        for parameter in (*again.generators.parameters(), *again.masks.parameters()):
            parameter += 0.1 * torch.randn(parameter.shape, generator=stream(1))
    fresh = Discriminator(again).fakes(now)
    assert fresh.shape == now.values["fakes"].shape
    assert not torch.allclose(fresh, now.values["fakes"])
    assert not fresh.requires_grad
    reused = ReDO(replace(TINY, **settings))
    assert Discriminator(reused).fakes(now) is now.values["fakes"]


def test_one_region_drawn_by_chance_is_the_mean_over_all(monkeypatch):
    """Algorithm 1 draws a region; redrawing all of them is its expectation."""
    every, drawn = ReDO(TINY).double(), ReDO(replace(TINY, redraw_all=False)).double()
    images, now = photos().double(), context()
    all_of_them = float(RedrawPlayer(every).turn(images, stream(3), now)["adversary"].detach())
    draws, found = [], []
    for region in range(2):

        def draw(count, shape, region=region, **_):
            draws.append((count, shape))
            return torch.full(shape, region)

        drawn.load_state_dict(ReDO(TINY).double().state_dict())
        monkeypatch.setattr(torch, "randint", draw)
        one = context()
        found.append(float(RedrawPlayer(drawn).turn(images, stream(3), one)["adversary"].detach()))
        assert_close(one.values["fakes"], now.values["fakes"].view(2, 2, 3, 16, 16)[:, region])
    assert draws == [(2, (2,))] * 2
    assert all_of_them == pytest.approx(sum(found) / 2, rel=1e-9)
    assert found[0] != found[1]


def test_the_published_step_is_the_one_written_plainly():
    """Losses and gradients of both turns, in float64; `benchmarks/speed_redo.py` measures the two."""
    import speed_redo

    found = speed_redo.proof()
    assert found["loss_difference"] < 1e-9
    assert found["largest_relative_gradient_difference"] < 1e-8


@pytest.mark.parametrize("regions", [2, 3])
def test_objects_are_sought_in_the_middle_at_first_if_that_is_asked_for(regions):
    plain, centred = (MaskNetwork(32, regions, 8, stream(0), 0.8, centre_prior=disc) for disc in (0.0, 3.0))
    anywhere, found = plain(photos(4, 32)), centred(photos(4, 32))
    assert_close(found.sum(1), torch.ones_like(found[:, 0]))
    change = (found - anywhere)[:, 0, 0].detach()
    assert float(change[:, 16, 16].max()) < -0.1
    assert float(change[:, 0, 0].min()) > 0.1
    if regions == 2:  # logits move by the bump: 1 in the middle, -1 at the nearest edges
        moved = torch.logit(found[:, 0, 0]) - torch.logit(anywhere[:, 0, 0])
        assert_close(moved[:, 15:17, 15:17], torch.full((4, 2, 2), -3.0), rtol=0, atol=0.02)
        assert_close(moved[:, 16, 0], torch.full((4,), 3 * (2 * (31 / 32) ** 2 + 2 / 32**2 - 1)), rtol=0, atol=0.02)
    else:  # the others keep their shares among themselves
        ratio = found[:, 1] / found[:, 2], anywhere[:, 1] / anywhere[:, 2]
        assert_close(*ratio, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("batch", "processes"), [(3, 2), (12, 8)])
def test_processes_that_would_get_half_a_pair_are_refused(batch, processes):
    each = 2 * batch // processes
    now = StepContext("adversary", 0, 10, slice(each, 2 * each), 2 * batch)
    with pytest.raises(ConfigError, match=f"a process gets {each} images; half of them are redrawn"):
        RedrawPlayer(ReDO(replace(TINY, batch=batch))).turn(photos(each), stream(0), now)


def test_a_region_without_area_is_pushed_until_the_barrier_is_gone():
    model = ReDO(replace(TINY, area_weight=3.0, min_area=0.9, area_steps=10))
    early, late, warm = (
        RedrawPlayer(model).turn(photos(), stream(0), now)
        for now in (context(0), context(10), context(0, stage="warm-up"))
    )
    assert float(early["area"].detach()) > 0
    assert "area" not in late
    assert "area" not in warm


def test_warming_up_moves_no_mask():
    model = ReDO(replace(TINY, warmup_steps=2))
    before = {name: value.clone() for name, value in model.masks.state_dict().items()}
    outcome = train(model, pixels(), budget=Budget(steps=2))
    assert outcome.total_step == 2
    assert all(torch.equal(before[name], value) for name, value in model.masks.state_dict().items())
    masks = random_regions(3, 4, (16, 16), stream(0))
    assert_close(masks.sum(1), torch.ones(3, 1, 16, 16))


def test_rates_fall_late():
    model = ReDO(replace(TINY, decay_from=0.5))
    rates = [RedrawPlayer(model).learning_rate_factor("masks", context(step)) for step in (0, 49, 75, 100)]
    assert rates == [1.0, 1.0, 0.5, 0.0]
    assert RedrawPlayer(ReDO(TINY)).learning_rate_factor("masks", context(99)) == 1.0


def test_the_background_is_the_region_at_the_border():
    model = ReDO(TINY)
    masks = torch.zeros(2, 2, 1, 16, 16)
    masks[:, 0, :, 4:12, 4:12] = 1
    masks[:, 1] = 1 - masks[:, 0]
    model.update_monitor(masks, context())
    assert model.order() == [1, 0]
    model.update_monitor(masks.flip(1), context(1))
    model.update_monitor(masks.flip(1), context(2))
    assert model.order() == [0, 1]


def vanish(model, step=500):
    """Let region 1 have no area for as long as is looked back."""
    model.areas[:, 0], model.areas[:, 1] = 0.001, 0.999
    return model.collapsed(context(step))


def test_a_region_that_vanishes_is_said_in_words():
    model = ReDO(TINY)
    said = vanish(model)
    assert said is not None
    assert "region 1 of 2 wins 0.10 %" in said
    assert vanish(model, 501) is None  # asked at times only
    assert vanish(model, 400) is None  # the mean is not yet over 500 steps
    model.areas.fill_(0.5)
    assert model.collapsed(context(500)) is None


def test_a_collapsed_run_begins_anew_and_says_why(monkeypatch, tmp_path):
    collapsing(monkeypatch, ReDO, 1, "region 1 of 2 is gone")
    heard, model = Notes(), ReDO(TINY)
    start = {name: value.clone() for name, value in model.state_dict().items()}
    outcome = train(model, pixels(), tmp_path, callback=heard)
    assert outcome.finished
    assert outcome.total_step == 3 + 6
    remark, note = heard.notes
    assert remark.startswith("Expect little")
    assert "adversary, step 2: region 1 of 2 is gone. Started over, restart 1 of 1." in note
    assert [line["note"] for line in read_log(tmp_path) if "note" in line] == heard.notes
    assert not torch.equal(start["masks.first.weight"], model.state_dict()["masks.first.weight"])


def test_a_run_that_keeps_collapsing_ends_as_failed(monkeypatch, tmp_path):
    collapsing(monkeypatch, ReDO, 2)
    heard = Notes()
    outcome = train(ReDO(TINY), pixels(), tmp_path, callback=heard)
    assert not outcome.finished
    assert outcome.reason == "failed"
    assert "Given up (after 1 restarts)" in heard.notes[-1]
    log, again = read_log(tmp_path), Notes()
    assert train(ReDO(TINY), pixels(), tmp_path, resume=True, callback=again) == outcome  # what is given up stays so
    assert again.notes == heard.notes[-1:]
    assert read_log(tmp_path) == log


def test_a_run_that_began_anew_resumes_to_the_same_end(monkeypatch, tmp_path):
    collapsing(monkeypatch, ReDO, 1)
    straight = ReDO(TINY)
    train(straight, pixels(), seed=5)
    for stop in (3, 5):
        collapsing(monkeypatch, ReDO, 1)
        out = tmp_path / str(stop)
        train(ReDO(TINY), pixels(), out, seed=5, budget=Budget(steps=stop))
        resumed = ReDO(TINY)
        assert train(resumed, pixels(), out, seed=5, resume=True).finished
        for name, value in straight.state_dict().items():
            assert torch.equal(value, resumed.state_dict()[name]), (stop, name)


@pytest.mark.parametrize("player", [RedrawPlayer, Discriminator])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_run_killed_inside_a_players_turn_ends_with_the_same_weights(player, when, monkeypatch, tmp_path):
    straight = ReDO(TINY)
    train(straight, pixels(), seed=2)
    turn = player.turn

    def dying(self, images, rng, context):
        if context.step == 3 and when == "before":
            raise SystemExit(9)
        found = turn(self, images, rng, context)
        if context.step == 3:
            raise SystemExit(9)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(player, "turn", dying)
        with pytest.raises(SystemExit):
            train(ReDO(TINY), pixels(), tmp_path, seed=2, intervals=Intervals(checkpoint_seconds=0))
    resumed = ReDO(TINY)
    assert train(resumed, pixels(), tmp_path, seed=2, resume=True).finished
    for name, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


@pytest.mark.parametrize("player", [RedrawPlayer, Discriminator])
def test_a_loss_that_is_no_number_stops_training_and_keeps_the_last_good_checkpoint(player, monkeypatch, tmp_path):
    turn = player.turn

    def sick(self, images, rng, context):
        found = turn(self, images, rng, context)
        return {name: value * torch.nan if context.step == 3 else value for name, value in found.items()}

    monkeypatch.setattr(player, "turn", sick)
    with pytest.raises(TrainingError, match="adversary, step 3: the loss is nan"):
        train(ReDO(TINY), pixels(), tmp_path, intervals=Intervals(checkpoint_seconds=0))
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert state["step"] == 3
    assert all(bool(torch.isfinite(value).all()) for value in state["weights"].values())


def test_a_model_folder_holds_what_decomposes_and_what_redraws(tmp_path):
    model = ReDO(replace(TINY, num_regions=3), seed=4).eval()
    model.border.copy_(torch.tensor([0.2, 0.7, 0.1]))
    save_model(model, tmp_path)
    again = load_model(tmp_path)
    images = photos()
    assert torch.equal(model.decompose(images).layers().alpha, again.decompose(images).layers().alpha)
    masks, noise = model.regions(images), torch.randn(4, 3, 4, generator=stream(0))
    assert torch.equal(model.paint(masks, noise), again.paint(masks, noise))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_size": (48, 48)}, "expected a square"),
        ({"image_size": (64, 32)}, "expected a square"),
        ({"num_regions": 1}, "num_regions is 1; expected 2"),
        ({"mask_width": 6}, "multiple of 4"),
        ({"mask_halvings": 3}, "mask_halvings is 3"),
        ({"discriminator_width": 24}, "multiple of 16"),
        ({"decay_from": 2.0}, "decay_from is 2.0"),
        ({"betas": (0.0, 1.0)}, "betas"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        replace(TINY, **settings)


def test_few_images_are_augmented_and_that_is_said():
    heard, model = Notes(), ReDO(replace(TINY, augment_below=50, steps=2))
    assert train(model, pixels(12), callback=heard).finished
    assert heard.notes == [
        "12 images are few: what the discriminator sees is augmented.",
        "Expect little from fewer than 100 images of a class.",
    ]
    assert model.augments
    train(ReDO(replace(TINY, steps=2)), pixels(120), callback=(many := Notes()))
    assert many.notes == []


def test_images_that_are_all_the_same_are_refused():
    with pytest.raises(DataError, match="All 5 images are the same"):
        train(ReDO(TINY), pixels(1).expand(5, -1, -1, -1))


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_a_batch_that_does_not_fit_is_refused_with_a_smaller_one(error, monkeypatch):
    def greedy(self, images, rng, context):
        raise error

    monkeypatch.setattr(Discriminator, "turn", greedy)
    with pytest.raises(TrainingError, match=r"a batch of 4 images does not fit into memory. Try --set batch=1"):
        train(ReDO(TINY), pixels())


def test_a_stage_names_the_setting_its_batch_comes_from():
    from delaminate.engine.guards import enough_memory
    from delaminate.methods.players import Stage

    for config, stage, advice in (
        (PRESETS["photos"], Stage("distil", 1, 24, ()), "--set batch=6, or"),
        (
            PERTURBED["lsun-object-paper"],
            Stage("layers-8", 1, 256, (), batch_setting="grow_batches"),
            "'grow_batches=[128, 64",
        ),
        (
            PERTURBED["photos"],
            Stage("self-training", 1, 32, (), batch_setting="segmenter_batch"),
            "segmenter_batch=16, or",
        ),
    ):
        with pytest.raises(TrainingError, match=re.escape(advice)), enough_memory(config, stage):
            raise torch.OutOfMemoryError("CUDA out of memory")


def test_previews_show_masks_and_what_is_redrawn():
    model, images = ReDO(TINY), pixels(4).float() / 255
    rows = model.preview(images)
    assert [row.shape for row in rows] == [images.shape] * (1 + 2 * TINY.num_regions)
    count = TINY.num_regions
    assert_close(torch.stack(rows[1 : 1 + count]).sum(0), torch.ones_like(images))
    # Where a region has no share, the photo is left as it is.
    for mask, drawn in zip(rows[1 : 1 + count], rows[1 + count :], strict=True):
        assert bool(((drawn - images).abs() <= mask + 1e-6).all())


def test_signals_are_those_of_the_masks():
    model, now = ReDO(TINY), context(0)
    grey, decided = torch.full((2, 2, 1, 16, 16), 0.5), torch.zeros(2, 2, 1, 16, 16)
    decided[:, 1] = 1
    now.values["photos"] = photos()[:2]
    for masks, expected in ((grey, 1.0), (decided, 0.0), (torch.cat([grey[:1], decided[:1]]), 0.5)):
        model.update_monitor(masks, now)
        assert model.after_update(stream(0), now)["indecision"] == pytest.approx(expected)
    decided[0, :, :, :4] = 1 - decided[0, :, :, :4]  # a quarter of one of two images goes to the first region
    model.update_monitor(decided, now)
    assert model.areas[0].tolist() == pytest.approx([0.125, 0.875])
    model.update_monitor(torch.stack([0.9 * decided[:, 0] + 0.04, 0.96 - 0.9 * decided[:, 0]], 1), now)
    assert model.after_update(stream(0), now)["least_area"] == pytest.approx(0.125)
    assert "agreement" not in model.after_update(stream(0), context(100, stage="warm-up"))


def test_snapshots_of_masks_are_compared_on_the_photos_at_hand():
    model, now, some = ReDO(TINY), context(0), photos()[:2]
    now.values["photos"] = some
    model.after_update(stream(0), now)
    now = context(100)
    now.values["photos"] = some
    assert model.after_update(stream(0), now)["agreement"] == 1
    before = model.regions(some).argmax(1)
    with torch.no_grad():
        for parameter in model.masks.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=stream(1))
    now = context(200)
    now.values["photos"] = some
    share = float((before == model.regions(some).argmax(1)).float().mean())
    assert share < 1
    assert model.after_update(stream(0), now)["agreement"] == pytest.approx(share)
    assert model.agreement[1:3].tolist() == pytest.approx([1, share])


def test_masks_that_stay_undecided_are_said_in_words():
    model = ReDO(TINY)
    model.indecision.fill_(0.97)
    said = model.collapsed(context(500))
    assert said is not None and "their entropy is 97.0 %" in said
    assert ReDO(replace(TINY, max_indecision=1.0)).collapsed(context(500)) is None


def test_training_ends_early_once_masks_have_settled(monkeypatch, tmp_path):
    model = ReDO(replace(TINY, convergence_agreement=0.99))
    model.agreement.fill_(0.995)
    assert model.converged(context(900)) is None
    assert "have agreed in 99.50 %" in (model.converged(context(1_000)) or "")
    assert model.converged(context(1_050)) is None
    model.agreement[3] = 0.98
    assert model.converged(context(1_000)) is None
    assert ReDO(TINY).converged(context(1_000)) is None
    monkeypatch.setattr(ReDO, "converged", lambda self, now: "nothing moves" if now.step == 2 else None)
    heard = Notes()
    outcome = train(ReDO(TINY), pixels(), tmp_path, callback=heard)
    assert outcome.finished and outcome.total_step == 3
    assert heard.notes[-1] == "adversary, step 2: nothing moves. The stage ends early."
    # A finished run has nothing to resume.
    assert train(ReDO(TINY), pixels(), tmp_path, resume=True).total_step == 3
