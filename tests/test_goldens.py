"""Our code against the authors' own: what their functions returned for fixed inputs, stored in `golden/`.

Each row of `golden/README.md` is a file, and says what made it. Numbers of networks are laid out in the order of the
original's parameters; the lists of names below say which of ours each one is.
"""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from delaminate.methods.dti_sprites import Config as DTISpritesConfig
from delaminate.methods.dti_sprites import DTISprites
from delaminate.methods.dti_sprites.model import Prediction
from delaminate.methods.dti_sprites.warping import move_sprites, move_to_canvas, sampling_grid
from delaminate.methods.marionette import Config as MarioNetteConfig
from delaminate.methods.marionette import MarioNette
from delaminate.methods.marionette import training as marionette
from delaminate.methods.perturbgan import Config as PerturbGANConfig
from delaminate.methods.perturbgan import PerturbGAN
from delaminate.methods.perturbgan import training as perturbgan
from delaminate.methods.perturbgan.networks import shift_foreground
from delaminate.methods.players import StepContext
from delaminate.methods.redo import Config as ReDOConfig
from delaminate.methods.redo import ReDO
from delaminate.methods.redo import training as redo
from delaminate.methods.redo.networks import MaskNetwork, RegionGenerator, ResidualDiscriminator
from delaminate.nets.partial import DownBlock, PartialConv, partial_convolution
from delaminate.nets.resnet import ResNet, pooled
from delaminate.nets.spectral import SpectralConv, convolve
from delaminate.nets.stylegan import EqualizedConv, Mapping, StyleDiscriminator, Synthesis, blur, mixed, pixel_norm
from delaminate.objectives.priors import binarization, coverage
from delaminate.objectives.reconstruction import image_error, select_exhaustive, select_greedy, stack
from delaminate.rng import stream
from delaminate.scene.compositing import composite, over, pairwise_occlusion
from delaminate.scene.edits import contrast
from delaminate.scene.layers import Layers
from delaminate.scene.transforms import grid_of, morphological, recolour, sample, soft_clamp, warp

GOLDEN = Path(__file__).parent / "golden"
SIXTEENTHS = 16.0
"""Parameters are stored as whole sixteenths, which are exact."""


def golden(name):
    """The arrays of a file: 8-bit images and alphas in [0, 1], all else as it is; floats are float64."""
    with np.load(GOLDEN / f"{name}.npz", allow_pickle=False) as arrays:
        found = {key: torch.from_numpy(array) for key, array in arrays.items()}
    return {key: array.double() / 255 if array.dtype == torch.uint8 else array for key, array in found.items()}


def exact(found, expected):
    """Both are float64, and differ by no more than the order in which numbers are added up."""
    assert found.dtype == torch.float64
    assert_close(found, expected, rtol=1e-10, atol=1e-12)


def load(network, numbers, names):
    """Give named parameters of a network the numbers of the original, laid out in its order; none may be left over."""
    parameters = dict(network.named_parameters())
    assert len(set(names)) == len(names)
    sizes = [parameters[name].numel() for name in names]
    assert sum(sizes) == len(numbers)
    with torch.no_grad():
        for name, part in zip(names, numbers.double().split(sizes), strict=True):
            parameters[name].copy_(part.view_as(parameters[name]) / SIXTEENTHS)


def named(*rows):
    """Names of parameters: 'block weight bias' is two of them."""
    return [f"{owner}.{name}" for owner, *names in (row.split() for row in rows) for name in names]


def enlarged(coarse, times=8):
    """The canvases that coarse ones stand for."""
    return coarse.repeat_interleave(times, -1).repeat_interleave(times, -2)


# --- DTI-Sprites ------------------------------------------------------------------------------------------------------


def pairs_of(colour):
    """The original lays a colour change out as gain and offset of each channel in turn, ours as gains, then offsets."""
    return torch.cat([colour[..., 0::2], colour[..., 1::2]], -1)


def of_layers(candidates, chosen):
    """Of (L, K, B, ...) the chosen sprite of each image and layer, (B, L, ...)."""
    count = chosen.shape[1]
    rows = [candidates[layer, chosen[:, layer].long(), range(len(chosen))] for layer in range(count)]
    return torch.stack(rows, 1)


@pytest.mark.parametrize("behind", ["background", "black"])
@pytest.mark.parametrize("order", ["soft", "plain"])
def test_layers_composite_as_in_dti_sprites(order, behind):
    g = golden("dti_sprites_compositing")
    rgb, alpha = of_layers(g["rgb"], g["chosen"]), of_layers(g["alpha"], g["chosen"])
    occlusion = pairwise_occlusion(g["logits"], 3)
    exact(occlusion, g["occlusion"].permute(2, 0, 1))
    background = g["background"][0] if behind == "background" else None
    found = composite(stack(rgb, alpha, occlusion if order == "soft" else None, background))
    exact(found, g[f"{order}_over_{behind}"])
    if order == "plain":
        canvas = torch.zeros_like(rgb[:, 0]) if background is None else background
        for layer in range(3):
            canvas = over(rgb[:, layer], alpha[:, layer], canvas)
        exact(canvas, g[f"{order}_over_{behind}"])


