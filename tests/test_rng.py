import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from delaminate.rng import numpy_stream, stream

keys = st.lists(st.integers(-5, 5) | st.sampled_from(["search", "refine", "1"]), max_size=4).map(tuple)


@given(keys)
def test_the_same_key_gives_the_same_numbers(key):
    assert torch.equal(torch.rand(4, generator=stream(*key)), torch.rand(4, generator=stream(*key)))
    assert (numpy_stream(*key).random(4) == numpy_stream(*key).random(4)).all()


@given(keys, keys)
def test_different_keys_give_different_numbers(one, other):
    same = torch.equal(torch.rand(4, generator=stream(*one)), torch.rand(4, generator=stream(*other)))
    assert same == (one == other)


def test_a_number_and_its_digits_are_different_keys():
    assert not torch.equal(torch.rand(4, generator=stream(1)), torch.rand(4, generator=stream("1")))


def test_streams_are_the_same_on_every_machine():
    assert int(torch.randint(0, 1000, (1,), generator=stream(0, "refine", 7))) == 767
    assert numpy_stream("tetrominoes", "train", 0, 0).integers(0, 1000, 3).tolist() == [425, 355, 851]


def test_global_random_state_is_not_touched():
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    torch.rand(3, generator=stream("anything"))
    numpy_stream("anything").random(3)
    assert torch.equal(torch_before, torch.get_rng_state())
    assert (numpy_before == np.random.get_state()[1]).all()
