"""PerturbGAN: layers from noise, perturbation, rivals, learners, and looking after itself."""

from dataclasses import replace

import plain_perturbgan as plain
import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from delaminate.engine import Budget, train
from delaminate.engine.checkpoint import load
from delaminate.engine.loop import Pace
from delaminate.errors import ConfigError, DataError, TrainingError
from delaminate.matching.crf import refine
from delaminate.methods import load_model, save_model
from delaminate.methods.base import Carry
from delaminate.methods.perturbgan import PRESETS, Config, PerturbGAN
from delaminate.methods.perturbgan.networks import Grown
from delaminate.methods.perturbgan.players import (
    Discriminator,
    Inverter,
    Painter,
    Segmenter,
    SelfTrainer,
    pasted,
    photographs,
    stretched,
)
from delaminate.nets.stylegan import level_of
from delaminate.objectives.priors import border_and_inside, outline, variety
from delaminate.rng import stream
from delaminate.scene.compositing import composite, segment
from delaminate.scene.layers import Layers

from .notes import Notes

TINY = Config(
    image_size=(16, 16), noise_width=8, mapping_depth=2, width=8, most_channels=8, batch=4, steps=4, penalty_every=2,
    ramp_steps=4, encoder_steps=4, encoder_batch=2, encoder_depth=32, segmenter_steps=3, segmenter_batch=2,
    segmenter_width=8, ema=0.9, restarts=1, watch_from=1_000, reuse_fakes=True,
)  # fmt: skip
GROWING = replace(
    TINY, growing=True, first_side=8, grow_images=8, grow_batches=(4, 2), encoder_steps=0, segmenter_steps=0
)
CPU = torch.device("cpu")


def photos(count=4, side=16):
    return torch.rand(count, 3, side, side, generator=stream("photos", count))


def pixels(count=8):
    return (photos(count) * 255).to(torch.uint8)


def carry(step=0, batch=4, stage="layers", steps=100):
    return Carry(stage, step, steps, slice(0, batch), batch)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_builds_at_its_size(name):
    config = PRESETS[name]
    with torch.device("meta"):
        model = PerturbGAN(config)
        grown = Grown(level_of(config.image_size[0]))
        styles = [torch.zeros(1, grown.level + 1, config.noise_width)] * config.num_trunks
        layers = model.generator(styles, None, grown)
        scores = model.discriminator(composite(layers))
        if config.segmenter_steps:
            assert model.segmenter(composite(layers)).shape == (1, 1, *config.image_size)
        if config.encoder_steps:
            assert model.encoder(composite(layers))[0].shape == (config.num_styles, 1, config.noise_width)
    assert layers.rgb.shape == (1, 2, 3, *config.image_size)
    assert layers.alpha.shape == (1, 2, 1, *config.image_size)
    assert scores.shape == (1,)


@pytest.mark.parametrize("name", PRESETS)
def test_every_player_of_every_preset_takes_two_turns_at_a_small_size(name):
    small = {
        "image_size": (16, 16), "noise_width": 8, "mapping_depth": 2, "width": 8, "most_channels": 8, "segmenter_width": 8,
        "encoder_depth": 32, "batch": 2, "encoder_batch": 2, "segmenter_batch": 2, "steps": 2, "grow_images": 2,
        "grow_batches": (2,), "ema": 0.9,
    }  # fmt: skip
    small |= {
        key: 2 for key in ("encoder_steps", "segmenter_steps", "self_training_steps") if getattr(PRESETS[name], key)
    }
    model = PerturbGAN(replace(PRESETS[name], **small))
    assert train(model, pixels()).total_step == sum(stage.steps for stage in model.stages())
    assert model.decompose(photos()).layers().rgb.shape == (4, 2, 3, 16, 16)


def test_the_published_schedule_has_the_published_length():
    with torch.device("meta"):
        stages = PerturbGAN(PRESETS["lsun-object-paper"]).stages()
    assert [stage.name for stage in stages] == [
        "layers-8", "layers-16", "layers-32", "layers-64", "layers-128", "encoder",
    ]  # fmt: skip
    assert sum(stage.steps for stage in stages[:-1]) == pytest.approx(107_800, rel=1e-3)
    assert sum(stage.steps * stage.batch for stage in stages[:-1]) == pytest.approx(6e6, rel=1e-3)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"layout": "one"},
        {"layout": "shared-style"},
        {"layout": "shared-style", "independent_noise": True},
        {"independent_noise": True, "reuse_fakes": False},
        {"swap_backgrounds": 0.5, "augment_below": 100},
        {"foreground_noise": False, "border_weight": 5.0, "variety_weight": 5.0},
        {"placed": True, "summed": True, "outline_weight": 1.0, "segmenter_stretch": 1.5},
        {"loss": "wgan-gp", "mask_loss": "published", "enlarge": 1.125},
    ],
)
def test_every_player_of_every_kind_takes_its_turns(settings):
    model = PerturbGAN(replace(TINY, **settings))
    outcome = train(model, pixels())
    assert outcome.finished
    assert outcome.total_step == 4 + 4 + 3
    assert model.decomposers == ("segmenter", "encoder")
    layers = model.sample(5, stream(0))
    assert layers.rgb.shape == (5, 2, 3, 16, 16)
    assert layers.rgb.min() >= 0 and layers.rgb.max() <= 1
    again = model.sample(5, stream(0))
    assert torch.equal(layers.rgb, again.rgb)
    assert_close(composite(layers).clamp(0, 1), composite(layers), rtol=0, atol=1e-6)


