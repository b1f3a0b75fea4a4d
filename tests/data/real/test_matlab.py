"""Matrices of MATLAB files are those that SciPy writes and reads."""

import numpy as np
import pytest
from scipy.io import savemat

from delaminate.data.real.matlab import read_matrices
from delaminate.errors import DataError

TYPES = ("f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")


@pytest.mark.parametrize("packed", [False, True])
def test_matrices_of_every_type_and_shape_are_read_as_they_were_written(packed, tmp_path):
    rng = np.random.default_rng(0)
    shapes = ((3, 4), (1, 1), (5, 1), (2, 3, 4), (0, 2), (32, 32, 3, 2))
    written = {
        f"{kind}_{'x'.join(map(str, shape))}": rng.integers(0, 100, shape).astype(kind)
        for kind in TYPES
        for shape in shapes
    }
    savemat(tmp_path / "a.mat", {**written, "text": "words", "cell": {"a": 1}}, do_compression=packed)
    found = read_matrices(tmp_path / "a.mat")
    assert found.keys() == written.keys()
    for name, values in written.items():
        assert found[name].dtype == values.dtype
        assert (found[name] == values).all() and found[name].shape == values.shape


def test_what_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("delaminate.data.real.matlab.LARGEST", 1000)
    savemat(tmp_path / "a.mat", {"X": np.zeros((100, 100))}, do_compression=True)
    with pytest.raises(DataError, match="unpacks to more than 1,000 bytes"):
        read_matrices(tmp_path / "a.mat")


def test_other_levels_are_refused(tmp_path):
    savemat(tmp_path / "old.mat", {"X": np.zeros((2, 2))}, format="4")
    (tmp_path / "none.mat").write_bytes(b"none")
    for name in ("old.mat", "none.mat"):
        with pytest.raises(DataError, match="no MATLAB file of level 5"):
            read_matrices(tmp_path / name)