@pytest.mark.parametrize("order", ["soft", "plain"])
def test_every_combination_of_sprites_composites_as_in_dti_sprites(order):
    g = golden("dti_sprites_compositing")
    occlusion = pairwise_occlusion(g["logits"], 3) if order == "soft" else None
    for number, combination in enumerate(itertools.product(range(2), repeat=3)):
        chosen = torch.tensor(combination).expand(2, 3)
        layers = stack(of_layers(g["rgb"], chosen), of_layers(g["alpha"], chosen), occlusion, g["background"][0])
        exact(composite(layers)[..., ::2, ::3], g[f"every_combination_{order}"][:, number])


@pytest.mark.parametrize("kind", ["affine", "similarity", "position"])
def test_sprites_move_as_in_dti_sprites(kind):
    g = golden("dti_sprites_transforms")
    values, expected = g[f"{kind}_parameters"], g[f"{kind}_zeros"]
    exact(warp(g["sprites"], kind, values, (6, 9)), expected)
    # All sprites for all placements at once: of each image its own is the original's.
    found, _ = move_to_canvas(g["sprites"], {kind: values}, (6, 9), with_cover=False)
    exact(found[[0, 1], [0, 1]], expected)


@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_the_projective_warp_of_parity_is_that_of_dti_sprites(padding):
    g = golden("dti_sprites_transforms")
    values = g["projective_parameters"]
    exact(sample(g["sprites"], sampling_grid("projective", values, (7, 7), True), padding), g[f"projective_{padding}"])
    if padding == "zeros":
        exact(move_sprites(g["sprites"][:, None], "projective", values[:, None], True)[:, 0], g["projective_zeros"])
    # Without parity corners are not centres of pixels, and the picture is another one.
    other = sample(g["sprites"], sampling_grid("projective", values, (7, 7), False), padding)
    assert (other - g[f"projective_{padding}"]).abs().max() > 0.05


@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_the_spline_is_that_of_dti_sprites_but_for_its_zoom(padding):
    """Departs: the original asks at corners and looks up at centres, so that its identity zooms by n / (n - 1)."""
    g = golden("dti_sprites_transforms")
    values = g["tps_parameters"]
    # Every second of its 2 n + 1 corners is one of our n centres: there both are one function.
    exact(grid_of("thin_plate_spline", values, (4, 6)), g["tps_grid_9_13"][:, 1::2, 1::2])
    exact(sample(g["sprites"], g["tps_grid"], padding), g[f"tps_{padding}"])
    zoom = torch.zeros(2, 6, dtype=torch.float64)
    zoom[:, [0, 4]] = 7 / 6 - 1
    exact(warp(g["sprites"], "affine", zoom, (7, 7)), g["tps_of_nothing"])


def test_dilation_is_that_of_dti_sprites_inside():
    """Departs: beyond the border the original sees zeros, ours the border's own pixels."""
    g = golden("dti_sprites_transforms")
    found = morphological(g["sprites"][:, :1], g["morpho_parameters"])
    exact(found[..., 1:-1, 1:-1], g["morpho_zeros"][..., 1:-1, 1:-1])


def test_colours_change_as_in_dti_sprites():
    g = golden("dti_sprites_transforms")
    exact(recolour(g["sprites"][:, :3], pairs_of(g["color_parameters"])), g["color_zeros"][:, :3])
    exact(g["sprites"][:, 3:], g["color_zeros"][:, 3:])
    exact(soft_clamp(g["values"]), g["soft_clamp"])


def test_alphas_begin_as_the_blob_of_dti_sprites():
    model = DTISprites(DTISpritesConfig(image_size=(14, 12), sprite_size=(7, 6), num_sprites=2, alpha_sigma=3))
    blob = golden("dti_sprites_transforms")["gaussian_7_6_of_3"].float()
    assert_close(model.sprites_alpha.detach(), blob.expand(2, 1, 7, 6))


PRICE = 1e-2
"""Of a sprite that is not empty, where the golden numbers have the empty one."""


def selection_problem(soft, background, layers=3):
    """Images, candidates of a layer, what is behind, who hides whom."""
    g = golden("dti_sprites_selection")
    rgb, alpha = g["rgb"].transpose(1, 2), g["alpha"].transpose(1, 2)  # L B K C H W
    pairs = layers * (layers - 1) // 2
    occlusion = pairwise_occlusion(g["logits"][:, :pairs], layers) if soft else None
    behind = g["background"][0] if background else None
    return g, (lambda layer: (rgb[layer], alpha[layer])), behind, occlusion