def test_rivals_share_all_parameters_of_the_first_stage_and_learners_own_the_rest():
    model = PerturbGAN(TINY)
    players = (Painter(model), Discriminator(model), Inverter(model), Segmenter(model))
    owned = [id(p) for player in players for group in player.groups() for p in group.parameters]
    assert len(owned) == len(set(owned))
    assert set(owned) == {id(p) for p in model.parameters()}


@pytest.mark.parametrize("reuse", [True, False])
def test_the_discriminator_sees_the_painters_scenes_or_others(reuse):
    model = PerturbGAN(replace(TINY, reuse_fakes=reuse, penalty_every=1))
    first = model.stages()[0].players
    assert [player.name for player in first] == (
        ["painter", "discriminator"] if reuse else ["discriminator", "painter"]
    )
    now = carry()
    painted = Painter(model).turn(photos(), stream(0), now)
    assert set(painted) == {"adversary", "area", "binary"}
    now.values["fakes"] = torch.full_like(now.values["fakes"], torch.nan)
    judged = Discriminator(model).turn(photos(), stream(0), now)
    assert set(judged) == {"real", "fake", "penalty"}
    assert bool(torch.isfinite(judged["fake"])) is not reuse


def test_without_foreground_noise_masks_have_no_grain_and_backgrounds_do():
    model = PerturbGAN(replace(TINY, foreground_noise=False))
    with torch.no_grad():
        for trunk in model.generator.trunks:
            for name, weight in trunk.named_parameters():
                if name.endswith(".noise"):
                    weight.fill_(1.0)
    grown = Grown(level_of(16))
    noise = model.noise(2, stream(0), grown)
    other = replace(noise, maps=model.noise(2, stream(1), grown).maps)
    one, two = (model.paint(some, grown)[0] for some in (noise, other))
    assert torch.equal(one.alpha, two.alpha) and torch.equal(one.rgb[:, 1], two.rgb[:, 1])
    assert not torch.equal(one.rgb[:, 0], two.rgb[:, 0])


def test_masks_begin_as_a_disc():
    grown = Grown(level_of(16))
    plain, disc = PerturbGAN(TINY).double(), PerturbGAN(replace(TINY, disc=4.0)).double()
    noise = plain.noise(2, stream(0), grown)
    before, after = (torch.logit(model.paint(noise, grown)[0].alpha[:, 1, 0]) for model in (plain, disc))
    added = after - before
    assert_close(added[0], added[1], rtol=0, atol=1e-9)
    middle, edge = added[0, 7:9, 7:9], added[0, 7:9, 0]  # centres of pixels 1/16 and 15/16 of the way to the edge
    assert_close(middle, torch.full_like(middle, 4 * (1 - 2 * 2 / 256)), rtol=0, atol=1e-9)
    assert_close(edge, torch.full_like(edge, 4 * (1 - 2 * (225 + 1) / 256)), rtol=0, atol=1e-9)


def test_masks_on_the_border_all_alike_and_with_long_outlines_cost_something_before_the_shift():
    model = PerturbGAN(replace(TINY, border_weight=5.0, variety_weight=3.0, variety=0.9, outline_weight=2.0))
    images = torch.rand(4, 3, 16, 16, generator=stream(0))
    step = carry(batch=4)
    terms = Painter(model).turn(images, stream(1), step)
    masks = step.values["masks"]
    border, inside = border_and_inside(masks)
    assert_close(terms["border_excess"], 5 * (border - 0.1 * inside))
    assert_close(terms["sameness"], 3 * (0.9 - variety(masks)))
    assert_close(terms["outline"], 2 * outline(masks))
    assert min(float(terms[name].detach()) for name in ("border_excess", "sameness", "outline")) > 0


