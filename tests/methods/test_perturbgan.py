"""PerturbGAN: layers from noise, perturbation, looking after itself, and decompositions."""

from dataclasses import replace

import pytest
import torch
from helpers.notes import Notes
from helpers.perturbgan_tiny import TINY, context, photos, pixels, plainly_shifted, shrunk
from torch.testing import assert_close

from delaminate.engine import train
from delaminate.errors import ConfigError
from delaminate.methods import load_model, save_model
from delaminate.methods.perturbgan import PRESETS, PerturbGAN
from delaminate.methods.perturbgan.networks import GrowthLevel
from delaminate.nets.stylegan import level_of
from delaminate.refinement.crf import refine
from delaminate.refinement.small_regions import remove_small_regions
from delaminate.rng import stream
from delaminate.scene.compositing import composite, segment
from delaminate.scene.layers import Layers


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_builds_at_its_size(name):
    config = PRESETS[name]
    with torch.device("meta"):
        model = PerturbGAN(config)
        grown = GrowthLevel(level_of(config.image_size[0]))
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
    model = PerturbGAN(shrunk(PRESETS[name]))
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
        {"foreground_noise": False, "border_weight": 5.0, "mask_diversity_weight": 5.0},
        {"style_input": True, "skip_outputs": True, "compactness_weight": 1.0, "segmenter_stretch": 1.5},
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


def test_without_foreground_noise_masks_have_no_grain_and_backgrounds_do():
    model = PerturbGAN(replace(TINY, foreground_noise=False))
    with torch.no_grad():
        for trunk in model.generator.trunks:
            for name, weight in trunk.named_parameters():
                if name.endswith(".noise"):
                    weight.fill_(1.0)
    grown = GrowthLevel(level_of(16))
    noise = model.noise(2, stream(0), grown)
    other = replace(noise, maps=model.noise(2, stream(1), grown).maps)
    one, two = (model.paint(some, grown)[0] for some in (noise, other))
    assert torch.equal(one.alpha, two.alpha) and torch.equal(one.rgb[:, 1], two.rgb[:, 1])
    assert not torch.equal(one.rgb[:, 0], two.rgb[:, 0])


def test_masks_begin_as_a_disc():
    grown = GrowthLevel(level_of(16))
    plain, disc = PerturbGAN(TINY).double(), PerturbGAN(replace(TINY, centre_prior=4.0)).double()
    noise = plain.noise(2, stream(0), grown)
    before, after = (torch.logit(model.paint(noise, grown)[0].alpha[:, 1, 0]) for model in (plain, disc))
    added = after - before
    assert_close(added[0], added[1], rtol=0, atol=1e-9)
    middle, edge = added[0, 7:9, 7:9], added[0, 7:9, 0]  # centres of pixels 1/16 and 15/16 of the way to the edge
    assert_close(middle, torch.full_like(middle, 4 * (1 - 2 * 2 / 256)), rtol=0, atol=1e-9)
    assert_close(edge, torch.full_like(edge, 4 * (1 - 2 * (225 + 1) / 256)), rtol=0, atol=1e-9)


def test_noise_is_shared_swapped_and_mixed_as_the_settings_say():
    grown = GrowthLevel(level_of(16))
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
    model, grown = PerturbGAN(replace(TINY, mixing=0.75)), GrowthLevel(level_of(16))
    found = [model.noise(2, stream(number), grown, mixing=True).takes_second for number in range(200)]
    mixed = [levels for levels in found if bool(levels.any())]
    assert len(mixed) / len(found) == pytest.approx(0.75, abs=0.1)
    for levels in mixed:  # trunks, levels: never the coarsest, always the finest, and none between is left out
        assert not bool(levels[:, 0].any()) and bool(levels[:, -1].all())
        assert bool((levels[:, 1:] >= levels[:, :-1]).all())
    assert len({tuple(levels.flatten().tolist()) for levels in mixed}) == (grown.level) ** 2  # each trunk for itself


@pytest.mark.usefixtures("brain_floats")
def test_brain_floats_train_and_change_little(trained):
    model = PerturbGAN(replace(TINY, bf16=True))
    model.load_state_dict(trained.state_dict())
    for by in trained.decomposers:
        one, other = (some.decompose(photos(), by=by).layers() for some in (trained, model))
        assert float((one.alpha - other.alpha).abs().mean()) < 0.02
        assert float((one.rgb - other.rgb).abs().mean()) < 0.02
        assert not torch.equal(one.alpha, other.alpha)
    assert train(PerturbGAN(replace(TINY, bf16=True, segmenter_steps=2, self_training_steps=2)), pixels()).finished


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


