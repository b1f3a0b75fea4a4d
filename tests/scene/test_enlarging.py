import pytest
import torch
from helpers.exports import clip, decomposition

from delaminate.errors import ConfigError
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.enlarging import enlarged
from delaminate.scene.placements import Dictionary, Placement, Transform


def test_every_pixel_becomes_a_block():
    shown = clip()
    still = [scene for scene in shown for _ in (0,)]
    whole = Decomposition(
        shown[0].dictionary,
        tuple(tuple(p for p in scene.visible_placements if p.entry != 5) for scene in still),
        shown[0].size,
        True,
    ).scenes()
    large = enlarged(whole, 3)
    assert [scene.name for scene in large] == [scene.name for scene in whole]
    for one, other in zip(whole[:-1], large[:-1], strict=True):
        assert other.size == (3 * one.size[0], 3 * one.size[1])
        blocks = one.composite().repeat_interleave(3, 1).repeat_interleave(3, 2)
        assert torch.equal(other.composite(), blocks)


def test_rasters_of_their_own_are_enlarged_and_once_is_as_it_was():
    shown = decomposition().scenes()
    assert enlarged(shown, 1) is shown
    large = enlarged(shown, 2)[0]
    (own,) = [layer.placement for layer in large.layers if layer.placement.raster is not None]
    assert own.raster.shape == (4, 12, 8)
    assert enlarged([], 4) == []


def test_warps_and_scales_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="from 1 to 64"):
        enlarged(clip(), 0)
    with pytest.raises(ConfigError, match="from 1 to 64"):
        enlarged(clip(), 65)
    warp = Transform("thin_plate_spline", (0.0,) * 32, (8, 8))
    place = Placement(0, (warp,))
    (scene,) = Decomposition(Dictionary((torch.ones(4, 8, 8),)), ((place,),), (8, 8)).scenes()
    with pytest.raises(ConfigError, match="kind thin_plate_spline"):
        enlarged([scene], 2)[0]
