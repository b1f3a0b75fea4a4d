"""Jobs are the library's commands, go on without the server, and are found again."""

import base64
import io
import json
import time
import zipfile

import numpy as np
import pytest
from helpers.small_scenes import write_small_scenes
from helpers.studio import Client
from PIL import Image

from delaminate.errors import ConfigError, ConflictError
from delaminate.scene.loading import load_scenes
from delaminate.studio import jobs as jobs_module
from delaminate.studio.jobs import Job, Jobs
from delaminate.studio.workspace import Workspace


@pytest.fixture
def client(tmp_path):
    with Client(tmp_path / "home") as found:
        yield found


def job(jobs, *words, kind="export", resume=("--resume",)):
    return Job(jobs.new_id(), kind, "a job", words, resume, "delaminate ...", "none", 0, time.time())


def wait(look, seconds=120):
    until = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < until
        time.sleep(0.05)


def ended(jobs, made):
    wait(lambda: jobs.state(made.id) != "running")
    return jobs.state(made.id)


def test_a_job_is_a_command_that_another_server_finds_again(tmp_path):
    jobs = Jobs(tmp_path)
    fine, bad = job(jobs, "models"), job(jobs, "export", "nowhere", "--out", "x")
    for each in (fine, bad):
        jobs.start(each)
    assert jobs.state(fine.id) == "running"
    other = Jobs(tmp_path)
    assert other.get(fine.id) == fine
    assert (ended(other, fine), ended(other, bad)) == ("done", "failed")
    assert "platform-game" in other.log(fine.id)
    assert "holds no scenes" in other.describe(bad)["error"]
    with pytest.raises(ConfigError, match="is finished"):
        other.resume(fine.id)
    other.resume(bad.id)
    assert "--resume" not in other.describe(bad)["command"]
    assert ended(other, bad) == "failed"
    other.remove(bad.id)
    assert [each.id for each in other.all()] == [fine.id]


def test_a_job_whose_machine_went_off_is_lost_and_no_more_than_two_run(tmp_path, monkeypatch):
    jobs = Jobs(tmp_path)
    monkeypatch.setattr(jobs_module, "MAX_RUNNING", 0)
    with pytest.raises(ConflictError, match="are running"):
        jobs.start(job(jobs, "models"))
    monkeypatch.undo()
    lost = job(jobs, "models")
    (tmp_path / lost.id / "out").mkdir(parents=True)
    (tmp_path / lost.id / "job.json").write_text(json.dumps(vars(lost)))
    (tmp_path / lost.id / "lock").write_text("1")  # of a process that is another's now
    assert jobs.state(lost.id) == "lost"
    jobs.stop(lost.id)  # nobody is harmed
    with pytest.raises(ConfigError):
        jobs.get("../../../etc")
    with pytest.raises(ConfigError):
        jobs.get("0" * 12)
    (tmp_path / lost.id / "job.json").write_text("{")
    with pytest.raises(ConfigError, match="damaged"):
        jobs.get(lost.id)
    assert jobs.all() == []


def test_progress_is_read_from_what_commands_write(tmp_path):
    jobs = Jobs(tmp_path)
    made = {kind: job(jobs, "x", kind=kind) for kind in ("train", "decompose", "export")}
    for each in made.values():
        (tmp_path / each.id / "out").mkdir(parents=True)
        (tmp_path / each.id / "job.json").write_text(json.dumps(vars(each)))
    out = jobs.out(made["train"].id)
    (tmp_path / made["train"].id / "log.txt").write_text("preset x\nsearch 3/90: 1 loss; 2 s so far\n")
    (out / "metrics.jsonl").write_text(
        '{"total_step": 4, "stage": "search", "step": 4, "loss": 1}\n{"total_step": 5, "note": "x"}\n{"to'
    )
    (out / "previews").mkdir()
    (out / "previews" / "00000004.png").write_bytes(b"x")
    told = jobs.describe(made["train"])
    assert (told["done"], told["total"], told["stage"], told["previews"]) == (3, 90, "search", [4])
    assert [row["total_step"] for row in jobs.metrics(made["train"].id, 4)] == [5]
    (jobs.out(made["decompose"].id) / "journal.jsonl").write_text("settings\ndictionary\none\ntwo\n")
    assert jobs.describe(made["decompose"])["done"] == 2
    (jobs.out(made["export"].id) / "exported.json").write_text('{"png": "x"}')
    assert jobs.describe(made["export"])["done"] == 1