@pytest.mark.parametrize(
    ("name", "soft", "background", "passes", "price"),
    [
        ("soft_1_empty", True, True, 1, PRICE),
        ("soft_3_empty", True, True, 3, PRICE),
        ("soft_3_empty_free", True, True, 3, 0.0),
        ("plain_1_empty", False, True, 1, PRICE),
        ("plain_1_black", False, False, 1, None),
        ("plain_2_black", False, False, 2, None),
        ("soft_3", True, True, 3, None),
        ("soft_2_frozen", True, True, 2, None),  # while sprites are frozen the empty one is ruled out
    ],
)
def test_sprites_are_chosen_as_in_dti_sprites(name, soft, background, passes, price):
    g, candidates, behind, occlusion = selection_problem(soft, background)
    found = select_greedy(g["images"], candidates, 3, behind, occlusion, passes, price)
    assert found.tolist() == g[f"{name}/chosen"].tolist()
    empty = torch.zeros_like(g["rgb"][:, :1])
    rgb, alpha = torch.cat([g["rgb"], empty], 1), torch.cat([g["alpha"], empty[:, :, :, :1]], 1)
    image = composite(stack(of_layers(rgb, found), of_layers(alpha, found), occlusion, behind))
    exact(image_error(g["images"], image), g[f"{name}/error"])


def test_golden_choices_tell_passes_and_prices_apart():
    """Otherwise the test above would say little about them."""
    g = golden("dti_sprites_selection")
    for one, other in (
        ("soft_1_empty", "soft_3_empty"),
        ("soft_3_empty", "soft_3_empty_free"),
        ("plain_1_black", "plain_2_black"),
        ("soft_3", "soft_2_frozen"),
        ("soft_3_empty", "soft_3"),
    ):
        assert not torch.equal(g[f"{one}/chosen"], g[f"{other}/chosen"]), (one, other)


def test_the_best_of_all_combinations_has_the_loss_of_dti_sprites():
    g, candidates, behind, occlusion = selection_problem(True, True, layers=2)
    found = select_exhaustive(g["images"], candidates, 2, behind, occlusion)
    numbers = found[:, 0] * 3 + found[:, 1]
    assert numbers.tolist() == g["exhaustive/distances"].argmin(1).tolist()
    layers = stack(of_layers(g["rgb"][:2], found), of_layers(g["alpha"][:2], found), occlusion, behind)
    exact(image_error(g["images"], composite(layers)).mean(), g["exhaustive/loss"])


@pytest.fixture(scope="module")
def forward():
    """The golden forward of two images, and a model of ours that is told the same parameters."""
    g = golden("dti_sprites_forward")
    config = DTISpritesConfig(
        image_size=(9, 9), sprite_size=(5, 5), num_sprites=2, num_layers=2, empty_sprite=True,
        sprite_transforms=("similarity",),
        soft_occlusion=True, passes=3, empty_sprite_cost=1e-4, noise=0.4,
    )  # fmt: skip
    model = DTISprites(config).double()
    with torch.no_grad():
        model.sprites_rgb.copy_(g["sprites_rgb"])
        model.sprites_alpha.copy_(g["sprites_alpha"])
        model.background_rgb.copy_(g["background_rgb"][0])
    prediction = Prediction(
        {"similarity": g["sprite"]},
        {"colour": pairs_of(g["colour"]), "position": g["position"]},
        {"colour": pairs_of(g["background_colour"])},
        pairwise_occlusion(g["occlusion_logits"], 2),
    )
    model.predict = lambda images: prediction
    return g, model, prediction


def drawn(model, prediction, layer, noise, colour=None, planes=None):
    """All sprites in one layer, without gradient: rgb and alpha."""
    sprite = {kind: values[:, layer] for kind, values in prediction.sprite.items()}
    whole = {kind: values[:, layer] for kind, values in prediction.layer.items()}
    whole |= {} if colour is None else {"colour": colour[:, layer]}
    planes = model.planes(clamp_alpha=noise is None) if planes is None else planes
    with torch.no_grad():
        return model.draw(planes, sprite, whole, noise, 2)


@pytest.mark.parametrize("noisy", [True, False], ids=["noisy", "still"])
def test_a_forward_of_dti_sprites_has_its_layers_choices_and_loss(forward, noisy):
    g, model, prediction = forward
    kind = "noisy" if noisy else "still"
    noise = (2 * g["noise"] - 1) * 0.4 if noisy else None
    exact(prediction.occlusion, g["occlusion"].permute(2, 0, 1))
    exact(model.draw_background(prediction.background, 2).detach(), g["background"])
    for layer in range(2):
        rgb, alpha = drawn(model, prediction, layer, noise)
        exact(alpha, g[f"{kind}_alpha"][layer].transpose(0, 1))
        if noisy:
            exact(rgb, g["noisy_rgb"][layer].transpose(0, 1))
    image, entry = model.reconstruct(g["images"], noise)
    assert entry.tolist() == g[f"{kind}_chosen"].tolist()
    exact(image_error(g["images"], image).mean().detach(), g[f"{kind}_loss"])


