"""PerturbGAN's rivals: what painter and discriminator see, what it costs them, and how fast they learn."""

from dataclasses import replace

import plain_perturbgan as plain
import pytest
import torch
from helpers.perturbgan_tiny import GROWING, TINY, context, photos
from torch.testing import assert_close

from delaminate.errors import ConfigError
from delaminate.methods.perturbgan import PerturbGAN
from delaminate.methods.perturbgan.networks import GrowthLevel
from delaminate.methods.perturbgan.training import Discriminator, EncoderPlayer, GeneratorPlayer, Segmenter, photographs
from delaminate.methods.players import StepContext
from delaminate.objectives.augment import augment
from delaminate.objectives.priors import border_and_inside, compactness, mask_diversity
from delaminate.rng import stream


def test_rivals_share_all_parameters_of_the_first_stage_and_learners_own_the_rest():
    model = PerturbGAN(TINY)
    players = (GeneratorPlayer(model), Discriminator(model), EncoderPlayer(model), Segmenter(model))
    owned = [id(p) for player in players for group in player.groups() for p in group.parameters]
    assert len(owned) == len(set(owned))
    assert set(owned) == {id(p) for p in model.parameters()}


@pytest.mark.parametrize("reuse", [True, False])
def test_the_discriminator_sees_the_painters_scenes_or_others(reuse):
    model = PerturbGAN(replace(TINY, reuse_fakes=reuse, penalty_interval=1))
    first = model.stages()[0].players
    assert [player.name for player in first] == (
        ["painter", "discriminator"] if reuse else ["discriminator", "painter"]
    )
    now = context()
    painted = GeneratorPlayer(model).turn(photos(), stream(0), now)
    assert set(painted) == {"adversary", "area", "binary"}
    now.values["fakes"] = torch.full_like(now.values["fakes"], torch.nan)
    judged = Discriminator(model).turn(photos(), stream(0), now)
    assert set(judged) == {"real", "fake", "penalty"}
    assert bool(torch.isfinite(judged["fake"])) is not reuse


def test_both_rivals_see_augmented_images_where_images_are_few_and_only_there():
    model, now = PerturbGAN(TINY), context(1)
    for few in (True, False):
        model.augments, judged = few, []
        model.score = lambda images, grown, halves=1, judged=judged: judged.append(images) or images.mean((1, 2, 3))
        GeneratorPlayer(model).turn(photos(), stream(0), now)
        Discriminator(model).turn(photos(), stream(1), now)
        fakes, real = now.values["fakes"], 2 * photos() - 1
        GeneratorPlayer(model).draw(rng := stream(0), now)  # what it leaves of the stream changes what is seen
        assert_close(judged[0], augment(fakes, rng) if few else fakes)
        rng = stream(1)
        assert_close(judged[1], torch.cat([augment(real, rng), augment(fakes, rng)] if few else [real, fakes]))


def test_what_is_neither_object_nor_background_costs_more_from_step_to_step_until_the_ramp_ends():
    """binary_weight * min(1, step / ramp_steps) * mean 2 m (1 - m), of masks as they are seen."""
    model = PerturbGAN(replace(TINY, shift=0.25, binary_weight=3.0, ramp_steps=4)).double()
    at_once = PerturbGAN(replace(model.config, ramp_steps=0)).double()
    _, layers = GeneratorPlayer(model).draw(stream(0), context())
    masks = layers.alpha[:, 1]
    whole = 3 * (2 * masks * (1 - masks)).mean()
    for step, share in ((0, 0.0), (1, 0.25), (2, 0.5), (4, 1.0), (50, 1.0)):
        assert_close(GeneratorPlayer(model).turn(photos().double(), stream(0), context(step))["binary"], share * whole)
    assert_close(GeneratorPlayer(at_once).turn(photos().double(), stream(0), context())["binary"], whole)


def test_masks_on_the_border_all_alike_and_with_long_outlines_cost_something_before_the_shift():
    model = PerturbGAN(
        replace(TINY, border_weight=5.0, mask_diversity_weight=3.0, mask_diversity=0.9, compactness_weight=2.0)
    )
    images = torch.rand(4, 3, 16, 16, generator=stream(0))
    step = context(batch=4)
    terms = GeneratorPlayer(model).turn(images, stream(1), step)
    masks = step.values["masks"]
    border, inside = border_and_inside(masks)
    assert_close(terms["border_excess"], 5 * (border - 0.1 * inside))
    assert_close(terms["sameness"], 3 * (0.9 - mask_diversity(masks)))
    assert_close(terms["outline"], 2 * compactness(masks))
    assert min(float(terms[name].detach()) for name in ("border_excess", "sameness", "outline")) > 0


