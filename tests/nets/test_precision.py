from dataclasses import replace

import pytest
import torch

from delaminate.engine import train
from delaminate.methods.redo import PRESETS, ReDO
from delaminate.nets import precision

CPU = torch.device("cpu")


class Callback:
    def __init__(self):
        self.notes = []

    def __getattr__(self, name):
        return lambda *rest: self.notes.append(rest[0]) if name == "note" else None


@pytest.mark.parametrize(("asked", "there"), [(False, False), (False, True), (True, False), (True, True)])
def test_networks_compute_in_bfloat16_where_that_is_asked_for_and_there(monkeypatch, asked, there):
    monkeypatch.setattr(precision, "has_bfloat16", lambda kind: there)
    with precision.precision(CPU, asked):
        found = torch.ones(2, 2) @ torch.ones(2, 2)
    assert found.dtype == (torch.bfloat16 if asked and there else torch.float32)


@pytest.mark.parametrize("there", [False, True])
def test_training_says_that_a_device_lacks_units_for_it(monkeypatch, there):
    monkeypatch.setattr("delaminate.methods.base.has_bfloat16", lambda kind: there)
    config = replace(
        PRESETS["photos"], image_size=(16, 16), mask_width=8, generator_width=2, discriminator_width=16, noise_width=4, batch=2,
        steps=1, distil_steps=0, augment_below=0, bf16=True,
    )  # fmt: skip
    heard = Callback()
    train(ReDO(config), torch.randint(256, (4, 3, 16, 16), dtype=torch.uint8), callback=heard)
    assert any(note.startswith("bf16: this device has no units") for note in heard.notes) is not there


def test_a_cpu_has_units_where_it_multiplies_matrices_or_dots_of_them(monkeypatch):
    for tile in (False, True):
        for dots in (False, True):
            precision.has_bfloat16.cache_clear()
            monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda tile=tile: tile)
            monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda dots=dots: dots)
            assert precision.has_bfloat16("cpu") is (tile or dots)
    precision.has_bfloat16.cache_clear()
