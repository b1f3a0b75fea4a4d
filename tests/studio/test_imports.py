"""What was edited in another program comes back through the studio, as one step of undo."""

import io
import time
import zipfile

import numpy as np
import pytest
from helpers.small_scenes import same_scene, small_scenes, write_small_scenes
from helpers.studio import Client
from PIL import Image

from delaminate.pipelines.exporting import export
from delaminate.scene.loading import load_scenes


@pytest.fixture
def client(tmp_path):
    with Client(tmp_path / "home") as found:
        yield found


@pytest.fixture
def folder(tmp_path):
    return write_small_scenes(tmp_path / "scenes")


def send(client, project, files, **given):
    given.setdefault("revision", client.value(f"/api/projects/{project}")["revision"])
    data = {key: str(value) for key, value in given.items()}
    return client.post(
        f"/api/projects/{project}/imports", data=data, files=[("files", (name, content)) for name, content in files]
    )


def painted(ora, change):
    """An OpenRaster file whose layer's picture was painted on."""
    data = io.BytesIO()
    with zipfile.ZipFile(ora) as old, zipfile.ZipFile(data, "w") as new:
        for entry in old.infolist():
            content = old.read(entry)
            if change in entry.filename:
                pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGBA")).copy()
                pixels[:2] = (255, 0, 0, 255)
                out = io.BytesIO()
                Image.fromarray(pixels).save(out, "PNG")
                content = out.getvalue()
            new.writestr(entry, content)
    return data.getvalue()


@pytest.fixture
def exported(client, folder, tmp_path):
    project = client.open(folder)
    export(folder, tmp_path / "out", "ora,atlas")
    return project, next((tmp_path / "out" / "ora").rglob("a.png.ora"))


def test_a_file_that_nobody_touched_says_nothing_new(client, exported):
    project, ora = exported
    told = send(client, project, [("a.png.ora", ora.read_bytes())]).json()
    assert (told["edits"], told["change"], told["asks"]) == (0, None, [])


def test_a_repainted_sprite_is_asked_about_and_comes_back_everywhere_or_only_here(client, exported, folder):
    project, ora = exported
    with zipfile.ZipFile(ora) as archive:
        part = next(name for name in archive.namelist() if "layer-01" in name)
    edited = ("a.png.ora", painted(ora, part))
    asked = send(client, project, [edited]).json()
    assert asked["change"] is None and asked["asks"][0]["sprite"] == "sprite-00" and asked["asks"][0]["others"] == 2
    assert client.value(f"/api/projects/{project}")["revision"] == 0
    for repaint, sprite_changes in (("only-here", False), ("everywhere", True)):
        told = send(client, project, [edited], repaint=repaint).json()
        assert told["edits"] >= 1 and told["change"]["commands"] == [f"delaminate import a.png.ora scenes --{repaint}"]
        assert client.post(f"/api/projects/{project}/save").status_code == 200
        scenes = load_scenes(folder)
        same = [bool((one == other).all()) for one, other in zip(
            scenes.dictionary.sprites, small_scenes().dictionary.sprites, strict=True)]  # fmt: skip
        assert same == [not sprite_changes, True, True]
        assert scenes[0].composite()[0].max() == 1
        # One step of undo.
        undone = client.post(f"/api/projects/{project}/undo", {"revision": told["change"]["revision"]}).json()
        assert undone["can_undo"] is False
    client.post(f"/api/projects/{project}/save")
    for one, other in zip(load_scenes(folder), small_scenes(), strict=True):
        assert same_scene(one, other)


def test_a_sheet_comes_back_and_a_zip_of_it(client, exported, tmp_path):
    project, _ = exported
    sheet = [(path.name, path.read_bytes()) for path in (tmp_path / "out" / "atlas").iterdir()]
    assert send(client, project, sheet).json()["edits"] == 0
    picture = next(name for name, _ in sheet if name.endswith(".png"))
    pixels = np.asarray(Image.open(io.BytesIO(dict(sheet)[picture])).convert("RGBA")).copy()
    pixels[..., 0] = np.where(pixels[..., 3] > 0, 255 - pixels[..., 0], pixels[..., 0])
    data, packed = io.BytesIO(), io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in sheet:
            archive.writestr(f"atlas/{name}", data.getvalue() if name == picture else content)
    told = send(client, project, [("layers.zip", packed.getvalue())], repaint="everywhere").json()
    assert len(told["words"]) == 3 and not any("/" in word for word in told["words"])  # no place of this machine
    assert told["edits"] == 3 and told["change"]["sprites"] == ["sprite-00", "sprite-01", "sprite-02"]


def test_what_is_none_or_of_nothing_here_is_refused(client, exported, tmp_path):
    project, ora = exported
    evil = io.BytesIO()
    with zipfile.ZipFile(evil, "w") as archive:
        archive.writestr("../../out.ora", b"x")
    cases = [
        ([("a.txt", b"hello")], {}, 422), ([("a.ora", b"PK\x03\x04 broken")], {}, 422),
        ([("other.png.ora", ora.read_bytes())], {}, 422), ([("all.zip", evil.getvalue())], {}, 422),
        ([("../../../etc/a.ora", b"x")], {}, 422), ([("a.png.ora", ora.read_bytes())], {"repaint": "somewhere"}, 422),
        ([("a.png.ora", ora.read_bytes())], {"revision": -1}, 422), ([("a.psd", b"8BPS" + bytes(100))], {}, 422),
        ([(".", b"x")], {}, 422), ([("..", b"x"), (" ", b"x")], {}, 422), ([], {}, 422),
        ([("a.png.ora", ora.read_bytes()), ("a.png.ora", b"another of this name")], {}, 422),
    ]  # fmt: skip
    for files, given, status in cases:
        answer = send(client, project, files, **given)
        assert answer.status_code == status, (files, answer.text)
        assert str(tmp_path) not in answer.text and "Traceback" not in answer.text
    assert client.value(f"/api/projects/{project}")["revision"] == 0
    assert list((tmp_path / "home" / "incoming").iterdir()) == []


def test_an_export_says_how_large_it_is_and_how_closely_it_composites_back(client, folder):
    project = client.open(folder)
    made = client.post(f"/api/projects/{project}/exports", {"formats": ["png", "objects"], "split": True}).json()
    until = time.monotonic() + 120
    while client.value(f"/api/jobs/{made['id']}")["state"] == "running":
        assert time.monotonic() < until
        time.sleep(0.1)
    told = client.value(f"/api/exports/{made['id']}/files")
    formats = {each["id"]: each for each in told["formats"]}
    assert set(formats) == {"png", "objects"}
    assert formats["png"]["max_error"] <= 1 / 255 and formats["objects"]["max_error"] is None
    assert sum(each["bytes"] for each in formats.values()) == told["bytes"] and "--split" in made["command"]
