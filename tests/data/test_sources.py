"""Archives and remote places: images and labels one by one, whatever is wrong with some of them."""

import io
import struct
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from helpers.archives import labels, members, pictures, table, write_tar, write_zip

from delaminate.data import LabelledSet, load_folder, open_data
from delaminate.data.places import SCHEMES, is_address
from delaminate.data.sources import Source
from delaminate.errors import DataError, MissingExtra
from delaminate.files import png_bytes


def stacked(images):
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def parquet(path, content, **how):
    pq = pytest.importorskip("pyarrow.parquet")
    pq.write_table(content, path, **how)
    return path


def arrow(path, content, stream):
    pa = pytest.importorskip("pyarrow")
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(str(path), content.schema) as writer:
        writer.write_table(content, max_chunksize=2)
    return path


@pytest.mark.parametrize("kind", ["tar", "zip", "parquet", "arrow", "stream"])
def test_archives_give_images_and_labels_in_their_order(kind, tmp_path):
    images, masks, classes = pictures(5), labels(5), [3, 0, 1, 1, 2]
    place = tmp_path / f"set.{'arrow' if kind == 'stream' else kind}"
    if kind in ("tar", "zip"):
        (write_tar if kind == "tar" else write_zip)(place, members(images, masks, classes))
    else:
        pytest.importorskip("pyarrow")
        content = table(images, masks, classes, [f"{index:04d}" for index in range(5)])
        if kind == "parquet":
            parquet(place, content, row_group_size=2)
        else:
            arrow(place, content, kind == "stream")
    found = open_data(place)
    assert isinstance(found, LabelledSet)
    assert found.images.names == ("0000", "0001", "0002", "0003", "0004")
    assert torch.equal(found.images.pixels, stacked(images))
    assert torch.equal(found.labels.instances.long(), torch.from_numpy(np.stack(masks)).long())
    assert found.labels.instances.element_size() == 1
    assert found.labels.image_classes.tolist() == classes
    assert found.images.skipped == ()
    # Without labels, and by any number.
    assert torch.equal(open_data(place, labels=False, count=3).pixels, stacked(images[:3]))
    assert np.array_equal(Source(place).picture(3), images[3])


def test_a_folder_of_shards_is_one_set_whose_names_never_meet(tmp_path):
    first, second = pictures(3), pictures(2, seed=1)
    write_tar(tmp_path / "shard-10.tar", members(second))
    write_tar(tmp_path / "shard-9.tar", members(first))
    found = load_folder(tmp_path)
    assert found.names == ("shard-9/0000", "shard-9/0001", "shard-9/0002", "shard-10/0000", "shard-10/0001")
    assert torch.equal(found.pixels, stacked(first + second))
    assert Source(tmp_path).full_name(3) == "shard-10/0000.png"


def test_a_labelled_folder_is_read_out_of_its_zip(tmp_path):
    images, masks = pictures(2), labels(2)
    contents = {f"photos/images/a/{index}.png": png_bytes(each) for index, each in enumerate(images)}
    contents |= {f"photos/masks/a/{index}.png": png_bytes(each) for index, each in enumerate(masks)}
    found = open_data(write_zip(tmp_path / "photos.zip", contents | {"photos/README.txt": b"hello"}), ignore=(3,))
    assert found.images.names == ("a/0", "a/1")
    expected = torch.from_numpy(np.stack(masks)).long()
    assert torch.equal(found.labels.instances.long(), torch.where(expected == 3, -1, expected))


def test_two_images_of_one_key_keep_their_whole_names(tmp_path):
    first, second = pictures(2)
    found = load_folder(write_tar(tmp_path / "a.tar", {"x.png": png_bytes(first), "x.bmp.png": png_bytes(second)}))
    assert found.names == ("x", "x.bmp.png")


