"""FID by a network that is brought."""

import numpy as np
import pytest
import torch

from delaminate.errors import FormatError
from delaminate.metrics.features import Features, fid
from delaminate.metrics.images import frechet_distance
from delaminate.rng import stream


def field(number, value):
    """One field of a protocol buffer: a number, text, or another message."""
    if isinstance(value, int):
        return bytes([number << 3]) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return bytes([number << 3 | 2]) + varint(len(data)) + data


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def port(name, shape):
    dims = b"".join(field(1, field(2, n) if isinstance(n, str) else field(1, n)) for n in shape)
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, dims)))


def network(path, kind="GlobalAveragePool", channels=3, side="s", batch="b"):
    """Write a network of one layer in ONNX form."""
    node = field(1, "x") + field(2, "y") + field(4, kind)
    ports = field(11, port("x", (batch, channels, side, side)))
    ports += field(12, port("y", (batch, channels, "h", "w")))
    path.write_bytes(field(1, 8) + field(8, field(2, 13)) + field(7, field(1, node) + field(2, "g") + ports))
    return path


def images(count, seed=0):
    return torch.rand(count, 3, 8, 8, generator=stream("features", seed))


def test_fid_is_the_distance_of_the_networks_features(tmp_path):
    features = Features(network(tmp_path / "a.onnx"))
    one, two = images(30), images(40, 1) * 0.5
    np.testing.assert_allclose(features(one), one.mean((2, 3)), atol=1e-6)
    expected = frechet_distance(one.mean((2, 3)), two.mean((2, 3)))
    assert fid(features, one.split(7), two.split(16)) == pytest.approx(expected, rel=1e-4)
    assert fid(features, one.split(7), one.split(30)) == pytest.approx(0, abs=1e-6)
    assert len(features.digest) == 64


def test_images_are_brought_to_the_size_of_the_network(tmp_path):
    features = Features(network(tmp_path / "a.onnx", side=4))
    np.testing.assert_allclose(features(images(3)), images(3).mean((2, 3)), atol=0.02)


def test_what_is_no_network_of_images_is_refused(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    for path in (tmp_path / "a.onnx", tmp_path / "none.onnx"):
        with pytest.raises(FormatError, match=r"cannot be used as a network in ONNX form|no such file"):
            Features(path)
    with pytest.raises(FormatError, match=r"expected floats \(B, 3, H, W\)"):
        Features(network(tmp_path / "b.onnx", channels=4))
    with pytest.raises(FormatError, match=r"its output is \(2, 3, 8, 8\); expected \(2, D\)"):
        Features(network(tmp_path / "c.onnx", kind="Relu"))(images(2))
    with pytest.raises(FormatError, match="takes 1 images at a time and no other number"):
        Features(network(tmp_path / "d.onnx", batch=1))
    features = Features(network(tmp_path / "e.onnx"))
    with pytest.raises(FormatError, match=r"cannot take \(2, 4, 8, 8\) images"):
        features(torch.zeros(2, 4, 8, 8))
