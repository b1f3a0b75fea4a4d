import io
import json
import random
import shutil
import subprocess
import tarfile

import pytest
import torch
from helpers.exports import scenes
from PIL import Image

import delaminate
from delaminate.errors import ConfigError, FormatError, OutputError
from delaminate.scene import packing
from delaminate.scene.loading import load_scene, load_scenes
from delaminate.scene.packing import PackWriter, read_packed
from delaminate.scene.saving import SceneWriter, save_scenes
from delaminate.scene.summary import read_summary


def files_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def plain(made, tmp_path):
    return shutil.copytree(made, tmp_path / "plain")


@pytest.fixture
def packed(plain, tmp_path):
    assert delaminate.pack_scenes(plain, tmp_path / "packed") == 5
    return tmp_path / "packed"


def test_packing_and_unpacking_gives_the_same_bytes(plain, packed, tmp_path, command):
    assert command("scenes", "pack", plain, "--out", tmp_path / "cli")[0] == 0
    assert files_of(tmp_path / "cli") == files_of(packed)
    assert command("scenes", "unpack", packed, "--out", tmp_path / "again")[0] == 0
    assert files_of(tmp_path / "again") == files_of(plain)
    assert sorted(path.name for path in packed.iterdir()) == [
        "dictionary", "errors.json", "journal.jsonl", "packs", "summary.json",
    ]  # fmt: skip
    for one, other in zip(load_scenes(packed), load_scenes(plain), strict=True):
        assert one.name == other.name
        assert torch.equal(one.composite(), other.composite())


def test_any_program_opens_the_archives(plain, packed, tmp_path):
    (tmp_path / "by-hand").mkdir()
    tar = shutil.which("tar")
    if tar is None:
        with tarfile.open(packed / "packs" / "000000.tar") as archive:
            archive.extractall(tmp_path / "by-hand", filter="data")
    else:
        subprocess.run([tar, "xf", packed / "packs" / "000000.tar"], cwd=tmp_path / "by-hand", check=True)
    whole = files_of(plain)
    assert files_of(tmp_path / "by-hand") == {
        name: data for name, data in whole.items() if name.startswith(("scenes/", "residuals/"))
    }


def test_all_that_users_do_takes_packed_scenes(plain, packed, tmp_path):
    for kind, folder in (("plain", plain), ("packed", packed)):
        out = tmp_path / "out" / kind
        delaminate.edit(folder, lambda scene, layer: scene.move(layer, 3, 1), names=["000001.png"], layers=["layer-01"])
        delaminate.export(folder, out / "export", "png,masks,coco,html,placements")
        delaminate.recompose(folder, out / "flat")
    assert files_of(tmp_path / "out" / "plain") == files_of(tmp_path / "out" / "packed")
    # The edit in place has left no archive behind that nothing is in, and the residuals are kept.
    assert [path.name for path in (packed / "packs").iterdir()] == ["000001.tar"]
    delaminate.unpack_scenes(packed, tmp_path / "again")
    assert files_of(tmp_path / "again") == files_of(plain)


def test_what_is_packed_is_not_packed_again_and_nothing_is_written_over_unasked(plain, packed, tmp_path, command):
    for verb, folder, message in (
        ("pack", packed, "are packed already"),
        ("unpack", plain, "lie in files of their own already"),
    ):
        code, _, err = command("scenes", verb, folder, "--out", tmp_path / "none")
        assert code == 2
        assert message in err
    code, _, err = command("scenes", "pack", plain, "--out", packed)
    assert code == 2
    assert "--overwrite" in err
    code, _, err = command("scenes", "pack", plain, "--out", plain, "--overwrite")
    assert code == 2
    assert "is the folder itself" in err
    assert command("scenes", "pack", plain, "--out", packed, "--overwrite")[0] == 0
    with pytest.raises(ConfigError, match="lie in files of their own"):
        save_scenes(load_scenes(packed), plain, packed=True)
    with pytest.raises(ConfigError, match="are packed"):
        save_scenes(load_scenes(plain), packed, packed=False)


def test_saving_takes_a_word_and_scenes_come_back(tmp_path):
    made = scenes()
    assert save_scenes(made, tmp_path / "packed", packed=True) == save_scenes(made, tmp_path / "plain")
    packed, plain = load_scenes(tmp_path / "packed"), load_scenes(tmp_path / "plain")
    assert all(torch.equal(a.composite(), b.composite()) for a, b in zip(packed, plain, strict=True))
    save_scenes(packed, tmp_path / "again", packed=True)
    assert files_of(tmp_path / "again") == files_of(tmp_path / "packed")