def test_a_forward_of_dti_sprites_has_its_gradients(forward):
    g, model, _ = forward
    image, _ = model.reconstruct(g["images"], (2 * g["noise"] - 1) * 0.4)
    wanted = model.sprites_rgb, model.sprites_alpha, model.background_rgb
    of_rgb, of_alpha, of_background = torch.autograd.grad(image_error(g["images"], image).mean(), wanted)
    exact(of_rgb, g["gradient_rgb"])
    exact(of_alpha, g["gradient_alpha"])
    exact(of_background, g["gradient_background"][0])


def test_colours_after_the_warp_are_those_before_it_inside_a_sprite(forward):
    """Departs: the original colours before it warps, so that the two differ where a sprite's border is mixed with nothing."""
    g, model, prediction = forward
    solid = torch.cat([model.planes(True)[:, :3], torch.ones(2, 1, 5, 5, dtype=torch.float64)], 1).detach()
    compared = 0
    for layer in range(2):
        rgb, cover = drawn(model, prediction, layer, None, pairs_of(g["offset_colour"]), solid)
        inside = (cover > 1 - 1e-12).expand_as(rgb)
        compared += int(inside.sum())
        exact(rgb[inside], g["offset_rgb"][layer].transpose(0, 1)[inside])
    assert compared > 100


def formula(count, first):
    """Numbers in [-1, 1] that need no file."""
    return ((torch.arange(first, first + count) * 7919) % 1009 - 504).double() / 504


@pytest.mark.parametrize(("depth", "zoom", "side"), [(32, 1, 2), (18, 4, 1)])
def test_encoders_are_those_of_dti_sprites(depth, zoom, side):
    g = golden("dti_sprites_encoders")
    net = ResNet(depth, stream(0)).double()
    first = 0
    with torch.no_grad():
        for parameter in net.parameters():
            numbers = formula(parameter.numel(), first).view(parameter.shape)
            first += parameter.numel()
            if parameter.ndim == 4:
                parameter.copy_(numbers * (6 / parameter[0].numel()) ** 0.5)
            else:  # a gain begins at 1, an offset at 0; both keep that here as their middle
                parameter.copy_(parameter.round() + numbers / 4)
    images = enlarged(g[f"resnet{depth}/images"], zoom)
    exact(pooled(net(images), side).detach(), g[f"resnet{depth}/features"])


# --- MarioNette -------------------------------------------------------------------------------------------------------

BLOCK = "weight_1 bias_1 weight_2 bias_2 gain_1 offset_1 gain_2 offset_2"
ROWS = "weight_1 bias_1 gain offset weight_2 bias_2"
LOOK = named(
    f"encoder.blocks.0 {BLOCK}", "encoder.heads.0 weight bias", "encoder.heads.1 weight bias", "key weight bias",
    f"shift_encoder.blocks.0 {BLOCK}", f"shift_encoder.blocks.1 {BLOCK}", "shift_encoder.heads.0 weight bias",
    f"switch {ROWS}",
)  # fmt: skip
CONTINUOUS = named(f"shift_heads.0 {ROWS}")
DISCRETE = named(f"shift_heads.0 {ROWS}", f"shift_heads.1 {ROWS}")
SPRITES = ["codes", *named(f"generator {ROWS}")]
BEHIND = named(
    *(f"backdrop_encoder.blocks.{index} {BLOCK}" for index in range(3)), "backdrop_encoder.heads.0 weight bias",
    f"backdrop_heads.0 {ROWS}",
)  # fmt: skip
PARITY = MarioNetteConfig(
    image_size=(8, 8), sprite_size=4, num_sprites=3, code_width=16, num_layers=2, offsets="continuous",
    clip_window=True, premultiplied=False, soft_background=True,
)  # fmt: skip


def nearly(found, expected):
    """But for 1e-8, which the original adds to the number of taps of a partial convolution before it divides by it."""
    assert found.dtype == torch.float64
    assert_close(found, expected, rtol=1e-6, atol=1e-7)


def marionette_model(g, **settings):
    """Our model with the original's numbers, drawn in the order of sub-lattices that was drawn there."""
    config = replace(PARITY, **settings)
    model = MarioNette(config).double().eval()
    # The two kinds of shifts share everything but their heads.
    plain = MarioNette(PARITY).double()
    load(plain, g["weights"], LOOK + CONTINUOUS + SPRITES)
    theirs, ours = dict(plain.named_parameters()), dict(model.named_parameters())
    with torch.no_grad():
        if config.offsets == "continuous":
            # The original's positive shift is to the right and down, ours is to the left and up.
            for name in ("weight_2", "bias_2"):
                theirs[f"shift_heads.0.{name}"].neg_()
        for name in LOOK + SPRITES + (CONTINUOUS if config.offsets == "continuous" else []):
            ours[name].copy_(theirs[name])
        if config.offsets == "discrete":
            load(model, g["weights_discrete"], DISCRETE)
        if config.background == "learned":
            load(model, g["weights_background"], BEHIND)
            model.backdrop_image = lambda: g["background"][0]
        model.colour.copy_(torch.tensor([0.25, 0.5, 0.75]))
    # Its four groups: even rows and columns, odd and odd, odd and even, even and odd.
    groups = [0, 3, 2, 1]
    order = [(layer, groups[group]) for layer in range(2) for group in g["order"].tolist()]
    model.fixed_order = lambda: order
    return model, order


