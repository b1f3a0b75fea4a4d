"""Models side by side: what differs, and the same images."""

import json
from dataclasses import replace

import numpy as np
import pytest

from delaminate.errors import ConfigError
from delaminate.methods import METHODS, load_model
from delaminate.methods.storage import save_model
from delaminate.pipelines.comparing import compare
from delaminate.pipelines.provenance import read_provenance, write_provenance


@pytest.fixture
def others(model, tmp_path):
    """Two folders of one name, whose models differ in one setting."""
    method = load_model(model)
    paths = [tmp_path / name / "model" for name in ("one", "two")]
    for path, rate in zip(paths, (0.5, 0.25), strict=True):
        other = METHODS[method.name](replace(method.config, learning_rate=rate))
        other.load_state_dict(method.state_dict())
        save_model(other, path)
    return paths


def test_what_differs_is_told_and_nothing_else(others):
    found = compare(others)
    assert found.names == ("one/model", "two/model")
    assert found.settings == {"learning_rate": (0.5, 0.25)}
    assert found.figures == {}
    assert found.page is None


def test_the_same_images_stand_side_by_side(others, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (3, 35, 35, 3), dtype=np.uint8)
    write_provenance(others[0], {"seed": 7})
    assert read_provenance(others[0]) == {"seed": 7}
    found = compare(others, images, count=2, out=tmp_path / "side")
    assert found.provenance["seed"] == (7, None)
    psnr = found.figures["psnr"]
    assert psnr[0] == psnr[1]  # they are the same but for a setting of training
    assert len(psnr[0]) == 2
    text = found.page.read_text()
    assert text.count("one/model: rebuilt") == 2 * 2  # as alternative text and caption
    document = json.loads((tmp_path / "side" / "comparison.json").read_text())
    assert document["settings"] == {"learning_rate": [0.5, 0.25]}


def test_one_model_is_refused(others):
    with pytest.raises(ConfigError, match="1 models; expected 2 to 8"):
        compare(others[:1])


def test_the_command_prints_what_differs(others, command):
    code, out, _ = command("compare", *others)
    assert code == 0
    assert "learning_rate" in out
    assert "0.25" in out