def test_stretched_foregrounds_keep_their_colours_and_change_their_shapes():
    square = torch.zeros(64, 2, 1, 16, 16)
    square[:, 0], square[:, 1, :, 4:12, 6:10] = 1, 1
    rgb = torch.stack([torch.zeros(64, 3, 16, 16), torch.full((64, 3, 16, 16), 0.5)], 1)
    layers = Layers(rgb, square, background=True)
    found = stretched(layers, 1.5, stream(0), carry(batch=64))
    assert torch.equal(found.rgb[:, 0], layers.rgb[:, 0])
    assert torch.equal(found.alpha[:, 0], layers.alpha[:, 0])
    inside = found.alpha[:, 1] > 0.99
    assert_close(found.rgb[:, 1][inside.expand(-1, 3, -1, -1)], torch.full((int(inside.sum()) * 3,), 0.5))
    areas = found.alpha[:, 1].sum((1, 2, 3))
    assert float(areas.min()) < 32 / 1.5 and float(areas.max()) > 32 * 1.5
    assert float(areas.min()) > 32 / 1.5**2 - 1 and float(areas.max()) < 32 * 1.5**2 + 1
    rows = (found.alpha[:, 1] > 0.5).any(3).sum((1, 2))
    assert int(rows.min()) < 7 and int(rows.max()) > 9  # some lie, some stand
    still = stretched(layers, 1.0, stream(1), carry(batch=64))  # turned alone
    assert float((still.alpha[:, 1].sum((1, 2, 3)) - 32).abs().max()) < 1
    share = Carry("segmenter", 0, 9, slice(32, 64), 64)
    half = Layers(rgb[32:], square[32:], background=True)
    assert_close(stretched(half, 1.5, stream(0), share).alpha, found.alpha[32:])


def test_the_slope_is_held_now_and_then():
    player = Discriminator(PerturbGAN(TINY))
    for step, terms in ((0, {"real", "fake", "penalty"}), (1, {"real", "fake"}), (2, {"real", "fake", "penalty"})):
        now = carry(step)
        now.values["fakes"] = photos()
        assert set(player.turn(photos(), stream(0), now)) == terms


def test_the_penalty_on_slopes_counts_as_often_as_it_is_left_out():
    """gamma / 2 * 16 * mean ||grad D||^2, with gamma = 2e-4 side^2 / batch."""
    model = PerturbGAN(replace(TINY, penalty_every=16)).double()
    images, now = photos().double(), carry()
    now.values["fakes"] = photos().double()
    terms = Discriminator(model).turn(images, stream(0), now)
    real = (2 * images - 1).requires_grad_(True)
    scores = model.discriminator(real)
    (slope,) = torch.autograd.grad(scores.sum(), real)
    expected = 2e-4 * 16**2 / 4 / 2 * 16 * slope.square().sum((1, 2, 3)).mean()
    assert_close(terms["penalty"], expected)
    assert_close(terms["real"], torch.log1p(torch.exp(-scores)).mean())
    judged = model.discriminator(now.values["fakes"])
    assert_close(terms["fake"], torch.log1p(torch.exp(judged)).mean())
    half = Discriminator(PerturbGAN(replace(TINY, penalty_every=16, gamma=1e-4 * 16**2 / 4)).double())
    half.model.load_state_dict(model.state_dict())
    assert_close(half.turn(images, stream(0), now)["penalty"], expected / 2)


def test_mappings_learn_slowly_and_large_levels_fast():
    painter = Painter(PerturbGAN(replace(TINY, rate=2e-3, mapping_rate=0.01)))
    assert {group.name: group.rate for group in painter.groups()} == {"trunks": 2e-3, "mappings": 2e-5}
    with torch.device("meta"):
        growing = PerturbGAN(replace(GROWING, image_size=(256, 256)))
    rates = {side: Painter(growing).rate("trunks", carry(stage=f"layers-{side}")) for side in (8, 64, 128, 256)}
    assert rates == {8: 1.0, 64: 1.0, 128: 1.5, 256: 2.0}
    assert painter.rate("trunks", carry()) == 1.0


def test_noise_is_shared_swapped_and_mixed_as_the_settings_say():
    grown = Grown(level_of(16))
    one = PerturbGAN(TINY).noise(6, stream(0), grown)
    assert one.z.shape == (1, 1, 6, 8)
    assert one.takes_second is None
    apart = PerturbGAN(replace(TINY, independent_noise=True)).noise(6, stream(0), grown)
    assert not bool((apart.z[0, 0] == apart.z[0, 1]).any())
    swapped = PerturbGAN(replace(TINY, swap_backgrounds=1.0)).noise(6, stream(0), grown)
    assert torch.equal(swapped.z[0, 0], swapped.z[0, 1].roll(1, 0))
    some = PerturbGAN(replace(TINY, swap_backgrounds=0.5)).noise(400, stream(0), grown)
    stays = (some.z[0, 0] == some.z[0, 1]).all(1)
    assert float(stays.float().mean()) == pytest.approx(0.5, abs=0.1)
    assert torch.equal(some.z[0, 0][~stays], some.z[0, 1].roll(1, 0)[~stays])
    shared = PerturbGAN(replace(TINY, layout="shared-style"))
    assert len(shared.generator.mappings) == 1
    back, front = shared.noise(6, stream(0), grown).maps
    assert all(torch.equal(a, b) for a, b in zip(back, front, strict=True))
    back, front = one.maps
    assert not any(torch.equal(a, b) for a, b in zip(back, front, strict=True))