def test_marionette_says_and_paints_what_the_original_does():
    g = golden("marionette_model")
    model, order = marionette_model(g)
    draw, shifts = model.draw, []

    def watched(sprites, offsets, switch):
        shifts.append(torch.cat(offsets, 1))
        return draw(sprites, offsets, switch)

    model.draw = watched
    with torch.no_grad():
        found = model.soft(g["images"], order)
        exact(model.sprites()[:, :, ::2, ::3], g["sprites"])
    nearly(found.scores, g["scores"].flatten(0, 3))
    nearly(found.switch.flatten(2), g["switches"])
    nearly(shifts[0], g["shifts"] * 2)  # theirs are shares of half a sprite of 4 pixels
    nearly(found.image, g["continuous/soft"])
    nearly(model.reconstruct(g["images"]), g["continuous/hard"])


def test_shifts_by_whole_pixels_are_those_of_marionette():
    g = golden("marionette_model")
    model, order = marionette_model(g, offsets="discrete")
    with torch.no_grad():
        nearly(model.soft(g["images"], order).image, g["discrete/soft"])
    nearly(model.reconstruct(g["images"]), g["discrete/hard"])


def test_crops_of_a_learned_background_are_those_of_marionette():
    g = golden("marionette_model")
    model, order = marionette_model(g, background="learned")
    with torch.no_grad():
        nearly(model.soft(g["images"], order).image, g["background/soft"])
    nearly(model.reconstruct(g["images"]), g["background/hard"])


def test_switches_that_round_with_a_gradient_are_those_of_marionette():
    g = golden("marionette_model")
    model, order = marionette_model(g, straight_through=True)
    with torch.no_grad():
        nearly(model.soft(g["images"], order).image, g["straight_through/soft"])


GRADIENTS = {  # ours and the original's; of kernels every eighth output
    "codes": "learned_dict.latent",
    "encoder.blocks.0.weight_1": "im_encoder.blocks.0.conv1.weight",
    "switch.weight_2": "probs.3.weight",
    "key.weight": "project.0.weight",
    "shift_encoder.blocks.1.bias_2": "encoder_xform.blocks.1.conv2.bias",
}


@pytest.mark.parametrize("offsets", ["continuous", "discrete"])
def test_losses_and_their_gradients_are_those_of_marionette(offsets):
    g = golden("marionette_model")
    model, order = marionette_model(g, offsets=offsets)
    found = model.soft(g["images"], order)
    terms = {"error": image_error(g["images"], found.image).mean(), **marionette.Refiner(model).prices(found)}
    nearly(terms["error"].detach(), g[f"{offsets}/rec_loss"])
    nearly(terms["choices"].detach(), 0.002 * g[f"{offsets}/beta_loss"])
    nearly(terms["sparsity"].detach(), 0.005 * g[f"{offsets}/probs_loss"])
    parameters = dict(model.named_parameters())
    gradients = torch.autograd.grad(sum(terms.values()), [parameters[name] for name in GRADIENTS])
    for ours, theirs in zip(gradients, GRADIENTS.values(), strict=True):
        nearly(ours[::8] if ours.ndim == 4 else ours, g[f"{offsets}/gradient/{theirs}"])


@pytest.mark.parametrize("number", range(5))
def test_partial_convolutions_are_those_of_marionette(number):
    g = {
        key.split("/")[1]: value for key, value in golden("marionette_partial").items() if key.startswith(f"{number}/")
    }
    stride = int(g["stride"])
    nearly(partial_convolution(g["x"], g["weight"], g["bias"], stride), g["y"])
    if stride == 1:
        layer = PartialConv(g["weight"].shape[1], g["weight"].shape[0], stream(0)).double()
        with torch.no_grad():
            layer.weight.copy_(g["weight"])
            layer.bias.copy_(g["bias"])
        nearly(layer(g["x"]).detach(), g["y"])


def test_a_block_of_partial_convolutions_is_that_of_marionette():
    g = golden("marionette_partial")
    block = DownBlock(3, 16, stream(0)).double()
    load(block, g["block_weights"], BLOCK.split())
    nearly(block(g["block_x"]).detach(), g["block_y"])


def test_the_density_of_choices_is_that_of_marionette():
    g = golden("marionette_densities")
    exact(marionette.density(g["values"]), g["beta_2_2"])


# --- ReDO -------------------------------------------------------------------------------------------------------------