def test_archives_hold_so_many_scenes_and_then_the_next_is_begun(tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "SCENES_PER_PACK", 2)
    writer = PackWriter(tmp_path)
    files = [{f"scenes/{number}/scene.json": b"{}" * number} for number in range(5)]
    places = [*writer.append(files[:1]), *writer.append(files[1:])]
    assert [place[0] for place in places] == ["000000", "000000", "000001", "000001", "000002"]
    for number, place in enumerate(places):
        assert read_packed(tmp_path, str(number), place) == files[number]
    whole = files_of(tmp_path)
    # Who was killed after the third goes on there; what lies behind is written over.
    again = PackWriter(tmp_path, places=places[:3])
    assert again.append(files[3:]) == places[3:]
    assert files_of(tmp_path) == whole
    monkeypatch.setattr(packing, "MAX_PACK_BYTES", 1500)
    assert [place[0] for place in PackWriter(tmp_path / "small").append(files[:2])] == ["000000", "000001"]
    monkeypatch.setattr(packing, "MAX_PACKED_BYTES", 500)
    with pytest.raises(OutputError, match="expected at most 500"):
        again.append(files[:1])


def put(name, value):
    def change(row):
        row[name] = value

    return change


@pytest.mark.parametrize(
    "place",
    [
        None, [], ["000000", 0], ["../000000", 0, 1024], ["000000", -1, 1024], ["000000", 0, 0], ["000000", 0.5, 1024],
        ["000001", 0, 1024], ["000000", 10**12, 1024], ["000000", 0, 10**15], ["000000", 1, 1024], ["000000", 512, 512],
        [["000000"], 0, 1024], ["00000a", 0, 1], [True, 0, 1],
    ],
)  # fmt: skip
def test_places_that_lie_are_refused_in_one_line(packed, place):
    path = packed / "summary.json"
    summary = json.loads(path.read_text())
    summary["scenes"][0]["pack"] = place
    path.write_text(json.dumps(summary))
    with pytest.raises(FormatError) as caught:
        list(load_scenes(packed))
    assert "\n" not in str(caught.value)


def member(name, data=b"{}", **fields):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


@pytest.mark.parametrize(
    "members",
    [
        [member("/etc/passwd")],
        [member("../x")],
        [member("scenes/b/scene.json")],
        [member("scenes/a/layers/../../x.png")],
        [member("scenes/a/layers/x.exe")],
        [member("scenes/a/scene.json", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd")],
        [member("scenes/a/scene.json", b"", type=tarfile.LNKTYPE, linkname="scenes/a/scene.json")],
        [member("scenes/a/scene.json", b"", type=tarfile.CHRTYPE)],
        [member("scenes/a/scene.json", b"", type=tarfile.DIRTYPE)],
        [member("scenes/a/scene.json", pax_headers={"GNU.sparse.major": "1", "GNU.sparse.minor": "0",
                                                   "GNU.sparse.realsize": "99999999999"})],
        [member("scenes/a/scene.json", pax_headers={"size": "99999999999"})],
    ],
)  # fmt: skip
def test_archives_that_hold_other_things_than_a_scene_are_refused(tmp_path, members):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    (tmp_path / "packs").mkdir()
    (tmp_path / "packs" / "000000.tar").write_bytes(data.getvalue())
    with pytest.raises(FormatError, match=r"000000\.tar"):
        read_packed(tmp_path, "a", ("000000", 0, len(data.getvalue())))


def test_links_that_lead_out_are_refused(packed, tmp_path):
    (packed / "packs" / "000000.tar").rename(tmp_path / "outside.tar")
    with pytest.raises(FormatError, match="is missing"):
        list(load_scenes(packed))
    (packed / "packs" / "000000.tar").symlink_to(tmp_path / "outside.tar")
    with pytest.raises(FormatError, match="leads out"):
        list(load_scenes(packed))


def test_damaged_archives_are_refused_by_our_errors_only(packed):
    numbers, messages = random.Random(3), []
    path = packed / "packs" / "000000.tar"
    good = path.read_bytes()
    for _ in range(200):
        bad = bytearray(good)
        for _ in range(numbers.randint(1, 3)):
            bad[numbers.randrange(len(bad))] = numbers.randrange(256)
        path.write_bytes(bad[: numbers.choice([len(bad), numbers.randrange(len(bad))])])
        try:
            for scene in load_scenes(packed):
                scene.composite()
        except FormatError as error:
            messages.append(str(error))
    assert len(messages) > 50
    assert not any("\n" in message for message in messages)


def test_a_million_images_take_two_thousand_files_and_one_is_opened_by_one_read(tmp_path):
    assert 10**6 / packing.SCENES_PER_PACK < 1000
    made = scenes()
    writer = SceneWriter(tmp_path, packs=PackWriter(tmp_path))
    writer.save(made)
    writer.finish()
    place = read_summary(tmp_path).places[made[0].name]
    read = packing.read_packed(tmp_path, made[0].name, place)
    assert sum(map(len, read.values())) <= place[2]
    again = load_scene(tmp_path, made[0].name, load_scenes(tmp_path).dictionary, place)
    assert len(again.layers) == len(made[0].layers)
    with Image.open(io.BytesIO(next(data for name, data in read.items() if name.endswith(".png")))) as picture:
        assert picture.format == "PNG"
