import io
import random
import struct

import lmdb
import pytest
from PIL import Image

from delaminate.data import ImageSet, open_data
from delaminate.data.real.lmdb import read_values
from delaminate.data.real.lsun import load_lsun
from delaminate.errors import DataError


def database(path, values):
    with lmdb.open(str(path), map_size=2**25) as environment, environment.begin(write=True) as transaction:
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
    with pytest.raises(DataError, match=r"data\.mdb: no LMDB database"):
        load_lsun(tmp_path)


@pytest.mark.parametrize("count", [0, 1, 7, 900])
def test_values_are_those_that_the_library_of_the_format_reads(count, tmp_path):
    draw = random.Random(count)
    values = {
        draw.randbytes(draw.randrange(1, 300)): draw.randbytes(draw.choice((0, 5, 300, 5000))) for _ in range(count)
    }
    path = database(tmp_path / "some", values)
    with lmdb.open(str(path), map_size=2**25) as environment:
        with environment.begin(write=True) as transaction:  # pages that are free again, and a second root
            for key in sorted(values)[::3]:
                transaction.delete(key)
        with environment.begin() as transaction:
            assert list(read_values(path / "data.mdb")) == list(transaction.cursor())


def test_a_database_that_leads_in_a_circle_is_refused(tmp_path):
    path = database(tmp_path / "some", {f"{index:060d}".encode(): bytes(200) for index in range(200)}) / "data.mdb"
    content = bytearray(path.read_bytes())
    (root,) = struct.unpack_from("<Q", content, 4096 + 128)
    (place,) = struct.unpack_from("<H", content, 4096 * root + 16)
    struct.pack_into("<HHH", content, 4096 * root + place, root, 0, 0)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"data\.mdb: damaged: page \d+ comes twice"):
        list(load_lsun(path))