def test_pairs_of_masks_are_not_torn_apart():
    model = PerturbGAN(replace(TINY, mask_diversity_weight=5.0, batch=6))
    with pytest.raises(ConfigError, match="3 images a process; mask_diversity_weight compares pairs"):
        GeneratorPlayer(model).turn(photos(3), stream(0), StepContext("layers", 0, 4, slice(0, 3), 6))


def test_real_images_are_enlarged_cut_and_shrunk_to_the_level_in_use():
    images = photos(4)
    assert torch.equal(photographs(images, 1.0, GrowthLevel(2), stream(0), context()), 2 * images - 1)
    down, right = torch.meshgrid(*[(torch.arange(16) + 0.5) / 16] * 2, indexing="ij")
    ramps = torch.stack([down, right, down + right]).expand(4, -1, -1, -1)
    for level, side in ((2, 16), (1, 8)):
        cut = (photographs(ramps, 1.5, GrowthLevel(level), stream(1), context()) + 1) / 2
        assert cut.shape == (4, 3, side, side)
        # Still ramps, as steep as 1.5 times the size asks for, and begun at places of their own.
        middle = cut[:, :, 1:-1, 1:-1]
        assert_close(middle[:, 0].diff(dim=1), torch.full((4, side - 3, side - 2), 2 / 3 / side), rtol=0, atol=0.02)
        assert_close(middle[:, 1].diff(dim=2), torch.full((4, side - 2, side - 3), 2 / 3 / side), rtol=0, atol=0.02)
        assert_close(middle[:, 2], middle[:, 0] + middle[:, 1])
        assert len(set(cut[:, 0, side // 2, side // 2].tolist())) > 1


def test_the_slope_is_held_now_and_then():
    player = Discriminator(PerturbGAN(TINY))
    for step, terms in ((0, {"real", "fake", "penalty"}), (1, {"real", "fake"}), (2, {"real", "fake", "penalty"})):
        now = context(step)
        now.values["fakes"] = photos()
        assert set(player.turn(photos(), stream(0), now)) == terms


def test_the_penalty_on_slopes_counts_as_often_as_it_is_left_out():
    """gamma / 2 * 16 * mean ||grad D||^2, with gamma = 2e-4 side^2 / batch."""
    model = PerturbGAN(replace(TINY, penalty_interval=16)).double()
    images, now = photos().double(), context()
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
    half = Discriminator(PerturbGAN(replace(TINY, penalty_interval=16, gamma=1e-4 * 16**2 / 4)).double())
    half.model.load_state_dict(model.state_dict())
    assert_close(half.turn(images, stream(0), now)["penalty"], expected / 2)


def test_mappings_learn_slowly_and_large_levels_fast():
    painter = GeneratorPlayer(PerturbGAN(replace(TINY, learning_rate=2e-3, mapping_learning_rate_factor=0.01)))
    assert {group.name: group.learning_rate for group in painter.groups()} == {"trunks": 2e-3, "mappings": 2e-5}
    with torch.device("meta"):
        growing = PerturbGAN(replace(GROWING, image_size=(256, 256)))
    rates = {
        side: GeneratorPlayer(growing).learning_rate_factor("trunks", context(stage=f"layers-{side}"))
        for side in (8, 64, 128, 256)
    }
    assert rates == {8: 1.0, 64: 1.0, 128: 1.5, 256: 2.0}
    assert painter.learning_rate_factor("trunks", context()) == 1.0


def test_the_published_step_is_the_one_written_plainly():
    """Losses and gradients of both turns, in float64; `benchmarks/speed_perturbgan.py` measures the two."""
    published = replace(
        TINY, loss="wgan-gp", mask_loss="published", area_weight=2.0, ramp_steps=0, reuse_fakes=False, encoder_steps=0
    )
    model, images = PerturbGAN(published).double(), photos().double()
    for player, network, expected in (
        (GeneratorPlayer(model), model.generator, plain.painter_loss(model, 4, stream(1))),
        (Discriminator(model), model.discriminator, plain.discriminator_loss(model, 2 * images - 1, stream(1))),
    ):
        loss = torch.stack(list(player.turn(images, stream(1), context()).values())).sum()
        assert_close(loss, expected, rtol=0, atol=1e-12)
        parameters = list(network.parameters())
        for ours, theirs in zip(*(torch.autograd.grad(each, parameters) for each in (loss, expected)), strict=True):
            assert_close(ours, theirs, rtol=1e-8, atol=1e-10)