NORM = "weight bias"
MASKS = named(
    "first weight", f"norm {NORM}", "down.0 weight", f"down_norms.0 {NORM}", "down.1 weight", f"down_norms.1 {NORM}",
    *(
        row for index in range(3) for row in (
            f"residual.{index}.conv_1 weight", f"residual.{index}.norm_1 {NORM}",
            f"residual.{index}.conv_2 weight bias", f"residual.{index}.norm_2 {NORM}",
        )
    ),
    *(f"pyramid.{index} weight bias" for index in range(4)),
    "up.0 weight", f"up_norms.0 {NORM}", "up.1 weight", f"up_norms.1 {NORM}", "last weight bias",
)  # fmt: skip
ATTENTION = [f"attention.{name}" for name in ("query", "key", "value", "out")]
UP = [f"blocks.{index}" for index in range(5)]
GENERATOR = [
    "attention.gamma",
    *named(*(f"{name} weight" for name in ATTENTION), "first weight bias", *(f"{block}.conv_1 weight" for block in UP)),
    *named(*(f"{block}.conv_2 bias weight" for block in UP)),
    *named(
        *(
            f"{block}.{norm}.{of} weight bias"
            for of in ("scale", "shift")
            for norm in ("norm_1", "norm_2")
            for block in UP
        )
    ),
    *named(*(f"{block}.skip bias weight" for block in UP), "norm.scale weight bias", "norm.shift weight bias"),
    *named("last bias weight"),
]
GENERATOR_VECTORS = [
    *ATTENTION, *(f"{block}.{name}" for name in ("conv_1", "conv_2", "skip") for block in UP), "last",
]  # fmt: skip
DOWN = [*(f"blocks.{index}" for index in range(4)), "flat"]
FIRST = ["first.conv_1", "first.conv_2", "first.skip"]
CONVOLUTIONS = [f"{block}.{name}" for block in DOWN for name in ("conv_1", "conv_2")]
SKIPS = [f"{block}.skip" for block in DOWN[:-1]]
DISCRIMINATOR = [
    *named(*(f"{name} bias weight" for name in FIRST)),
    "attention.gamma",
    *named(*(f"{name} weight" for name in ATTENTION), "last weight bias"),
    *named(*(f"{name} bias weight" for name in CONVOLUTIONS + SKIPS)),
]
DISCRIMINATOR_VECTORS = [*FIRST, *ATTENTION, *CONVOLUTIONS, *SKIPS]


def load_vectors(network, u, v, names):
    """Give spectrally normalised layers the vectors of the original's power iterations."""
    layers = [network.get_submodule(name) for name in names]
    assert all(isinstance(layer, SpectralConv) for layer in layers)
    for attribute, numbers in (("u", u), ("v", v)):
        parts = numbers.split([getattr(layer, attribute).numel() for layer in layers])
        for layer, part in zip(layers, parts, strict=True):
            getattr(layer, attribute).copy_(part)


@pytest.mark.parametrize("regions", [2, 3])
def test_masks_are_those_of_redo(regions):
    g = golden("redo_masks")
    network = MaskNetwork(64, regions, 8, stream(0), 0.8, halvings=2).double()
    load(network, g[f"weights_{regions}"], MASKS)
    images = enlarged(2 * g["images"] - 1, 4)
    exact(network(images)[:, :, 0, ::6, 1::6].detach(), g[f"masks_{regions}"])


def test_a_painted_region_is_that_of_redo():
    g = golden("redo_generator")
    network = RegionGenerator(128, 2, 3, stream(0), 0.8).double()
    load(network, g["weights"], GENERATOR)
    load_vectors(network, g["u"], g["v"], GENERATOR_VECTORS)
    masks = enlarged(g["masks"])
    painted = (network(masks, g["noise"]) * masks).detach()
    exact(painted[..., ::16, ::8], g["painted"])
    exact(painted.mean((2, 3)), g["mean"])


def test_scores_and_recovered_noise_are_those_of_redo():
    g = golden("redo_discriminator")
    images = enlarged(2 * g["images"] - 1)
    network = ResidualDiscriminator(128, 2, 1, True, stream(0), 0.8).double()
    load(network, g["weights"], DISCRIMINATOR)
    load_vectors(network, g["u"], g["v"], DISCRIMINATOR_VECTORS)
    exact(network(images)[:, 0].detach(), g["scores"])
    # The encoder of the noise: the same numbers, no attention, five outputs.
    encoder = ResidualDiscriminator(128, 2, 5, False, stream(0), 0.8).double()
    shared = {name: value for name, value in network.state_dict().items() if not name.startswith(("attention", "last"))}
    encoder.load_state_dict(shared, strict=False)
    load(encoder.last, g["encoder_last"], ["weight", "bias"])
    exact(encoder(images).detach(), g["recovered"])