def test_images_are_decomposed_edited_and_taken_away(client, model, pieces, tmp_path):
    images = client.open(pieces / "images")
    trained = client.open(model)
    started = client.post("/api/jobs", {"kind": "decompose", "images": images, "model": trained})
    assert started.status_code == 200, started.text
    made = started.json()
    assert (made["state"], made["total"]) == ("running", 5)
    assert made["command"] == "delaminate decompose model images --out scenes --fit squash"
    # The page, and the server, go away; another one finds the job.
    client.workspace.close()
    client.workspace = client.app.state.workspace = Workspace(client.workspace.home)
    wait(lambda: client.value(f"/api/jobs/{made['id']}")["state"] != "running")
    told = client.value(f"/api/jobs/{made['id']}")
    assert (told["state"], told["done"], told["source"]) == ("done", 5, images), client.value(
        f"/api/jobs/{made['id']}/log"
    )
    assert "psnr" in told["verdict"]
    project = told["project"]
    scenes = client.value(f"/api/projects/{project}/scenes")["scenes"]
    assert len(scenes) == 5
    for view in ("composite", "original", "residual"):
        assert client.get(f"/api/projects/{project}/scenes/{scenes[0]['id']}/{view}.png").status_code == 200, view
    layer = client.value(f"/api/projects/{project}/scenes/{scenes[0]['id']}")["layers"][-1]["id"]
    hide = {"operation": "hide", "scene": scenes[0]["id"], "layer": layer}
    assert client.post(f"/api/projects/{project}/edits", {"revision": 0, "operations": [hide]}).status_code == 200

    export = client.post(f"/api/projects/{project}/exports", {"formats": ["png", "coco"]}).json()
    assert export["command"].startswith("delaminate export")
    wait(lambda: client.value(f"/api/jobs/{export['id']}")["state"] != "running")
    assert client.value(f"/api/jobs/{export['id']}")["state"] == "done"
    listed = client.value(f"/api/exports/{export['id']}/files")
    assert {row["name"].split("/")[0] for row in listed["files"]} == {"png", "coco"}
    file = client.get(f"/api/exports/{export['id']}/file?file={listed['files'][0]['id']}")
    assert file.headers["content-disposition"].startswith("attachment")
    assert len(file.content) == listed["files"][0]["bytes"]
    assert client.get(f"/api/exports/{export['id']}/file?file=../../job.json").status_code == 422
    archive = zipfile.ZipFile(io.BytesIO(client.get(f"/api/exports/{export['id']}/files.zip").content))
    assert archive.testzip() is None and len(archive.namelist()) == listed["total"]
    assert client.get(f"/api/exports/{made['id']}/files").status_code == 422
    # Removing a job removes what it has made, but not what it was made of.
    remaining = client.ask("DELETE", f"/api/jobs/{made['id']}").json()["jobs"]
    assert [row["id"] for row in remaining] == [export["id"]]
    assert client.get(f"/api/projects/{project}").status_code == 404
    assert len(list((pieces / "images").iterdir())) == 5


def test_a_training_is_watched_stopped_and_gone_on_with(client, pieces):
    images = client.open(pieces / "images")
    asked = {
        "kind": "train", "images": images, "method": "dti-sprites", "preset": "tetrominoes-paper",
        "settings": {"num_sprites": 2, "num_layers": 1, "batch": 2},
    }  # fmt: skip
    answer = client.post("/api/jobs", asked)
    assert answer.status_code == 200, answer.text
    made = answer.json()["id"]
    wait(lambda: client.value(f"/api/jobs/{made}")["done"] > 0)
    assert client.post(f"/api/jobs/{made}/stop").status_code == 200
    wait(lambda: client.value(f"/api/jobs/{made}")["state"] == "stopped")
    told = client.value(f"/api/jobs/{made}")
    project = client.value(f"/api/projects/{told['project']}")
    assert (project["kind"], project["job"]) == ("run", made)
    for step in client.value(f"/api/jobs/{made}/metrics")["previews"][:1]:
        assert client.get(f"/api/jobs/{made}/previews/{step}.png").headers["content-type"] == "image/png"
    assert client.get(f"/api/jobs/{made}/previews/99999999.png").status_code == 422
    assert client.post(f"/api/jobs/{made}/resume").json()["state"] == "running"
    assert client.ask("DELETE", f"/api/jobs/{made}").status_code == 409
    assert client.ask("DELETE", f"/api/projects/{images}").status_code == 409
    last = told["done"]
    wait(lambda: client.value(f"/api/jobs/{made}")["done"] > last)
    client.post(f"/api/jobs/{made}/stop")
    wait(lambda: client.value(f"/api/jobs/{made}")["state"] == "stopped")