# --- looking after itself ---------------------------------------------------------------------------------------------


def seen(area, edge, inside, shown, gap):
    """Running sums after one look, in which scores have a variance of 1."""
    return torch.tensor([area, edge, inside, 0.5, 0.5 * shown, gap, gap**2 + 1, 0.0, 1.0, 1.0])


@pytest.mark.parametrize(
    ("signals", "said"),
    [
        (seen(0.01, 0.0, 0.1, 0.2, 1.0), "the mask is dead"),
        (seen(0.9, 0.4, 0.9, 0.2, 1.0), "the foreground is the whole image"),
        (seen(0.3, 0.5, 0.3, 0.2, 1.0), "swapped roles"),
        (seen(0.3, 0.1, 0.3, 0.02, 1.0), "foregrounds change their backgrounds by 2.0 % of the range"),
        (seen(0.3, 0.1, 0.3, 0.2, -1.2), "score -1.20 standard deviations above their backgrounds alone"),
    ],
)
def test_collapses_are_said_in_words_early_and_at_the_end_and_only_then(signals, said):
    model = PerturbGAN(replace(TINY, monitor_from=50, steps=1_000, monitor_share=0.2))
    assert model.collapsed(context(100)) is None  # nothing has been seen yet
    model.signals.copy_(signals)
    for step in (100, 999):
        found = model.collapsed(context(step))
        assert found is not None and said in found
    for step in (0, 101, 250, 998):
        assert model.collapsed(context(step)) is None
    assert model.collapsed(context(100, stage="segmenter")) is None
    short = PerturbGAN(replace(TINY, monitor_from=50, steps=200, monitor_share=0.05))  # looked at once all the same
    never = PerturbGAN(replace(TINY, monitor_from=0, steps=200, monitor_share=0.0))
    for some in (short, never):
        some.signals.copy_(signals)
    assert [short.collapsed(context(step)) is not None for step in (0, 50, 100)] == [False, True, False]
    assert never.collapsed(context(0)) is None
    model.signals.copy_(seen(0.3, 0.1, 0.3, 0.2, 1.0))
    assert model.collapsed(context(100)) is None


def test_a_mask_that_dies_late_does_not_teach_a_segmenter():
    heard = Notes()
    config = replace(TINY, monitor_from=1, monitor_share=0.01, border_ratio=1e-9, steps=12, batch=2, restarts=0)
    monitored = PerturbGAN(config)
    early = monitored.collapsed
    monitored.collapsed = lambda now: None if now.step < 11 else early(now)  # as if it had been well before
    assert train(monitored, pixels(), callback=heard).reason == "failed"
    assert heard.notes[-1].startswith("layers, step 11: masks ")
    assert monitored.decomposers == ()


def test_few_images_in_a_step_do_not_make_a_gap():
    """Scores of scenes and backgrounds alike: the gap is what their means over many looks differ by."""
    model, now, rng = PerturbGAN(TINY), context(batch=1), stream("scores")
    now.values |= {name: torch.zeros(1, 3, 16, 16) for name in ("fakes", "backgrounds")}
    now.values["masks"] = torch.full((1, 1, 16, 16), 0.4)
    model.score = lambda images, grown, halves: torch.randn(2, generator=rng)
    gaps = []
    for _ in range(300):
        model.update_monitor(GrowthLevel(2), now)
        gaps.append(model.monitor()[-1])
    assert max(abs(gap) for gap in gaps[50:]) < 1.5
    assert sum(gaps[50:]) / 250 == pytest.approx(0.0, abs=0.2)


def test_a_run_that_collapses_begins_anew_and_ends_as_failed_in_the_end():
    heard = Notes()
    outcome = train(PerturbGAN(replace(TINY, monitor_from=0, border_ratio=1e-9)), pixels(), callback=heard)
    assert outcome.reason == "failed"
    first, second = heard.notes[-2:]
    assert "layers, step 0: masks " in first and first.endswith("Started over, restart 1 of 1.")
    assert "layers, step 0: masks " in second and "Given up (after 1 restarts)" in second


def id_of(images):
    return round(float(images.sum()), 3)