@pytest.mark.parametrize("seed", [11, 1])
def test_redrawn_images_and_losses_are_those_of_a_step_of_redo(seed, monkeypatch):
    """The players' own turns, with what the networks said there put into the networks' mouths."""
    g = {key.split("/")[1]: value for key, value in golden("redo_step").items() if key.startswith(f"{seed}/")}
    model = ReDO(
        ReDOConfig(image_size=(16, 16), mask_width=4, generator_width=1, discriminator_width=16, noise_width=3, batch=2)
    )
    masks, photos = g["mEnc"][:, :, None], (g["xData"] + 1) / 2
    model.regions = lambda images: masks
    model.paint = lambda masks, noise: (g["hGen"] / masks + 1) / 2
    model.recover = lambda masks, painted: g["zRec"]
    model.discriminate = lambda shown: g["dGen"]
    model.update_monitor = lambda masks, context: None
    monkeypatch.setattr(torch, "randn", lambda *shape, generator: g["zData"])
    context = StepContext("adversary", 0, 100, slice(0, 4), 4)
    images = torch.stack([photos, (g["xReal"] + 1) / 2], 1).flatten(0, 1)
    terms = redo.RedrawPlayer(model).turn(images, stream(0), context)
    exact(2 * context.values["fakes"] - 1, g["xGen"])
    exact(terms["noise"], 5 * g["err_recZ"])
    exact(terms["adversary"] + terms["noise"], g["lossG"])

    model.discriminate = lambda shown: torch.cat([g["dPosX"], g["dNegX"]])
    terms = redo.Discriminator(model).turn(images, stream(0), context)
    exact(terms["real"], -g["err_dPosX"])
    exact(terms["fake"], -g["err_dNegX"])


# --- PerturbGAN -------------------------------------------------------------------------------------------------------


def scene_of(g):
    """Background, foreground and mask."""
    alpha = torch.sigmoid(g["logits"])
    return Layers(
        torch.stack([g["background"], g["foreground"]], 1),
        torch.stack([torch.ones_like(alpha), alpha], 1),
        background=True,
    )


def test_perturbed_scenes_composite_as_in_perturbgan():
    g = golden("perturbgan_composites")
    scene = scene_of(g)
    shifted = shift_foreground(scene, g["offset"].long())
    exact(shifted.rgb[:, 1], g["moved_foreground"])
    exact(shifted.alpha[:, 1], g["moved_mask"])
    exact(composite(shifted), g["composite"])
    exact(contrast(scene, 0, g["factor"]).rgb[:, 0], g["contrast"])
    exact(contrast(scene, 0, g["factor"]).rgb[:, 1], scene.rgb[:, 1])


def test_mask_losses_are_those_of_perturbgan():
    g = golden("perturbgan_mask_losses")
    for least, expected in zip(g["least"].tolist(), g["coverage"], strict=True):
        exact(coverage(g["masks"], least), expected)
    exact(binarization(g["masks"]), g["nearness"])
    exact(2 * coverage(g["masks"], 0.25) + 2 * binarization(g["masks"]), g["total"])


class Judge(torch.nn.Module):
    """The discriminator that the authors' training loop was given."""

    def __init__(self, inner, outer):
        super().__init__()
        self.inner, self.outer = torch.nn.Parameter(inner), torch.nn.Parameter(outer)

    def forward(self, images, level, fade):
        return torch.tanh(images.flatten(1) @ self.inner) @ self.outer


@pytest.fixture
def step(monkeypatch):
    """A model whose generator paints the golden scene, and whose dice fall as they did in the authors' training loop."""
    g = golden("perturbgan_step")
    config = PerturbGANConfig(
        image_size=(8, 8), noise_width=4, mapping_depth=1, width=2, max_channels=2, mixing=0.0, shift=0.25, contrast=0.3,
        loss="wgan-gp", penalty_weight=10.0, drift=1e-3, mask_loss="published", area_weight=2.0, binary_weight=2.0,
        ramp_steps=0, min_area=0.3, segmenter_steps=0, batch=2,
    )  # fmt: skip
    model = PerturbGAN(config).double()
    scene = {name: g[name].clone().requires_grad_() for name in ("background", "foreground", "logits")}
    model.paint = lambda noise, grown: (scene_of(scene), [])
    discriminate = model.discriminator = Judge(g["a"], g["b"])
    model.score = lambda images, grown, halves=1: discriminate(images, None, None)

    def rolled(*names):
        falls = iter(names)
        monkeypatch.setattr(torch, "rand", lambda *shape, generator: g[next(falls)].view(shape))

    return g, model, scene, rolled, StepContext("layers", 0, 100, slice(0, 2), 2)


def test_the_discriminators_turn_is_that_of_perturbgan(step):
    g, model, _, rolled, context = step
    rolled("d_shift", "d_contrast", "share")
    terms = perturbgan.Discriminator(model).turn(g["real"], stream(0), context)
    exact(terms["real"].detach(), g["lossD_real"])
    exact(terms["fake"].detach(), g["lossD_fake"])
    exact(terms["penalty"].detach(), g["grad_penalty"])
    inner, outer = torch.autograd.grad(sum(terms.values()), list(model.discriminator.parameters()))
    exact(inner, g["gradient_a"])
    exact(outer, g["gradient_b"])