def test_each_bad_member_is_one_line_and_the_rest_goes_on(tmp_path):
    good = png_bytes(pictures(1)[0])
    contents = {
        "a.png": good, "b.png": good[:40], "c.png": b"", "d.jpg": b"no image", "../../e.png": good, "/f.png": good,
        "g\n.png": good, "h.png": good, "notes.txt": b"x", ".hidden.png": good, "x\\..\\y.png": good,
    }  # fmt: skip
    place = write_tar(tmp_path / "bad.tar", contents)
    with tarfile.open(place, "a") as archive:
        link = tarfile.TarInfo("i.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        huge = tarfile.TarInfo("j.png")
        huge.size = 0
        archive.addfile(huge)
    found = load_folder(place)
    assert found.names == ("a", "h")
    reasons = dict(found.skipped)
    assert len(reasons) == len(found.skipped) == 9
    assert "link" in reasons["i.png"]
    for name in ("../../e.png", "/f.png", "g .png"):
        assert reasons[name] == "its name is no plain relative path"
    assert all("\n" not in text and str(tmp_path) not in text for text in reasons.values())
    assert [path.name for path in tmp_path.iterdir()] == ["bad.tar"]  # nothing is unpacked


def test_a_bad_label_costs_its_image_and_no_other(tmp_path):
    images, masks = pictures(4), labels(4)
    contents = members(images, masks, [0, 1, 2, 3])
    contents["0001.mask.png"] = b"broken"
    contents["0002.cls"] = b"many"
    del contents["0003.mask.png"]
    contents["0009.mask.png"] = png_bytes(masks[0])
    found = open_data(write_tar(tmp_path / "a.tar", contents))
    assert found.images.names == ("0000",)
    reasons = dict(found.images.skipped)
    assert "not an image" in reasons["0001.png"]
    assert "whole number" in reasons["0002.png"]
    assert reasons["0003.png"] == "there is no mask for this image"
    assert reasons["0009"] == "labels without an image"


def test_bombs_are_refused_before_they_are_unpacked(tmp_path, monkeypatch):
    good = png_bytes(pictures(1)[0])
    place = write_zip(tmp_path / "bomb.zip", {"a.png": good, "b.png": b"\0" * 3_000_000})
    monkeypatch.setattr("delaminate.data.archives.MOST_BYTES", 1_000_000)
    found = load_folder(place)
    assert found.names == ("a",)
    assert found.skipped == (("b.png", "claims 3,000,000 bytes; expected at most 1,000,000"),)


def test_a_zip_that_lies_about_its_sizes_is_one_line(tmp_path):
    good = png_bytes(pictures(1)[0])
    place = write_zip(tmp_path / "lie.zip", {"a.png": good, "b.png": b"\0" * 3_000_000})
    data = bytearray(place.read_bytes())
    for at in [i for i in range(len(data) - 3) if struct.unpack_from("<I", data, i)[0] == 3_000_000]:
        struct.pack_into("<I", data, at, 100)
    place.write_bytes(data)
    found = load_folder(place)
    assert found.names == ("a",)
    assert [name for name, _ in found.skipped] == ["b.png"]


def test_a_shard_that_breaks_off_gives_what_comes_before(tmp_path):
    images = pictures(3)
    place = write_tar(tmp_path / "1.tar", members(images))
    place.write_bytes(place.read_bytes()[:1600])
    write_tar(tmp_path / "2.tar", members(images))
    (tmp_path / "3.tar").write_bytes(b"\x07" * 2000)
    (tmp_path / "4.tar.gz").write_bytes(b"\x1f\x8b")
    found = load_folder(tmp_path)
    assert found.names == ("1/0000", "2/0000", "2/0001", "2/0002")
    assert {name.partition("/")[0] for name, _ in found.skipped} >= {"3.tar", "4.tar.gz"}


def test_a_tar_header_cannot_ask_for_all_memory(tmp_path):
    good, pax = png_bytes(pictures(1)[0]), tarfile.TarInfo("x")
    pax.type, pax.size = tarfile.XHDTYPE, 2**33
    place = write_tar(tmp_path / "a.tar", {"a.png": good})
    with place.open("r+b") as file:
        file.seek(512 + 512 * -(-len(good) // 512))
        file.write(pax.tobuf(tarfile.USTAR_FORMAT if pax.size < 8**11 else tarfile.GNU_FORMAT))
        file.truncate(2**33)  # sparse: the bytes are there
    found = load_folder(place)
    assert found.names == ("a",)
    assert "at a time" in found.skipped[0][1]


@pytest.mark.parametrize("name", ["a.tar", "a.zip", "a.parquet", "a.arrow"])
def test_what_is_no_archive_is_refused_in_one_line(name, tmp_path):
    if name.endswith(("parquet", "arrow")):
        pytest.importorskip("pyarrow")
    for content in (b"", b"hello", bytes(range(256)) * 20):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=name) as caught:
            open_data(tmp_path / name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", ["tar", "zip", "parquet"])
def test_spoiled_archives_end_in_images_or_in_one_line(kind, seed, tmp_path):
    place = tmp_path / f"a.{kind}"
    if kind == "parquet":
        pytest.importorskip("pyarrow")
        parquet(place, table(pictures(6), labels(6)))
    else:
        (write_tar if kind == "tar" else write_zip)(place, members(pictures(6), labels(6)))
    rng, data = np.random.default_rng(seed), bytearray(place.read_bytes())
    for _ in range(20):
        trial = bytearray(data)
        for at in rng.integers(0, len(trial), rng.integers(1, 30)):
            trial[at] = rng.integers(0, 256)
        place.write_bytes(trial[: rng.integers(1, len(trial) + 1)] if rng.random() < 0.3 else trial)
        try:
            found = open_data(place)
        except DataError as error:
            said = str(error)
        else:
            images = found.images if isinstance(found, LabelledSet) else found
            said = "".join(reason for _, reason in images.skipped) + place.name
        assert "\n" not in said
        assert place.name in said


def test_remote_folders_and_archives_are_read_like_local_ones(tmp_path):
    fsspec = pytest.importorskip("fsspec")
    store = fsspec.filesystem("memory")
    images, masks = pictures(3), labels(3)
    for index, each in enumerate(images):
        store.pipe(f"/bucket/set/images/{index}.png", png_bytes(each))
        store.pipe(f"/bucket/set/masks/{index}.png", png_bytes(masks[index]))
    store.pipe("/bucket/shards/1.tar", write_tar(tmp_path / "1.tar", members(images)).read_bytes())
    found = open_data("memory://bucket/set")
    assert torch.equal(found.images.pixels, stacked(images))
    assert torch.equal(found.labels.instances.long(), torch.from_numpy(np.stack(masks)).long())
    assert torch.equal(open_data("memory://bucket/shards", labels=False).pixels, stacked(images))
    assert torch.equal(open_data(f"file://{tmp_path}/1.tar", labels=False).pixels, stacked(images))
    before = Source("memory://bucket/set").fingerprint()
    store.pipe("/bucket/set/images/1.png", png_bytes(images[0]))
    assert Source("memory://bucket/set").fingerprint() != before
    with pytest.raises(DataError, match="there is nothing"):
        open_data("memory://bucket/nowhere")


def test_only_known_stores_are_asked():
    pytest.importorskip("fsspec")
    for place in ("http://host/a.tar", "zip://a::s3://b", "ftp://host/x", "s3://b::zip://a", "reference://x"):
        assert is_address(place)
        with pytest.raises(DataError, match="no address that we read"):
            open_data(place)
    assert "s3" in SCHEMES and "http" not in SCHEMES


def test_what_a_store_needs_is_named(monkeypatch):
    pytest.importorskip("fsspec")

    def missing(url):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.core.url_to_fs", missing)
    with pytest.raises(DataError, match=r"needs the package of its store \(Install s3fs"):
        open_data("s3://bucket/photos")
    monkeypatch.setitem(__import__("sys").modules, "fsspec.core", None)
    with pytest.raises(MissingExtra, match="remote"):
        open_data("s3://bucket/photos")


def test_pictures_in_a_table_may_be_plain_bytes_and_may_be_absent(tmp_path):
    pa = pytest.importorskip("pyarrow")
    image = png_bytes(pictures(1)[0])
    found = load_folder(parquet(tmp_path / "a.parquet", pa.table({"jpg": pa.array([image, None, b"x"], pa.binary())})))
    assert found.names == ("000000",)
    assert [name for name, _ in found.skipped] == ["000001", "000002"]
    with pytest.raises(DataError, match="no column holds encoded images; its columns are n"):
        load_folder(parquet(tmp_path / "b.parquet", pa.table({"n": [1]})))


def test_encrypted_members_are_one_line(tmp_path):
    place = write_zip(tmp_path / "a.zip", members(pictures(2)))
    data = bytearray(place.read_bytes())
    data[6] |= 1
    central = data.index(b"PK\x01\x02")
    data[central + 8] |= 1
    place.write_bytes(data)
    found = load_folder(place)
    assert found.names == ("0001",)
    assert "encrypted" in found.skipped[0][1]


def test_zips_and_tars_are_read_by_threads(tmp_path):
    images = pictures(200)
    for place in (write_tar(tmp_path / "a.tar", members(images)), write_zip(tmp_path / "b.zip", members(images))):
        assert torch.equal(load_folder(place).pixels, stacked(images))
    assert isinstance(zipfile.ZipFile(io.BytesIO(place.read_bytes())), zipfile.ZipFile)
