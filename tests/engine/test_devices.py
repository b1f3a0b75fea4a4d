"""What another device computes is what a CPU computes; runs and models go from one to the other.

Where there is no GPU, another device is played by `elsewhere`, whose tensors are the CPU's but do not meet them.
"""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import pytest
import torch
from helpers.elsewhere import POSSIBLE, elsewhere
from helpers.processes import CONTEXT
from helpers.tiny import CONFIGS, SELDOM, model, pixels, total_steps
from torch.testing import assert_close

from delaminate.engine import Budget, train
from delaminate.methods import load_model
from delaminate.nets.precision import has_bfloat16
from delaminate.rng import stream

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

SOLID = CONFIGS["anchors"]
SEARCHED = replace(
    SOLID, image_size=(24, 20), code_width=32, background_images=1, search_steps=1, search_batch=8, max_sprite=16, flips=False,
    recolours=False, distil_steps=3, distil_batch=4, steps=2,
)  # fmt: skip
EVERY = CONFIGS | {
    "adversary": replace(CONFIGS["adversary"], refine_weight=3.0, distil_steps=2),
    "marionette, scrolled": replace(SOLID, background="learned", background_size=(1, 2), regularizer="paper"),
    "marionette, searched": SEARCHED,
}


def fresh(name, **changes):
    return model(replace(EVERY[name], **changes))


def images_of(name):
    """What the tiny trainings see; a search needs a sprite that comes again."""
    if name != "marionette, searched":
        return pixels(12)
    rng = stream("cuda")
    images = torch.full((12, 3, 24, 20), 40, dtype=torch.uint8)
    sprite = torch.randint(80, 256, (3, 8, 8), generator=rng, dtype=torch.uint8)
    for image in images:
        top, left = (int(torch.randint(most, (1,), generator=rng)) for most in (16, 12))
        image[:, top : top + 8, left : left + 8] = sprite
    return images


def assert_same_weights(found, wanted):
    for key, value in wanted.state_dict().items():
        assert_close(found.state_dict()[key].cpu(), value, rtol=0, atol=1e-6, msg=lambda text: f"{key}: {text}")


def assert_ends_where_a_cpu_ends(name, device, out=None):
    here, there = fresh(name).double(), fresh(name).double()
    train(here, images_of(name), seed=3, intervals=SELDOM)
    train(there, images_of(name), out, seed=3, intervals=SELDOM, device=device)
    assert_same_weights(there, here)
    images = images_of(name)[:4].double() / 255
    for by in here.decomposers:
        wanted, found = here.decompose(images, by=by).layers(), there.decompose(images.to(device), by=by).layers()
        assert_close(found.rgb, wanted.rgb, rtol=0, atol=1e-5)
        assert_close(found.alpha, wanted.alpha, rtol=0, atol=1e-5)


def meet():
    with elsewhere():
        here, there = torch.ones(3), torch.ones(3, device="elsewhere")
        for meeting in (
            lambda: here + there,
            lambda: here.mul_(there),
            lambda: torch.cat([here, there]),
            lambda: torch.stack([torch.tensor(1.0), there[0]]),
            lambda: here[there.long()],
            lambda: torch.rand(3, generator=stream(0), device="elsewhere"),
            lambda: there.normal_(generator=stream(0)),
            lambda: torch.multinomial(there, 1, generator=stream(0)),
            there.numpy,
        ):
            with pytest.raises(RuntimeError, match=r"on one device|draws nothing|not supported"):
                meeting()
        assert (here + there.cpu()).tolist() == [2, 2, 2]
        # What a GPU takes: numbers, and indices of the CPU.
        assert there[torch.tensor([0])].mul(torch.tensor(3.0)).device == there.device


def train_elsewhere(name):
    torch.set_num_threads(1)
    with elsewhere():
        assert_ends_where_a_cpu_ends(name, "elsewhere")


needs_another = pytest.mark.skipif(not POSSIBLE, reason="needs a torch that takes devices written in Python")


def apart(function, *arguments):
    """Call it in a process of its own: once torch has gone backwards, it takes no device that it did not know."""
    with ProcessPoolExecutor(1, CONTEXT) as pool:
        pool.submit(function, *arguments).result()


@needs_another
def test_tensors_here_and_elsewhere_do_not_meet():
    apart(meet)


@needs_another
@pytest.mark.parametrize("name", EVERY)
def test_no_tensor_is_left_behind_on_the_cpu(name):
    apart(train_elsewhere, name)


@needs_gpu
@pytest.mark.parametrize("name", EVERY)
def test_a_gpu_ends_where_a_cpu_ends(name, tmp_path):
    assert_ends_where_a_cpu_ends(name, "cuda", tmp_path)


@needs_gpu
@pytest.mark.parametrize(("first", "second"), [("cuda", "cpu"), ("cpu", "cuda")])
@pytest.mark.parametrize("name", EVERY)
def test_a_run_goes_on_on_another_device(name, first, second, tmp_path):
    whole, parts = fresh(name).double(), fresh(name).double()
    train(whole, images_of(name), seed=3, intervals=SELDOM)
    half = Budget(steps=total_steps(EVERY[name]) // 2)
    train(parts, images_of(name), tmp_path, seed=3, intervals=SELDOM, device=first, budget=half)
    parts = fresh(name).double()
    train(parts, images_of(name), tmp_path, seed=3, intervals=SELDOM, device=second, resume=True)
    assert_same_weights(parts, whole)


@pytest.mark.skipif(not has_bfloat16("cuda"), reason="needs a GPU with units for bfloat16")
@pytest.mark.parametrize("name", EVERY)
def test_networks_train_in_bfloat16_and_what_is_stored_opens_on_a_cpu(name, tmp_path):
    there = fresh(name, bf16=True)
    assert train(there, images_of(name), tmp_path, seed=3, intervals=SELDOM, device="cuda").finished
    assert all(bool(torch.isfinite(value).all()) for value in there.parameters())
    opened = load_model(tmp_path / "model")
    if opened.decomposers:
        assert len(opened.decompose(images_of(name)[:2] / 255)) == 2


@needs_gpu
def test_auto_means_the_gpu():
    from delaminate.pipelines.devices import pick_device

    assert pick_device("auto") == "cuda"