def test_the_painters_turn_is_that_of_perturbgan(step):
    g, model, scene, rolled, context = step
    rolled("g_shift", "g_contrast")
    terms = perturbgan.GeneratorPlayer(model).turn(g["real"], stream(0), context)
    exact(terms["adversary"].detach(), g["lossG_fake"])
    exact(terms["area"].detach(), 2 * g["min_mask_loss"])
    exact(terms["binary"].detach(), 2 * g["bin_loss"])
    exact(sum(terms.values()).detach(), g["lossG"])
    for name, gradient in zip(scene, torch.autograd.grad(sum(terms.values()), list(scene.values())), strict=True):
        exact(gradient, g[f"gradient_{name}"])


STYLED = "noise style.bias style.weight"


def level(index):
    """A level of a generator; the first has no convolution before its first half."""
    block = f"blocks.{index}"
    first = [f"{block}.conv_1 bias weight"] if index else []
    return named(*first, f"{block}.styled_1 {STYLED}", f"{block}.conv_2 bias weight", f"{block}.styled_2 {STYLED}")


LEVELS = ["start", *level(0), *level(1), *level(2)]
HEADS = named(*(f"heads.{index} bias weight" for index in range(3)))
SCORES = named(
    "blocks.1.conv_1 bias weight", "blocks.1.conv_2 bias weight", "blocks.0.conv_1 bias weight",
    "blocks.0.conv_2 bias weight", "conv bias weight", "dense bias weight", "stems.2 bias weight", "stems.1 bias weight",
    "stems.0 bias weight", "last bias weight",
)  # fmt: skip


def synthesis(g, outputs=3):
    network = Synthesis(16, outputs, 3, 6, 5, True, stream(0)).double()
    heads = g["heads_weights"] if outputs == 3 else g["outputs_weights"]
    load(network, torch.cat([g["generator_weights"], heads]), LEVELS + HEADS)
    # One map for both halves of a block there, one for each here.
    return network, [g[f"noise_{index}"].expand(-1, 2, -1, -1) for index in range(3)]


def test_bricks_of_style_networks_are_those_of_perturbgan():
    g = golden("perturbgan_networks")
    exact(pixel_norm(g["z"]), g["unit"])
    mapping = Mapping(6, 3, stream(0)).double()
    load(mapping, g["mapping_weights"], named(*(f"layers.{index} bias weight" for index in range(3))))
    exact(mapping(g["z"]).detach(), g["styles"])
    conv = EqualizedConv(3, 4, 3, stream(0)).double()
    load(conv, g["conv_weights"], ["bias", "weight"])
    exact(conv(g["x"]).detach(), g["conv"])
    exact(conv(g["x"], "up").detach(), g["doubled"])
    exact(conv(g["x"][..., :4], "down").detach(), g["fused_halved"])
    exact(blur(g["x"]), g["blur"])
    # Departs: from 128 pixels on the original doubles and convolves in one go, a quarter as strongly.
    quarter = convolve(g["x"][..., :4], conv.weight * conv.scale / 4, conv.bias, "up")
    exact(quarter.detach(), g["fused_doubled"])


def test_pictures_painted_from_styles_are_those_of_perturbgan():
    g = golden("perturbgan_networks")
    network, noise = synthesis(g)
    first, second = g["generator_styles"]
    same = first[:, None].expand(-1, 3, -1)
    with torch.no_grad():
        exact(network(same, noise)[..., ::2, ::2], g["painted"])
        exact(network(same, noise, 2, 0.25)[..., ::2, ::2], g["painted_fading"])
        exact(network(same[:, :2], noise[:2], 1), g["painted_small"])
        mixture = mixed(first, second, torch.tensor([False, True, True]))
        exact(network(mixture, noise)[..., ::2, ::2], g["painted_mixed"])


def test_masks_painted_beside_a_foreground_are_those_of_perturbgan():
    g = golden("perturbgan_networks")
    network, noise = synthesis(g, outputs=4)
    with torch.no_grad():
        exact(network(g["generator_styles"][1][:, None].expand(-1, 3, -1), noise)[:, 3:, ::2, ::2], g["painted_logits"])


def test_scores_of_pictures_are_those_of_perturbgan():
    g = golden("perturbgan_networks")
    network = StyleDiscriminator(16, 3, 6, True, stream(0)).double()
    load(network, g["discriminator_weights"], SCORES)
    images = 2 * g["images"] - 1
    with torch.no_grad():
        exact(network(images), g["scores"])
        exact(network(images, 2, 0.25), g["scores_fading"])
        exact(network(images[..., ::2, ::2], 1), g["scores_small"])
        exact(network.features(images), g["features"])