@pytest.mark.parametrize(
    "asked",
    [
        {"kind": "train", "method": "none"},
        {"kind": "train", "method": "redo", "preset": "none"},
        {"kind": "train", "method": "redo", "settings": {"nothing": 1}},
        {"kind": "train", "method": "redo", "settings": {"batch": 0}},
        {"kind": "train", "method": "redo", "settings": {"--out": "x"}},
        {"kind": "train", "method": "redo", "preset": "--out"},
        {"kind": "train", "method": "redo", "steps": "5"},
        {"kind": "train", "method": "redo", "out": "/etc"},
        {"kind": "decompose", "model": "none"},
        {"kind": "decompose", "model": "hub:owner/name"},
        {"kind": "decompose", "model": "/etc/passwd"},
        {"kind": "decompose", "model": "redo/flowers17", "by": "--out"},
        {"kind": "dance"},
    ],
)
def test_jobs_that_make_no_sense_are_refused(client, pieces, asked):
    images = client.open(pieces / "images")
    answer = client.post("/api/jobs", {"images": images, **asked})
    assert answer.status_code == 422, answer.text
    assert client.value("/api/jobs") == {"jobs": []}


def test_exports_that_make_no_sense_are_refused(client, tmp_path):
    project = client.open(write_small_scenes(tmp_path / "scenes"))
    for asked in ({"formats": []}, {"formats": ["none"]}, {"formats": ["png"], "scale": 0}, {"formats": ["--out"]}):
        assert client.post(f"/api/projects/{project}/exports", asked).status_code == 422
    assert len(load_scenes(tmp_path / "scenes")) == 3


def test_no_place_on_this_machine_is_told(client, tmp_path):
    jobs = client.workspace.jobs
    made = job(jobs, "x", kind="train")
    out = jobs.out(made.id)
    out.mkdir(parents=True)
    (out.parent / "job.json").write_text(json.dumps(vars(made)))
    (out / "verdict.json").write_text(json.dumps({"model": str(tmp_path / "model"), "remarks": [f"see {tmp_path}/a"]}))
    (out / "metrics.jsonl").write_text(json.dumps({"total_step": 1, "note": f"kept {tmp_path}/x.pt"}) + "\n")
    for path in ("/api/jobs", f"/api/jobs/{made.id}", f"/api/jobs/{made.id}/metrics"):
        assert str(tmp_path) not in client.get(path).text
    assert client.value(f"/api/jobs/{made.id}")["verdict"] == {"model": "model", "remarks": ["see a"]}


def test_a_training_shows_its_sprites_pauses_and_goes_on(client, pieces):
    images = client.open(pieces / "images")
    settings = {"num_sprites": 2, "num_layers": 1, "batch": 2}
    asked = {
        "kind": "train",
        "images": images,
        "method": "dti-sprites",
        "preset": "tetrominoes-paper",
        "settings": settings,
    }
    made = client.post("/api/jobs", asked).json()["id"]
    told = lambda: client.value(f"/api/jobs/{made}")  # noqa: E731
    wait(lambda: told()["live"] is not None)
    live = client.value(f"/api/jobs/{made}/live")
    assert live["count"] == len(live["sprites"]) == 2 and live["figures"]["loss"] > 0
    picture = base64.b64decode(live["sprites"][0].removeprefix("data:image/png;base64,"))
    assert Image.open(io.BytesIO(picture)).mode == "RGBA"
    assert client.post(f"/api/jobs/{made}/pause").json()["state"] == "paused"
    assert client.post(f"/api/jobs/{made}/pause").status_code == 409
    log = client.workspace.jobs.out(made) / "metrics.jsonl"
    before = log.read_bytes()
    time.sleep(1.5)
    assert log.read_bytes() == before
    assert Jobs(client.workspace.jobs.folder).state(made) == "paused"  # another server knows
    assert client.ask("DELETE", f"/api/jobs/{made}").status_code == 409
    assert client.post(f"/api/jobs/{made}/resume").json()["state"] == "running"
    wait(lambda: log.read_bytes() != before)
    client.post(f"/api/jobs/{made}/pause")
    client.post(f"/api/jobs/{made}/stop")
    wait(lambda: told()["state"] == "stopped")