def test_finer_levels_take_another_style_in_most_steps():
    model, grown = PerturbGAN(replace(TINY, mixing=0.75)), Grown(level_of(16))
    found = [model.noise(2, stream(number), grown, mixing=True).takes_second for number in range(200)]
    mixed = [levels for levels in found if bool(levels.any())]
    assert len(mixed) / len(found) == pytest.approx(0.75, abs=0.1)
    for levels in mixed:  # trunks, levels: never the coarsest, always the finest, and none between is left out
        assert not bool(levels[:, 0].any()) and bool(levels[:, -1].all())
        assert bool((levels[:, 1:] >= levels[:, :-1]).all())
    assert len({tuple(levels.flatten().tolist()) for levels in mixed}) == (grown.level) ** 2  # each trunk for itself


def test_brain_floats_train_and_change_little(trained):
    model = PerturbGAN(replace(TINY, bf16=True))
    model.load_state_dict(trained.state_dict())
    for by in trained.decomposers:
        one, other = (some.decompose(photos(), by=by).layers() for some in (trained, model))
        assert float((one.alpha - other.alpha).abs().mean()) < 0.02
        assert float((one.rgb - other.rgb).abs().mean()) < 0.02
        assert not torch.equal(one.alpha, other.alpha)
    assert train(PerturbGAN(replace(TINY, bf16=True, segmenter_steps=2, self_training_steps=2)), pixels()).finished


def plainly_shifted(layer, down, right):
    """One image, moved by whole pixels; zeros come in."""
    moved, (height, width) = torch.zeros_like(layer), layer.shape[-2:]
    for y in range(height):
        for x in range(width):
            if 0 <= y - down < height and 0 <= x - right < width:
                moved[..., y, x] = layer[..., y - down, x - right]
    return moved


def test_foregrounds_are_shifted_exactly_by_up_to_the_share_of_the_canvas():
    model = PerturbGAN(replace(TINY, shift=0.25, contrast=0.0)).double()
    layers = Layers(photos(12).double().view(6, 2, 3, 16, 16), photos(12).double()[:, :1].view(6, 2, 1, 16, 16))
    moved = model.perturb(layers, 6, stream(3))
    offsets = (4 * (2 * torch.rand(6, 2, generator=stream(3)) - 1)).round().long().tolist()
    assert max(abs(n) for pair in offsets for n in pair) <= 4
    for index, (right, down) in enumerate(offsets):
        assert torch.equal(moved.alpha[index, 1], plainly_shifted(layers.alpha[index, 1], down, right))
        assert torch.equal(moved.rgb[index, 1], plainly_shifted(layers.rgb[index, 1], down, right))
    assert torch.equal(moved.rgb[:, 0], layers.rgb[:, 0])
    still = PerturbGAN(replace(TINY, shift=0.0, contrast=0.0)).double()
    assert torch.equal(still.perturb(layers, 6, stream(3)).alpha, layers.alpha)


def test_backgrounds_change_their_contrast_and_foregrounds_do_not():
    model = PerturbGAN(replace(TINY, shift=0.0, contrast=0.3))
    layers = model.sample(4, stream(0))
    changed = model.perturb(layers, 4, stream(1))
    spread = changed.rgb[:, 0].std((2, 3)) / layers.rgb[:, 0].std((2, 3))
    assert bool((spread < 1.3 + 1e-4).all()) and float(spread.std()) > 0.01
    assert torch.equal(changed.rgb[:, 1], layers.rgb[:, 1])
    assert torch.equal(model.perturb(layers, 4, stream(1), background=False).rgb, layers.rgb)


