import sys

import numpy as np
import pytest
from helpers.exports import clip, composite, over, scenes

from delaminate.errors import MissingExtra, OutputError
from delaminate.exporters.photoshop import write_psd

psd_tools = pytest.importorskip("psd_tools")


def flatten_layers(document):
    """Composite the layers that psd-tools finds."""
    canvas = np.zeros((document.height, document.width, 3))
    for layer in document:
        if layer.visible:
            over(canvas, np.asarray(layer.topil()), layer.left, layer.top, layer.opacity / 255)
    return canvas


@pytest.mark.parametrize("shown", [clip(3), clip(2, False), scenes(), scenes(False)], ids=["clip", "bare", "a", "b"])
def test_the_layers_composite_to_the_scene_within_the_recorded_error(tmp_path, shown):
    result = write_psd(shown, tmp_path)
    assert result.max_error < 0.01
    worst = 0.0
    for scene, path in zip(shown, result.files, strict=True):
        document = psd_tools.PSDImage.open(path)
        assert (document.pil_mode, document.size) == ("RGBA", scene.size[::-1])
        worst = max(worst, np.abs(flatten_layers(document) - composite(scene)).max())
        if scene.background:
            # The library's own composite, rounded to 8 bits.
            picture = np.asarray(document.composite(force=True).convert("RGB")) / 255
            assert np.abs(picture - composite(scene)).max() < 0.01 if scene.layers else not picture.any()
    assert worst == pytest.approx(result.max_error, abs=1e-9)


def test_layers_are_named_and_lie_at_their_offset(tmp_path):
    document = psd_tools.PSDImage.open(write_psd(scenes(), tmp_path).files[2])
    names = [layer.name for layer in document]
    assert names[:2] == ["background-0 [background]", "<b>&'\" ü [layer-01]"]
    assert [layer.visible for layer in document] == [True, True, False, True, True, True]
    assert document[2].opacity == 153
    assert document[4].offset == (3, 3)


def test_without_its_library_and_above_its_size_the_format_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("delaminate.exporters.photoshop.LARGEST_SIDE", 20)
    with pytest.raises(OutputError, match="up to 20 pixels"):
        write_psd(scenes(), tmp_path)
    monkeypatch.setitem(sys.modules, "psd_tools", None)
    with pytest.raises(MissingExtra, match=r"\.\[export\]"):
        write_psd(scenes(), tmp_path)
    assert not list(tmp_path.iterdir())
