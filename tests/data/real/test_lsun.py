import importlib
import io

import pytest
from PIL import Image

from delaminate.data import ImageSet, open_data
from delaminate.data.real.lsun import load_lsun
from delaminate.errors import DataError, MissingExtra


def database(path, values):
    lmdb = pytest.importorskip("lmdb", reason="lmdb is not installed (extra bench)")
    with lmdb.open(str(path), map_size=2**22) as environment, environment.begin(write=True) as transaction:
        for key, value in values.items():
            transaction.put(key, value)
    return path


def encoded(level, size=(24, 12)):
    stream = io.BytesIO()
    Image.new("RGB", size, (level,) * 3).save(stream, format="WEBP", lossless=True)
    return stream.getvalue()


def test_databases_of_encoded_images_are_read_in_the_order_of_their_keys(tmp_path):
    path = database(tmp_path / "car", {b"b": encoded(20), b"a": encoded(10, (30, 30)), b"bad": b"x", b"c": encoded(30)})
    found = load_lsun(path, (8, 8))
    assert found.images.names == ("a", "b", "c")
    assert found.images.pixels[:, 1, 3, 3].tolist() == [10, 20, 30]
    assert found.images.skipped[0][0] == "bad"
    assert found.images.canvas_maps[1].original == (12, 24)
    assert found.labels.instances is None
    assert load_lsun(path / "data.mdb", (8, 8), limit=2).images.names == ("a", "b")
    assert len(open_data(path, count=1)) == 1
    assert isinstance(open_data(path, size=(8, 8), labels=False), ImageSet)
    with pytest.raises(DataError, match="several sizes"):
        open_data(path)


def test_more_images_than_memory_may_hold_ask_for_a_limit(monkeypatch, tmp_path):
    monkeypatch.setattr("delaminate.data.real.lsun.MAX_CACHE_BYTES", 2 * 8 * 8 * 3)
    path = database(tmp_path / "car", {name: encoded(10) for name in (b"a", b"b", b"c")})
    assert len(load_lsun(path, (8, 8), limit=2)) == 2
    with pytest.raises(DataError, match="give a limit"):
        load_lsun(path, (8, 8))


def test_databases_of_something_else_are_refused(tmp_path):
    path = database(tmp_path / "text", {b"a": b"no image"})
    with pytest.raises(DataError, match="none of its 1 values is an image"):
        load_lsun(path)
    with pytest.raises(DataError, match=r"expected a folder with data\.mdb"):
        load_lsun(tmp_path)
    (tmp_path / "data.mdb").write_bytes(b"no database" * 1000)
    with pytest.raises(DataError, match="cannot be read as LMDB"):
        load_lsun(tmp_path)


def test_lmdb_without_its_package_names_the_extra(monkeypatch, tmp_path):
    def refuse(name, *rest):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", refuse)
    with pytest.raises(MissingExtra, match=r"\.\[bench\]"):
        load_lsun(tmp_path)
