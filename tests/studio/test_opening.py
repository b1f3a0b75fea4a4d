"""What is opened from the page: places on this machine, models, examples; and what is said of images beforehand."""

import io
import json
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
from helpers.small_scenes import write_small_scenes
from helpers.studio import Client
from PIL import Image

from delaminate.errors import DataError
from delaminate.studio import places
from delaminate.studio.places import EXAMPLES


@pytest.fixture
def client(tmp_path):
    found = Client(tmp_path / "home")
    found.workspace.started_in = tmp_path / "work"
    found.workspace.started_in.mkdir()
    yield found
    found.close()


def looked(client, project):
    until = time.monotonic() + 120
    while True:
        told = client.value(f"/api/projects/{project}/recognition")
        if told["state"] != "looking":
            return told
        assert time.monotonic() < until
        time.sleep(0.1)


def test_what_lies_near_is_opened_by_ids(client, tmp_path):
    work = tmp_path / "work"
    write_small_scenes(work / "runs" / "one" / "scenes")
    (work / "photos").mkdir()
    for index in range(3):
        Image.new("RGB", (8, 8)).save(work / "photos" / f"{index}.png")
    (work / "node_modules").mkdir()
    (work / ".hidden" / "scenes").mkdir(parents=True)
    (work / "away").symlink_to(tmp_path)
    listed = client.value("/api/places")
    assert [(row["kind"], row["name"], row["about"]) for row in listed["near"]] == [
        ("images", "photos", ""), ("scenes", "scenes", "one in runs"),
    ]  # fmt: skip
    assert str(tmp_path) not in json.dumps(listed)
    opened = client.post(f"/api/places/{listed['near'][1]['id']}/open").json()
    assert opened["kind"] == "scenes" and client.value(f"/api/projects/{opened['id']}")["scenes"] == 3
    model = client.post(f"/api/places/{listed['models'][0]['id']}/open").json()
    assert model["kind"] == "model" and "/" in model["name"]
    assert client.post("/api/places/0123456789abcdef/open").status_code == 404
    assert client.post("/api/places/..%2F..%2Fetc/open").status_code in (404, 405, 422)


def test_examples_are_small_and_open_as_copies_that_can_be_edited(client):
    assert sum(path.stat().st_size for path in EXAMPLES.iterdir()) <= 4_000_000
    listed = client.value("/api/places")["examples"]
    assert len(listed) == len(places.examples()) >= 5
    for row in listed:
        cover = client.get(f"/api/places/{row['id']}/cover.png")
        assert Image.open(io.BytesIO(cover.content)).size == (320, 240)
        opened = client.post(f"/api/places/{row['id']}/open").json()
        assert opened["kind"] == "scenes"
        project = opened["id"]
        scenes = client.value(f"/api/projects/{project}/scenes")
        assert scenes["total"] == client.value(f"/api/projects/{opened['images']}/images")["total"] > 0
        # It composites to its own image, which is found.
        first = f"/api/projects/{project}/scenes/{scenes['scenes'][0]['id']}"
        one, other = (np.asarray(Image.open(io.BytesIO(client.get(f"{first}/{view}.png").content)).convert("RGB"))
                      for view in ("composite", "original"))  # fmt: skip
        assert one.shape == other.shape and np.abs(one.astype(int) - other).mean() < 12
        assert client.post(f"/api/places/{row['id']}/open").json()["id"] == project  # the same copy


def test_every_example_holds_what_can_be_read_and_nothing_else():
    for path in EXAMPLES.glob("*.zip"):
        with zipfile.ZipFile(path) as archive:
            assert {name.split("/")[0] for name in archive.namelist()} == {"images", "scenes", "cover.png"}
            assert b"/tmp" not in archive.read("scenes/summary.json")


def test_images_are_recognised_in_a_worker_and_a_job_is_recommended(client, tmp_path):
    folder = tmp_path / "shapes"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(12):
        pixels = np.zeros((48, 48, 3), np.uint8)
        for colour in ((220, 40, 40), (40, 200, 60), (50, 80, 230)):
            y, x = rng.integers(2, 34, 2)
            pixels[y : y + 10, x : x + 10] = colour
        Image.fromarray(pixels).save(folder / f"{index}.png")
    project = client.open(folder)
    told = looked(client, project)
    assert told["state"] == "done" and told["sentence"].startswith("These are ")
    assert told["method"] in ("dti-sprites", "marionette") and len(told["evidence"]) == 2 and told["images"] == 12
    assert str(tmp_path) not in json.dumps(told)
    command = client.post("/api/jobs/command", {"kind": "auto", "images": project}).json()["command"]
    assert command == "delaminate auto shapes --out layers"
    asked = {
        "kind": "train",
        "images": project,
        "method": told["method"],
        "preset": told["preset"],
        "settings": told["settings"],
    }
    assert (
        client.post("/api/jobs/command", asked)
        .json()["command"]
        .startswith(f"delaminate train {told['method']} shapes")
    )
    wrong = client.post("/api/jobs/command", {**asked, "settings": {"nothing": 1}})
    assert wrong.status_code == 422 and "nothing" in wrong.json()["error"]
    assert client.value("/api/jobs")["jobs"] == []


def test_what_cannot_be_recognised_is_said_without_places(client, tmp_path):
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"nothing")
    told = looked(client, client.open(folder))
    assert told["state"] == "failed" and str(tmp_path) not in told["error"]


def test_looking_that_takes_too_long_is_given_up(client, tmp_path, monkeypatch):
    def slow(*_, **__):
        raise DataError(f"{tmp_path}/x/a.png: too long")

    monkeypatch.setattr(client.workspace.looker.reader, "ask", slow)
    (tmp_path / "some").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "some" / "a.png")
    assert looked(client, client.open(tmp_path / "some"))["error"] == "a.png: too long"


def test_the_server_starts_without_what_only_some_of_its_work_needs():
    """Whoever types `./run studio` waits for every import."""
    heavy = ("scipy", "sklearn", "pandas", "av", "h5py", "onnxruntime", "distributed")
    program = f"import sys, delaminate.studio.server\nprint([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stderr