def test_the_signals_are_those_of_the_scenes(monkeypatch):
    model, now = PerturbGAN(TINY), context()
    masks = torch.zeros(4, 1, 16, 16)
    masks[:2, :, 4:12, 4:12] = 0.9
    now.values |= {"masks": masks, "fakes": photos(), "backgrounds": photos() / 2}
    values = {"fakes": [2.0, 4, 2, 4], "backgrounds": [1.0, 3, 1, 3]}
    scores = {id_of(now.values[kind]): torch.tensor(some) for kind, some in values.items()}
    monkeypatch.setattr(
        PerturbGAN, "score", lambda self, x, grown, halves: torch.cat([scores[id_of(half)] for half in x.chunk(2)])
    )
    model.update_monitor(GrowthLevel(2), now)
    area, edge, inside, shown, gap = model.monitor()
    assert area == pytest.approx(0.125)
    assert edge == 0
    assert inside == pytest.approx(0.9 * 128 / (4 * 14 * 14))
    assert shown == pytest.approx(float((photos() / 2).mean()) / 2 / float(masks.mean()))
    assert gap == pytest.approx(1.0)  # one standard deviation


def test_an_object_in_the_background_and_a_mask_that_changes_nothing_are_a_leak():
    model, now = PerturbGAN(replace(TINY, monitor_from=50, steps=1_000, monitor_share=0.2)), context(100)
    masks = torch.zeros(4, 1, 16, 16)
    masks[..., 6:12, 6:12] = 1.0
    now.values |= {"masks": masks, "fakes": photos(), "backgrounds": photos()}
    for _ in range(30):
        model.update_monitor(GrowthLevel(2), now)
    assert "the object has leaked into the background" in model.collapsed(now)
    now.values["backgrounds"] = torch.where(masks > 0, 1 - photos(), photos())
    for _ in range(30):
        model.update_monitor(GrowthLevel(2), now)
    assert model.collapsed(now) is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"min_area": 0.005, "max_area": 0.025}, "dead_area is 0.03; not below min_area, 0.005"),
        ({"max_area": 0.8}, "saturated_area is 0.6; not above max_area, 0.8"),
    ],
)
def test_limits_that_good_masks_would_not_pass_are_refused(settings, said):
    with pytest.raises(ConfigError, match=said):
        replace(TINY, **settings)
    replace(TINY, **settings, monitor_share=0.0)
    replace(TINY, **settings, mask_loss="published")


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
    assert trained.copies_input("segmenter") and not trained.copies_input("encoder")
    assert not torch.allclose(trained.decompose(images, by="encoder").composite(), images)


def test_previews_show_masks_and_scenes_whole_apart_and_with_their_foregrounds_moved(trained):
    model, images = PerturbGAN(replace(TINY, shift=0.25)), photos()
    model.load_state_dict(trained.state_dict())
    shown, rng = model.preview(images), stream("perturbgan", "preview")
    layers = model.sample(4, rng)
    (ground, front), mask = layers.rgb.unbind(1), layers.alpha[:, 1]
    offsets = (4 * (2 * torch.rand(4, 2, generator=rng) - 1)).round().long().tolist()
    moved = [
        torch.stack([plainly_shifted(one, down, right) for one, (right, down) in zip(some, offsets, strict=True)])
        for some in (front, mask)
    ]
    found = model.decompose(images).layers().alpha[:, 1]
    expected = (
        images, found, ground * (1 - mask) + front * mask, ground, front, mask, ground * (1 - moved[1]) + moved[0] * moved[1],
    )  # fmt: skip
    for row, wanted in zip(shown, expected, strict=True):
        assert_close(row, wanted.expand(-1, 3, -1, -1), rtol=0, atol=1e-6)


def test_refined_masks_are_the_segmenters_at_the_outlines_of_the_photo(trained):
    model = PerturbGAN(replace(TINY, refine_weight=3.0))
    model.load_state_dict(trained.state_dict())
    assert model.decomposers == ("despeckled", "refined", "segmenter", "encoder")
    images = photos(3)
    plain, found = (model.decompose(images, by=by).layers().alpha for by in ("segmenter", "refined"))
    assert torch.equal(plain, trained.decompose(images).layers().alpha)
    assert_close(found[:, 1:], refine(images, torch.cat([1 - plain[:, 1:], plain[:, 1:]], 1), 3.0)[:, 1:])
    assert torch.equal(
        model.decompose(images).layers().alpha[:, 1:],
        remove_small_regions(torch.cat([1 - found[:, 1:], found[:, 1:]], 1), 1 / 400)[:, 1:],
    )
    assert model.copies_input("despeckled")
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
    alone.import_state({name: part for name, part in trained.export_state().items() if name.startswith("segmenter.")})
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
        ({"min_area": 0.6}, "at most max_area"),
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
        ({"segmenter_learning_rate": -1.0}, "segmenter_learning_rate is -1.0; expected 0 or more"),
        ({"leak_gap": float("nan")}, "leak_gap is nan; expected a finite number"),
        ({"ema": 1.0}, "ema is 1"),
        ({"mapping_depth": 1_000_000}, "expected 1 to 64"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        replace(TINY, **settings)