def test_real_images_are_enlarged_cut_and_shrunk_to_the_level_in_use():
    images = photos(4)
    assert torch.equal(photographs(images, 1.0, Grown(2), stream(0), carry()), 2 * images - 1)
    down, right = torch.meshgrid(*[(torch.arange(16) + 0.5) / 16] * 2, indexing="ij")
    ramps = torch.stack([down, right, down + right]).expand(4, -1, -1, -1)
    for level, side in ((2, 16), (1, 8)):
        cut = (photographs(ramps, 1.5, Grown(level), stream(1), carry()) + 1) / 2
        assert cut.shape == (4, 3, side, side)
        # Still ramps, as steep as 1.5 times the size asks for, and begun at places of their own.
        middle = cut[:, :, 1:-1, 1:-1]
        assert_close(middle[:, 0].diff(dim=1), torch.full((4, side - 3, side - 2), 2 / 3 / side), rtol=0, atol=0.02)
        assert_close(middle[:, 1].diff(dim=2), torch.full((4, side - 2, side - 3), 2 / 3 / side), rtol=0, atol=0.02)
        assert_close(middle[:, 2], middle[:, 0] + middle[:, 1])
        assert len(set(cut[:, 0, side // 2, side // 2].tolist())) > 1


def test_few_images_are_augmented_and_that_is_said():
    heard, model = Notes(), PerturbGAN(replace(TINY, augment_below=50, encoder_steps=0, segmenter_steps=0))
    assert train(model, pixels(3), listener=heard).finished  # fewer than a batch
    assert model.augments
    assert heard.notes[0] == "3 images are few: what the discriminator sees is augmented."


def test_pairs_of_masks_are_not_torn_apart():
    model = PerturbGAN(replace(TINY, variety_weight=5.0, batch=6))
    with pytest.raises(ConfigError, match="3 images a process; variety_weight compares pairs"):
        Painter(model).turn(photos(3), stream(0), Carry("layers", 0, 4, slice(0, 3), 6))


def test_images_that_are_all_the_same_are_refused():
    with pytest.raises(DataError, match="All 5 images are the same"):
        train(PerturbGAN(TINY), pixels(1).expand(5, -1, -1, -1))


def test_the_published_step_is_the_one_written_plainly():
    """Losses and gradients of both turns, in float64; `benchmarks/speed_perturbgan.py` measures the two."""
    published = replace(
        TINY, loss="wgan-gp", mask_loss="published", area_weight=2.0, ramp_steps=0, reuse_fakes=False, encoder_steps=0
    )
    model, images = PerturbGAN(published).double(), photos().double()
    for player, network, expected in (
        (Painter(model), model.generator, plain.painter_loss(model, 4, stream(1))),
        (Discriminator(model), model.discriminator, plain.discriminator_loss(model, 2 * images - 1, stream(1))),
    ):
        loss = torch.stack(list(player.turn(images, stream(1), carry()).values())).sum()
        assert_close(loss, expected, rtol=0, atol=1e-12)
        parameters = list(network.parameters())
        for ours, theirs in zip(*(torch.autograd.grad(each, parameters) for each in (loss, expected)), strict=True):
            assert_close(ours, theirs, rtol=1e-8, atol=1e-10)


# --- growing ----------------------------------------------------------------------------------------------------------


def test_each_level_but_the_first_fades_in_during_its_first_half():
    model = PerturbGAN(GROWING)
    assert [(stage.name, stage.steps, stage.batch) for stage in model.stages()] == [
        ("layers-8", 4, 4), ("layers-16", 8, 2),
    ]  # fmt: skip
    grown = [model.growth(carry(step, stage="layers-16", steps=8)) for step in (0, 2, 4, 7)]
    assert [g.fade for g in grown] == [0.0, 0.5, 1.0, 1.0]
    assert {g.side for g in grown} == {16}
    assert model.growth(carry(0, stage="layers-8", steps=4)) == Grown(1, 1.0)
    outcome = train(model, pixels(), budget=Budget(steps=6))
    assert outcome.total_step == 6
    assert model.grown.tolist() == [2.0, 0.25]
    assert model.sample(2, stream(0)).rgb.shape == (2, 2, 3, 16, 16)


def test_a_run_stopped_in_the_middle_of_a_fade_goes_on_to_the_same_end(tmp_path):
    straight, resumed = PerturbGAN(GROWING, 3), PerturbGAN(GROWING, 3)
    train(straight, pixels(), seed=3)
    train(PerturbGAN(GROWING, 3), pixels(), tmp_path, seed=3, budget=Budget(steps=6))
    assert train(resumed, pixels(), tmp_path, seed=3, resume=True).finished
    for name, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_optimisers_and_ramps_go_on_from_resolution_to_resolution(tmp_path):
    config = replace(GROWING, ramp_steps=10, binary_weight=2.0)
    train(PerturbGAN(config), pixels(), tmp_path, budget=Budget(steps=6))
    state = load(tmp_path / "checkpoint.pt", CPU)
    assert (state["stage"], state["step"]) == (1, 2)
    for player in ("painter", "discriminator"):
        counts = {int(each["step"]) for adam in state["optimisers"][player].values() for each in adam["state"].values()}
        assert max(counts) == 6, player  # 4 at 8 pixels, 2 at 16
    model = PerturbGAN(config)
    assert model.painted_steps(carry(2, stage="layers-16")) == (6, 12)


@pytest.mark.parametrize("player", [Painter, Discriminator])
def test_a_loss_that_is_no_number_stops_training_and_keeps_the_last_good_checkpoint(player, monkeypatch, tmp_path):
    turn = player.turn

    def sick(self, images, rng, carry):
        found = turn(self, images, rng, carry)
        return {name: value * torch.nan if carry.step == 2 else value for name, value in found.items()}

    monkeypatch.setattr(player, "turn", sick)
    with pytest.raises(TrainingError, match="layers, step 2: the loss is nan"):
        train(PerturbGAN(TINY), pixels(), tmp_path, pace=Pace(checkpoint_seconds=0))
    assert load(tmp_path / "checkpoint.pt", CPU)["step"] == 2


# --- looking after itself ---------------------------------------------------------------------------------------------


def seen(area, edge, inside, gap):
    """Running sums after one look, in which scores have a variance of 1."""
    return torch.tensor([area, edge, inside, gap, gap**2 + 1, 0.0, 1.0, 1.0])


@pytest.mark.parametrize(
    ("signals", "said"),
    [
        (seen(0.01, 0.0, 0.1, 1.0), "the mask is dead"),
        (seen(0.9, 0.4, 0.9, 1.0), "the foreground is the whole image"),
        (seen(0.3, 0.5, 0.3, 1.0), "swapped roles"),
        (seen(0.3, 0.1, 0.3, -1.2), "leaked into the background"),
    ],
)
def test_collapses_are_said_in_words_early_and_at_the_end_and_only_then(signals, said):
    model = PerturbGAN(replace(TINY, watch_from=50, steps=1_000, watch_share=0.2))
    assert model.collapsed(carry(100)) is None  # nothing has been seen yet
    model.signals.copy_(signals)
    for step in (100, 999):
        found = model.collapsed(carry(step))
        assert found is not None and said in found
    for step in (0, 101, 250, 998):
        assert model.collapsed(carry(step)) is None
    assert model.collapsed(carry(100, stage="segmenter")) is None
    short = PerturbGAN(replace(TINY, watch_from=50, steps=200, watch_share=0.05))  # looked at once all the same
    never = PerturbGAN(replace(TINY, watch_from=0, steps=200, watch_share=0.0))
    for some in (short, never):
        some.signals.copy_(signals)
    assert [short.collapsed(carry(step)) is not None for step in (0, 50, 100)] == [False, True, False]
    assert never.collapsed(carry(0)) is None
    model.signals.copy_(seen(0.3, 0.1, 0.3, 1.0))
    assert model.collapsed(carry(100)) is None


def test_a_mask_that_dies_late_does_not_teach_a_segmenter():
    heard = Notes()
    config = replace(TINY, watch_from=1, watch_share=0.01, dead_area=1.0, steps=12, batch=2, restarts=0)
    monitored = PerturbGAN(config)
    early = monitored.collapsed
    monitored.collapsed = lambda now: None if now.step < 11 else early(now)  # as if it had been well before
    assert train(monitored, pixels(), listener=heard).reason == "failed"
    assert heard.notes[-1].startswith("layers, step 11: masks cover")
    assert monitored.decomposers == ()


def test_few_images_in_a_step_do_not_make_a_gap():
    """Scores of scenes and backgrounds alike: the gap is what their means over many looks differ by."""
    model, now, rng = PerturbGAN(TINY), carry(batch=1), stream("scores")
    now.values |= {name: torch.zeros(1, 3, 16, 16) for name in ("fakes", "backgrounds")}
    now.values["masks"] = torch.full((1, 1, 16, 16), 0.4)
    model.score = lambda images, grown, halves: torch.randn(2, generator=rng)
    gaps = []
    for _ in range(300):
        model.watch(Grown(2), now)
        gaps.append(model.health()[3])
    assert max(abs(gap) for gap in gaps[50:]) < 1.5
    assert sum(gaps[50:]) / 250 == pytest.approx(0.0, abs=0.2)


def test_a_run_that_collapses_begins_anew_and_ends_as_failed_in_the_end():
    heard = Notes()
    outcome = train(PerturbGAN(replace(TINY, watch_from=0, dead_area=1.0)), pixels(), listener=heard)
    assert outcome.reason == "failed"
    first, second = heard.notes[-2:]
    assert "the mask is dead" in first and first.endswith("Begun anew, restart 1 of 1.")
    assert "the mask is dead" in second and "Given up (after 1 restarts)" in second


def id_of(images):
    return round(float(images.sum()), 3)


def test_the_signals_are_those_of_the_scenes(monkeypatch):
    model, now = PerturbGAN(TINY), carry()
    masks = torch.zeros(4, 1, 16, 16)
    masks[:2, :, 4:12, 4:12] = 0.9
    now.values |= {"masks": masks, "fakes": photos(), "backgrounds": photos() / 2}
    values = {"fakes": [2.0, 4, 2, 4], "backgrounds": [1.0, 3, 1, 3]}
    scores = {id_of(now.values[kind]): torch.tensor(some) for kind, some in values.items()}
    monkeypatch.setattr(
        PerturbGAN, "score", lambda self, x, grown, halves: torch.cat([scores[id_of(half)] for half in x.chunk(2)])
    )
    model.watch(Grown(2), now)
    area, edge, inside, gap = model.health()
    assert area == pytest.approx(0.125)
    assert edge == 0
    assert inside == pytest.approx(0.9 * 128 / (4 * 14 * 14))
    assert gap == pytest.approx(1.0)  # one standard deviation


# --- decompositions and model folders ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained():
    model = PerturbGAN(TINY, 1)
    train(model, pixels())
    return model


@pytest.mark.parametrize("by", ["segmenter", "encoder"])
def test_a_decomposition_is_a_background_and_an_object_at_the_images_own_size(trained, by):
    found = trained.decompose(photos(3), by=by)
    layers = found.layers()
    assert layers.rgb.shape == (3, 2, 3, 16, 16)
    assert bool((layers.alpha[:, 0] == 1).all())
    assert_close(found.composite(), composite(layers), rtol=0, atol=1e-6)
    assert set(segment(layers).unique().tolist()) <= {0, 1}
    again = trained.decompose(photos(3), by=by)
    assert torch.equal(found.composite(), again.composite())
    large = trained.decompose(torch.rand(1, 3, 30, 41, generator=stream(0)), by=by)
    assert large.scenes()[0].size == (30, 41)


def test_the_segmenters_layers_show_the_photo_and_the_encoders_do_not(trained):
    images = photos(2)
    assert_close(trained.decompose(images, by="segmenter").composite(), images)
    assert trained.carries_photo("segmenter") and not trained.carries_photo("encoder")
    assert not torch.allclose(trained.decompose(images, by="encoder").composite(), images)


def test_the_segmenter_learns_from_its_own_best_guesses_between_the_areas_allowed():
    model = PerturbGAN(replace(TINY, self_training_steps=8, least_area=0.25, most_area=0.5, self_training_paste=0.0))
    assert [stage.name for stage in model.stages()][-1] == "self-training"
    model.begin("self-training")
    assert torch.equal(model.find(photos()), model.teacher(photos()))
    ramp = torch.arange(256.0).view(1, 1, 16, 16).expand(4, -1, -1, -1) / 256
    model.guess = lambda _images: ramp
    logits = torch.randn(4, 1, 16, 16, generator=stream(3))
    model.find = lambda _images: logits
    found = SelfTrainer(model).turn(photos(), stream(0), carry(stage="self-training"))["masks"]
    object_, ground = logits.flatten(1)[:, 192:], logits.flatten(1)[:, :128]  # a quarter, and all but half
    costs = torch.cat([-F.logsigmoid(object_), -F.logsigmoid(-ground)], 1)
    assert_close(found, costs.mean())


def test_the_object_of_the_next_photo_is_pasted_with_what_is_known_of_it():
    model = PerturbGAN(replace(TINY, self_training_steps=8, self_training_paste=0.5, shift=0.25))
    images, rng = photos(8), stream(5)
    may_be = torch.zeros(8, 1, 16, 16)
    may_be[:, :, 5:9, 4:9] = 1
    is_object = may_be * (torch.rand(8, 1, 16, 16, generator=rng) < 0.5)
    now = carry(stage="self-training", batch=8)
    mixed, mixed_object, mixed_may_be = pasted(model, images, is_object, may_be, stream(0), now)
    chosen = torch.rand(8, 1, 1, 1, generator=(again := stream(0))).flatten() < 0.5
    offset = (4 * (2 * torch.rand(8, 2, generator=again) - 1)).round().long().tolist()
    assert 0 < chosen.sum() < 8
    for k, (right, down) in enumerate(offset):
        on = torch.zeros(16, 16, dtype=torch.bool)
        if chosen[k]:
            on[5 + down : 9 + down, 4 + right : 9 + right] = True

        def wanted(maps, k=k, on=on, by=(down, right)):
            return torch.where(on, maps[(k + 1) % 8].roll(by, (1, 2)), maps[k])

        assert_close(mixed[k], wanted(images))
        assert torch.equal(mixed_object[k], wanted(is_object))
        assert torch.equal(mixed_may_be[k], wanted(may_be))


def test_the_teacher_follows_and_guesses_alike_of_a_mirrored_photo():
    model = PerturbGAN(replace(TINY, self_training_steps=3)).eval()
    model.begin("self-training")
    images = 2 * photos() - 1
    assert_close(model.guess(images).flip(-1)[..., 1:-1], model.guess(images.flip(-1))[..., 1:-1], rtol=0, atol=1e-5)
    before = [p.clone() for p in model.teacher.parameters()]
    with torch.no_grad():
        for parameter in model.segmenter.parameters():
            parameter += 1
    model.after_update(stream(0), carry(stage="self-training"))
    for old, new in zip(before, model.teacher.parameters(), strict=True):
        assert_close(new, old + 0.01)
    assert not any(name.startswith("teacher") for name in model.parts(everything=True))


def test_a_run_stopped_while_the_segmenter_teaches_itself_goes_on_to_the_same_end(tmp_path):
    config = replace(TINY, steps=2, encoder_steps=0, segmenter_steps=2, self_training_steps=6)
    whole, model = PerturbGAN(config), PerturbGAN(config)
    train(whole, pixels(), tmp_path / "whole")
    train(model, pixels(), tmp_path / "run", budget=Budget(steps=7))
    again = PerturbGAN(config)
    train(again, pixels(), tmp_path / "run", resume=True)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name


def test_refined_masks_are_the_segmenters_at_the_outlines_of_the_photo(trained):
    model = PerturbGAN(replace(TINY, refine_weight=3.0))
    model.load_state_dict(trained.state_dict())
    assert model.decomposers == ("refined", "segmenter", "encoder")
    images = photos(3)
    plain, found = (model.decompose(images, by=by).layers().alpha for by in ("segmenter", "refined"))
    assert torch.equal(plain, trained.decompose(images).layers().alpha)
    assert_close(found[:, 1:], refine(images, torch.cat([1 - plain[:, 1:], plain[:, 1:]], 1), 3.0)[:, 1:])
    assert model.carries_photo("refined")
    with pytest.raises(
        ConfigError, match=r"no part of this model that decomposes has been trained yet.* layers, encoder"
    ):
        PerturbGAN(replace(TINY, refine_weight=3.0)).decompose(images)


def test_a_model_folder_comes_back_whole_or_with_its_segmenter_alone(trained, tmp_path):
    save_model(trained, tmp_path / "whole")
    again = load_model(tmp_path / "whole")
    assert again.decomposers == ("segmenter", "encoder")
    for by in again.decomposers:
        assert torch.equal(trained.decompose(photos(), by=by).composite(), again.decompose(photos(), by=by).composite())
    assert torch.equal(trained.sample(2, stream(0)).rgb, again.sample(2, stream(0)).rgb)
    alone = PerturbGAN(replace(TINY, encoder_steps=0))
    alone.load_parts({name: part for name, part in trained.parts().items() if name.startswith("segmenter.")})
    save_model(alone, tmp_path / "alone")
    small = load_model(tmp_path / "alone")
    assert torch.equal(small.decompose(photos()).layers().alpha, trained.decompose(photos()).layers().alpha)
    with pytest.raises(ConfigError, match="holds no generator"):
        small.sample(1, stream(0))


def test_what_is_not_trained_yet_is_refused(tmp_path):
    model = PerturbGAN(TINY)
    assert model.decomposers == ()
    save_model(model, tmp_path)
    for some in (model, load_model(tmp_path)):
        with pytest.raises(ConfigError, match=r"trained yet. Its training has the stages layers, encoder, segmenter\."):
            some.decompose(photos())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_size": (16, 24)}, "expected a square"),
        ({"image_size": (48, 48)}, "expected a square"),
        ({"shift": 0.5}, "shift is 0.5"),
        ({"least_area": 0.6}, "above most_area"),
        ({"layout": "one", "swap_backgrounds": 0.5}, "need two"),
        ({"layout": "one", "foreground_noise": False}, "need two"),
        ({"growing": True, "first_side": 32}, "first_side is 32"),
        ({"self_training_steps": 3, "segmenter_steps": 0}, "has to begin"),
        ({"segmenter_width": 12}, "multiple of 8"),
        ({"mixing": 1.5}, "expected 0 to 1"),
        ({"batch": 0}, "expected 1 or more"),
        ({"betas": (1.0, 0.9)}, "betas"),
        ({"grow_batches": ()}, "grow_batches"),
        ({"independent_noise": True, "swap_backgrounds": 0.5}, "does nothing with independent_noise"),
        ({"segmenter_rate": -1.0}, "segmenter_rate is -1.0; expected a finite number, 0 or more"),
        ({"leak_gap": float("nan")}, "leak_gap is nan; expected a finite number"),
        ({"ema": 1.0}, "ema is 1"),
        ({"mapping_depth": 1_000_000}, "expected 64 at the most"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        replace(TINY, **settings)