def test_spots_are_counted_by_themselves_and_their_files_taken_away(client, tmp_path):
    (tmp_path / "in").mkdir()
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64]
    for number in range(6):
        field = rng.normal(8, 2, (64, 64)) + 120 / (1 + np.exp(np.hypot(y - 20, x - 10 - 5 * number) - 5))
        Image.fromarray(field.clip(0, 255).astype(np.uint8)).save(tmp_path / "in" / f"{number}.png")
    images = client.open(tmp_path / "in")
    made = client.post("/api/jobs", {"kind": "auto", "images": images, "minutes": 5}).json()
    assert made["command"] == "delaminate auto in --out layers --minutes 5"
    wait(lambda: client.value(f"/api/jobs/{made['id']}")["state"] != "running")
    told = client.value(f"/api/jobs/{made['id']}")
    assert (told["state"], told["verdict"]["level"]) == ("done", "fair"), client.value(f"/api/jobs/{made['id']}/log")
    assert client.value(f"/api/projects/{told['project']}")["kind"] == "scenes"
    files = client.value(f"/api/exports/{made['id']}/files")["files"]
    assert {row["name"] for row in files} >= {
        "exports/objects/counts.csv",
        "exports/objects/objects.csv",
        "report.html",
    }
    first = client.value(f"/api/projects/{told['project']}/scenes")["scenes"][0]["id"]
    assert client.get(f"/api/projects/{told['project']}/scenes/{first}/original.png").status_code == 200


def test_models_are_compared_and_named_as_people_know_them(client, model, pieces):
    images, trained = client.open(pieces / "images"), client.open(model)
    asked = {"kind": "compare", "images": images, "models": [trained, "dti-sprites/tetrominoes"], "count": 2}
    made = client.post("/api/jobs", asked).json()
    assert made["title"] == "model and dti-sprites/tetrominoes"
    wait(lambda: client.value(f"/api/jobs/{made['id']}")["state"] != "running")
    told = client.value(f"/api/jobs/{made['id']}/comparison")
    assert told["models"] == ["model", "dti-sprites/tetrominoes"] and "psnr" in told["figures"] and told["settings"]
    assert str(pieces) not in client.get(f"/api/jobs/{made['id']}/comparison").text
    assert client.post("/api/jobs", {**asked, "models": [trained]}).status_code == 422
    assert client.post("/api/jobs", {**asked, "models": [trained, "/etc"]}).status_code == 422


def test_part_of_a_clip_is_made_ready_and_becomes_a_project(client, tmp_path):
    frames = [Image.new("RGB", (16, 12), (40 * number, 0, 90)) for number in range(5)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=50, loop=0)
    clip = client.open(tmp_path / "a.gif")
    asked = {"kind": "prepare", "images": clip, "first": 1, "last": 4, "crop": [2, 1, 8, 6]}
    made = client.post("/api/jobs", asked).json()
    assert made["command"] == "delaminate data prepare a.gif --out prepared --frames 1:4 --crop 2,1,8,6"
    wait(lambda: client.value(f"/api/jobs/{made['id']}")["state"] != "running")
    told = client.value(f"/api/jobs/{made['id']}")
    assert told["state"] == "done", client.value(f"/api/jobs/{made['id']}/log")
    client.value("/api/projects")
    project = client.value(f"/api/jobs/{made['id']}")["project"]
    assert client.value(f"/api/projects/{project}")["kind"] == "images"
    image = client.value(f"/api/projects/{project}/images")["images"][0]["id"]
    shown = client.get(f"/api/projects/{project}/images/{image}.png?frame=2")
    assert Image.open(io.BytesIO(shown.content)).size == (8, 6)
    assert client.get(f"/api/projects/{project}/images/{image}.png?frame=99").status_code == 200
    for wrong in ({}, {"first": 4, "last": 4}, {"crop": [0, 0, 0, 5]}, {"crop": [0, 0, 5]}):
        assert client.post("/api/jobs/command", {"kind": "prepare", "images": clip, **wrong}).status_code == 422
