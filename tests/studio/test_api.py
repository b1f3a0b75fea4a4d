"""Every route, in this process."""

import io
import json
import shutil
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from helpers.small_scenes import a_colour, picture, same_scene, small_dictionary, small_scenes, write_small_scenes
from helpers.studio import Client
from PIL import Image

from delaminate.errors import OutputError
from delaminate.exporters.formats import FORMATS
from delaminate.files import png_bytes, to_pixels
from delaminate.scene.collection import SceneSet
from delaminate.scene.loading import load_scenes
from delaminate.scene.operations import OPERATIONS
from delaminate.scene.placements import Placement, Transform
from delaminate.scene.saving import save_scenes
from delaminate.scene.scenes import Scene, SceneLayer
from delaminate.studio import pictures
from delaminate.studio import session as session_module
from delaminate.studio import workspace as workspace_module
from delaminate.studio.api.images import plain_file_name
from delaminate.studio.pictures import PictureCache, pack_layers
from delaminate.studio.reading import Reader


@pytest.fixture(scope="module")
def reader():
    """One process that decodes, for all tests here."""
    found = Reader()
    yield found
    found.close()


@pytest.fixture
def client(tmp_path, reader):
    found = Client(tmp_path / "home")
    found.workspace.reader = reader
    yield found
    found.workspace.reader = Reader()  # the shared one stays
    found.close()


@pytest.fixture
def folder(tmp_path):
    return write_small_scenes(tmp_path / "scenes")


@pytest.fixture
def project(client, folder):
    return client.open(folder)


def scene_ids(client, project):
    return {row["name"]: row["id"] for row in client.value(f"/api/projects/{project}/scenes")["scenes"]}


def edit(client, project, *operations, revision=None):
    revision = client.value(f"/api/projects/{project}")["revision"] if revision is None else revision
    return client.post(f"/api/projects/{project}/edits", {"revision": revision, "operations": list(operations)})


def pixels(answer):
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def test_projects_are_listed_without_places_and_forgotten_without_loss(client, project, folder):
    listed = client.value("/api/projects")["projects"]
    assert [(row["id"], row["kind"], row["name"]) for row in listed] == [(project, "scenes", "scenes")]
    assert client.open(folder) == project  # the same place is the same project
    assert client.ask("DELETE", f"/api/projects/{project}").json() == {"projects": []}
    assert len(load_scenes(folder)) == 3
    assert client.get(f"/api/projects/{project}").status_code == 404


def test_a_project_whose_place_is_gone_is_left_out(client, project, folder):
    shutil.rmtree(folder)
    assert client.value("/api/projects")["projects"] == []


def test_scenes_are_listed_in_pieces(client, project):
    listed = client.value(f"/api/projects/{project}/scenes?offset=1&limit=1")
    assert (listed["total"], [row["name"] for row in listed["scenes"]]) == (3, ["b.png"])


def test_a_scene_says_what_an_editor_needs(client, project):
    scene = client.value(f"/api/projects/{project}/scenes/{scene_ids(client, project)['a.png']}")
    assert (scene["width"], scene["height"], scene["background"]) == (32, 24, True)
    layer = scene["layers"][1]
    assert (layer["id"], layer["name"], layer["sprite"], layer["visible"]) == ("layer-01", "one", "sprite-00", True)
    assert (layer["centre"], layer["matrix"][2], layer["raster"]) == ([7, 7], 3, [8, 6])
    assert scene["layers"][0]["sprite"] is None


def test_every_operation_is_done_by_the_api_as_by_the_library(client, project, folder, tmp_path):
    ids = scene_ids(client, project)
    sent = client.post(f"/api/projects/{project}/pictures", content=png_bytes(to_pixels(picture(11, 6, 8))))
    assert sent.json()["width"] == 8
    small = client.post(f"/api/projects/{project}/pictures", content=png_bytes(to_pixels(picture(12, 5, 5))))
    examples = {
        "move": {"dx": 3, "dy": -2.5}, "scale": {"across": 2, "down": -1}, "rotate": {"degrees": 30}, "show": {}, "hide": {},
        "fade": {"opacity": 0.25}, "rename": {"name": "x"}, "reorder": {"position": 3},
        "recolour": {"gain": [1, 0, 0.5], "offset": [0, 0.1, 0]}, "replace": {"sprite": "sprite-02"}, "duplicate": {},
        "remove": {}, "repaint": {"picture": sent.json()["picture"]}, "mend": {"picture": sent.json()["picture"]},
        "paste": {"picture": sent.json()["picture"], "left": -2, "top": 3},
        "insert": {"picture": sent.json()["picture"], "left": 1, "top": 2, "name": "new"},
        "add": {"sprite": "sprite-01", "x": 4, "y": 5}, "rename-sprite": {"sprite": "sprite-00", "name": "hero"},
        "repaint-sprite": {"sprite": "sprite-00", "picture": sent.json()["picture"]}, "drop-sprite": {"sprite": "sprite-00"},
        "recolour-sprites": {"sprites": ["sprite-00", "sprite-01"], "colour": a_colour(), "to": "#0102f3"},
        "merge-sprites": {"sprite": "sprite-00", "into": "sprite-02"},
        "split-sprite": {"sprite": "sprite-01", "picture": small.json()["picture"]},
    }  # fmt: skip
    assert set(examples) == set(OPERATIONS)
    for name, given in examples.items():
        told = {"operation": name, **given}
        if not name.endswith(("-sprite", "-sprites")):
            told |= {"scene": ids["a.png"]} | ({} if name in ("add", "insert") else {"layer": "layer-01"})
        answer = edit(client, project, told)
        assert answer.status_code == 200, answer.text
        change = answer.json()
        assert change["commands"][0].startswith(f"delaminate edit scenes {name}")
        undone = client.post(f"/api/projects/{project}/undo", {"revision": change["revision"]})
        assert undone.json()["scenes"] == change["scenes"]
    assert client.post(f"/api/projects/{project}/save").json()["unsaved"] is False
    for one, other in zip(load_scenes(folder), small_scenes(), strict=True):
        assert same_scene(one, other)


def test_a_step_of_many_operations_over_images_is_undone_at_once(client, project):
    ids = scene_ids(client, project)
    both = [{"operation": "hide", "scene": ids[name], "layer": "layer-01"} for name in ("a.png", "c.png")]
    change = edit(client, project, *both).json()
    assert set(change["scenes"]) == {ids["a.png"], ids["c.png"]}
    versions = {row["name"]: row["version"] for row in client.value(f"/api/projects/{project}/scenes")["scenes"]}
    assert versions == {"a.png": 1, "b.png": 0, "c.png": 1}
    state = client.value(f"/api/projects/{project}")
    assert (state["revision"], state["can_undo"], state["can_redo"], state["unsaved"]) == (1, True, False, True)
    client.post(f"/api/projects/{project}/undo", {"revision": 1})
    assert client.post(f"/api/projects/{project}/undo", {"revision": 2}).status_code == 422
    assert client.post(f"/api/projects/{project}/redo", {"revision": 2}).json()["can_redo"] is False


def test_the_second_of_two_tabs_is_told_to_load_again(client, project):
    ids = scene_ids(client, project)
    move = {"operation": "move", "scene": ids["a.png"], "layer": "layer-01", "dx": 1, "dy": 0}
    assert edit(client, project, move, revision=0).status_code == 200
    answer = edit(client, project, move, revision=0)
    assert answer.status_code == 409
    assert "another page was first" in answer.json()["error"]
    assert client.post(f"/api/projects/{project}/undo", {"revision": 0}).status_code == 409
    scene = client.value(f"/api/projects/{project}/scenes/{ids['a.png']}")
    assert scene["layers"][1]["centre"] == [8, 7]
    assert edit(client, project, move, revision=scene["revision"]).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"revision": 0},
        {"revision": 0, "operations": []},
        {"revision": "0", "operations": [{"operation": "drop-sprite", "sprite": "sprite-00"}]},
        {"revision": 0.0, "operations": [{"operation": "drop-sprite", "sprite": "sprite-00"}]},
        {"revision": 0, "operations": [{"operation": "drop-sprite", "sprite": "sprite-00", "more": 1}]},
        {"revision": 0, "operations": [{"operation": "explode"}]},
        {"revision": 0, "operations": [{"operation": "hide", "scene": "a.png", "layer": "layer-01"}], "path": "/etc"},
        {"revision": 0, "operations": [{"operation": "hide", "scene": "../../etc", "layer": "layer-01"}]},
        {"revision": 0, "operations": [{"operation": "repaint-sprite", "sprite": "sprite-00", "picture": "../x"}]},
        [],
    ],
)
def test_what_is_not_exactly_as_expected_is_refused(client, project, body):
    answer = client.post(f"/api/projects/{project}/edits", body)
    assert answer.status_code in (404, 422)
    assert set(answer.json()) == {"error"}
    assert client.value(f"/api/projects/{project}")["revision"] == 0


@pytest.mark.parametrize(
    "text", ["[NaN]", '{"revision": 0', "\x00", '{"revision": 0, "operations": [{"operation": "move"}]}']
)
def test_what_is_no_json_is_refused(client, project, text):
    answer = client.post(f"/api/projects/{project}/edits", content=text, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422)


def test_pictures_are_of_the_size_shown_and_are_made_once(client, project):
    place = f"/api/projects/{project}/scenes/{scene_ids(client, project)['a.png']}"
    composite = pixels(client.get(f"{place}/composite.png"))
    expected = to_pixels(small_scenes()[0].composite())
    assert np.array_equal(composite, expected)
    assert pixels(client.get(f"{place}/composite.png?side=16")).shape[:2] == (12, 16)
    for view in ("reconstruction", "segmentation"):
        assert pixels(client.get(f"{place}/{view}.png")).shape[:2] == (24, 32)
    assert client.get(f"{place}/residual.png").status_code == 404
    assert client.get(f"{place}/original.png").status_code == 404
    assert client.get(f"{place}/secret.png").status_code == 422
    assert client.get(f"{place}/composite.png?side=0").status_code == 422
    tag = client.get(f"{place}/composite.png").headers["etag"]
    assert client.get(f"{place}/composite.png", headers={"if-none-match": tag}).status_code == 304
    edit(client, project, {"operation": "hide", "scene": place[-16:], "layer": "layer-01"})
    changed = client.get(f"{place}/composite.png", headers={"if-none-match": tag})
    assert np.array_equal(pixels(changed), to_pixels(small_scenes()[0].hide("layer-01").composite()))
    assert np.array_equal(pixels(client.get(f"{place}/reconstruction.png")), expected)


def test_a_composite_without_a_background_is_transparent_where_nothing_is(client, project):
    ids = scene_ids(client, project)
    edit(client, project, {"operation": "hide", "scene": ids["a.png"], "layer": "background"})
    composite = pixels(client.get(f"/api/projects/{project}/scenes/{ids['a.png']}/composite.png"))
    assert composite.shape == (24, 32, 4)
    assert composite[0, 0, 3] == 0


def test_the_atlas_composites_to_the_picture(client, project):
    """As a page does it: layers cut from one picture, painted back to front with their opacities."""
    ids = scene_ids(client, project)
    place = f"/api/projects/{project}/scenes/{ids['b.png']}"
    edit(client, project, {"operation": "recolour", "scene": ids["b.png"], "layer": "layer-03", "gain": [0.5, 1, 1],
                           "offset": [0.2, 0, 0]})  # fmt: skip
    atlas, told = pixels(client.get(f"{place}/atlas.png")) / 255, client.value(f"{place}/atlas")
    assert atlas.shape[:2] == (told["height"], told["width"])
    scene = client.value(place)
    canvas = np.zeros((24, 32, 3))
    for layer, box in zip(scene["layers"], told["boxes"], strict=True):
        assert box["layer"] == layer["id"] and box["scale"] == 1
        cut = atlas[box["y"] : box["y"] + box["height"], box["x"] : box["x"] + box["width"]]
        rows, columns = slice(box["top"], box["top"] + box["height"]), slice(box["left"], box["left"] + box["width"])
        alpha = cut[..., 3:] * layer["opacity"] * layer["visible"]
        canvas[rows, columns] = alpha * cut[..., :3] + (1 - alpha) * canvas[rows, columns]
    composite = pixels(client.get(f"{place}/composite.png"))
    assert np.abs(canvas * 255 - composite).max() <= 1
    assert client.value(f"{place}/atlas?side=16")["boxes"][0]["scale"] == 2


@pytest.mark.parametrize("size", [(3, 6000), (6000, 3), (200, 200)])
def test_an_atlas_holds_layers_of_any_size(size):
    here = Transform.shift(0, 0, size)
    layers = [SceneLayer(f"a{i}", "a", Placement(-1, (here,), raster=picture(i, *size))) for i in range(5)]
    atlas, boxes = pack_layers(Scene("a", size, tuple(layers), small_dictionary()), 16384)
    assert max(atlas.shape[:2]) <= 4096
    assert all(box.x + box.width <= atlas.shape[1] and box.y + box.height <= atlas.shape[0] for box in boxes)
    taken = np.zeros(atlas.shape[:2], int)
    for box in boxes:
        taken[box.y : box.y + box.height, box.x : box.x + box.width] += 1
    assert taken.max() == 1


def test_a_layer_is_seen_alone_and_as_its_raster(client, project):
    place = f"/api/projects/{project}/scenes/{scene_ids(client, project)['a.png']}"
    assert pixels(client.get(f"{place}/layers/layer-01.png")).shape == (24, 32, 4)
    raster = pixels(client.get(f"{place}/layers/layer-01.png?raster=true"))
    assert np.array_equal(raster, to_pixels(picture(1, 6, 8)))
    assert client.get(f"{place}/layers/none.png").status_code == 422


def test_tracks_are_listed_with_the_layers_that_they_are_in(client, project):
    ids = scene_ids(client, project)
    found = client.value(f"/api/projects/{project}/tracks")
    assert found["scenes"] == [ids["a.png"], ids["b.png"], ids["c.png"]] and not found["is_clip"]
    assert found["tracks"] == [
        {"track": 1, "name": "one", "sprite": "sprite-00", "frames": [0, 1, 2], "layers": ["layer-01"] * 3}
    ]
    edit(client, project, {"operation": "remove", "scene": ids["b.png"], "layer": "layer-01"})
    after = client.value(f"/api/projects/{project}/tracks")
    assert after["tracks"][0]["frames"] == [0, 2] and after["revision"] == 1


def test_a_clip_says_how_long_its_frames_are_seen(client, tmp_path):
    scenes = small_scenes(3)
    save_scenes(scenes, tmp_path / "even", rate=25.0)
    save_scenes(scenes, tmp_path / "uneven", durations=dict(zip(scenes.names, (40.0, 80.0, 120.0), strict=True)))
    lasting = [
        client.value(f"/api/projects/{client.open(tmp_path / name)}/tracks")["durations"] for name in ("even", "uneven")
    ]
    assert lasting == [[40.0, 40.0, 40.0], [40.0, 80.0, 120.0]]


def test_sprites_are_listed_with_their_use(client, project):
    edit(client, project, {"operation": "rename-sprite", "sprite": "sprite-01", "name": "hero <b>"})
    listed = client.value(f"/api/projects/{project}/sprites")["sprites"]
    assert [(row["id"], row["title"], row["layers"], row["scenes"]) for row in listed][:2] == [
        ("sprite-00", "sprite-00", 3, 3),
        ("sprite-01", "hero <b>", 3, 3),
    ]
    assert np.array_equal(
        pixels(client.get(f"/api/projects/{project}/sprites/sprite-00.png")), to_pixels(picture(1, 6, 8))
    )
    found = client.value(f"/api/projects/{project}/sprites/sprite-00/occurrences?offset=1&limit=1")
    assert found["total"] == 3
    assert found["occurrences"] == [{"scene": scene_ids(client, project)["b.png"], "layers": ["layer-01"]}]
    assert client.get(f"/api/projects/{project}/sprites/sprite-09.png").status_code in (404, 422)
    assert client.get(f"/api/projects/{project}/sprites/..%2f..%2fx.png").status_code in (404, 422)


def test_a_repainted_sprite_changes_the_images_that_show_it_and_their_tags(client, project):
    ids = scene_ids(client, project)
    edit(client, project, {"operation": "remove", "scene": ids["b.png"], "layer": "layer-01"})
    tags = {
        name: client.get(f"/api/projects/{project}/scenes/{key}/composite.png").headers["etag"]
        for name, key in ids.items()
    }
    sent = client.post(f"/api/projects/{project}/pictures", content=png_bytes(to_pixels(picture(12, 3, 3)))).json()
    change = edit(
        client, project, {"operation": "repaint-sprite", "sprite": "sprite-00", "picture": sent["picture"]}
    ).json()
    assert (change["scenes"], change["sprites"]) == ([], ["sprite-00"])
    for name, key in ids.items():
        answer = client.get(
            f"/api/projects/{project}/scenes/{key}/composite.png", headers={"if-none-match": tags[name]}
        )
        assert answer.status_code == (304 if name == "b.png" else 200)


@pytest.mark.parametrize("body", [b"", b"GIF89a", b"<svg/>", b"\x89PNG\r\n\x1a\n" + b"x" * 50])
def test_what_is_no_picture_is_refused(client, project, body):
    answer = client.post(f"/api/projects/{project}/pictures", content=body)
    assert answer.status_code == 422
    assert not list((client.workspace.home / "incoming").iterdir())


def test_files_follow_by_themselves(client, project, folder, monkeypatch):
    monkeypatch.setattr(workspace_module, "IDLE", 0.02)
    client.workspace.start()
    edit(client, project, {"operation": "hide", "scene": scene_ids(client, project)["a.png"], "layer": "layer-01"})
    session = client.workspace.session(project)
    for _ in range(500):
        if not session.unsaved:
            break
        session_module.time.sleep(0.01)
    assert not load_scenes(folder)[0].layer("layer-01").visible


def test_a_full_disk_is_told_with_the_project_and_the_edit_is_kept(client, project, folder, monkeypatch):
    edit(client, project, {"operation": "hide", "scene": scene_ids(client, project)["a.png"], "layer": "layer-01"})

    def full(path, data, durable=False):
        raise OutputError(f"{path}: cannot be written (No space left on device).")

    monkeypatch.setattr(session_module, "write_atomic", full)
    answer = client.post(f"/api/projects/{project}/save")
    assert answer.status_code == 507
    client.workspace.follow(project, client.workspace.session(project), now=True)
    state = client.value(f"/api/projects/{project}")
    assert state["unsaved"] and "No space left" in state["problem"] and str(folder) not in state["problem"]
    monkeypatch.undo()
    state = client.post(f"/api/projects/{project}/save").json()
    assert (state["unsaved"], state["problem"]) == (False, None)


def test_what_another_program_changed_is_kept_or_written_over_as_the_person_says(client, project, folder):
    from delaminate.scene.saving import save_scenes

    ids = scene_ids(client, project)
    edit(client, project, {"operation": "hide", "scene": ids["a.png"], "layer": "layer-01"})
    save_scenes([scene.move("layer-02", 1, 1) for scene in load_scenes(folder)], folder)
    assert client.post(f"/api/projects/{project}/save").status_code == 409
    assert client.post(f"/api/projects/{project}/keep", {"whose": "nobody's"}).status_code == 422
    assert client.post(f"/api/projects/{project}/keep", {"whose": "ours"}).json()["unsaved"] is False
    save_scenes([scene.move("layer-02", 1, 1) for scene in load_scenes(folder)], folder)
    assert client.post(f"/api/projects/{project}/keep", {"whose": "theirs"}).json()["revision"] == 0


def zip_of(**files):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()


def send(client, *files):
    return client.post("/api/images", files=[("files", each) for each in files])


def test_what_pictures_are_that_are_sent_is_told_by_what_they_hold(client, tmp_path):
    png = png_bytes(to_pixels(picture(1, 9, 12))[..., :3])
    gif = io.BytesIO()
    Image.new("RGB", (5, 4), (9, 9, 9)).save(gif, "GIF")
    named = [("img10.png", png), ("../../img2.exe", png), (r"C:\x\img3.png", gif.getvalue()), ("notes.txt", b"hello")]
    answer = send(client, *named)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["count"], told["project"]["kind"], told["project"]["name"]) == (3, "images", "3 images")
    assert told["skipped"][0]["name"] == "notes.txt" and "not an image that we read" in told["skipped"][0]["reason"]
    project = told["project"]["id"]
    listed = client.value(f"/api/projects/{project}/images")["images"]
    assert [row["name"] for row in listed] == ["img2.exe", "img3.png", "img10.png"]
    assert pixels(client.get(f"/api/projects/{project}/images/{listed[0]['id']}.png?side=6")).shape[:2] == (4, 6)
    assert client.get(f"/api/projects/{project}/images/abc.png").status_code == 404
    stored = sorted(path.name for path in (tmp_path / "home" / "uploads").rglob("*") if path.is_file())
    assert stored == ["img10.png", "img2.png", "img3.gif", "names.json"]
    assert client.ask("DELETE", f"/api/projects/{project}").status_code == 200
    assert not list((tmp_path / "home" / "uploads").iterdir())


def test_a_zip_of_pictures_is_unpacked(client):
    png = png_bytes(to_pixels(picture(1, 9, 12)))
    answer = send(
        client, ("set.zip", zip_of(**{"a/2.png": png, "a/1.png": png, "__MACOSX/._1.png": b"x", "readme.md": b"hi"}))
    )
    assert answer.json()["count"] == 2
    assert [row["name"] for row in answer.json()["skipped"]] == ["readme.md"]


def test_poses_of_one_thing_are_found_in_all_frames(client, tmp_path):
    made = small_scenes(6)
    ground, one = made[0].layers[:2]
    shown = [replace(one, placement=replace(one.placement, entry=entry, track=4)) for entry in (0, 1, 2)]
    scenes = [replace(made[0], name=f"{n:03d}.png", layers=(ground, shown[n % 3])) for n in range(300)]
    folder = tmp_path / "clip"
    save_scenes(SceneSet([each.name for each in scenes], made.dictionary, lambda index: scenes[index]), folder, 10.0)
    project = send(client, ("clip.zip", zip_of(**of_scenes(folder)))).json()["project"]["id"]
    order = client.value(f"/api/projects/{project}/sprites/order")
    assert [sorted(some) for some in order["characters"]] == [["sprite-00", "sprite-01", "sprite-02"]]


def of_scenes(folder, top=""):
    """The files of a folder of scenes, by their paths."""
    return {
        f"{top}{path.relative_to(folder).as_posix()}": path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("way", ["zip", "zip of a folder", "folder"])
def test_a_folder_of_scenes_that_is_sent_is_opened(client, tmp_path, way):
    files = of_scenes(write_small_scenes(tmp_path / "made"), "" if way == "zip" else "mine/")
    files |= {f"{'' if way == 'zip' else 'mine/'}notes.txt": b"hello"}
    sent = files.items() if way == "folder" else [("scenes.zip", zip_of(**files))]
    answer = send(client, *sent).json()
    assert (answer["count"], answer["project"]["kind"]) == (3, "scenes")
    project = answer["project"]["id"]
    assert answer["project"]["name"] == ("scenes" if way == "zip" else "mine")
    ids = scene_ids(client, project)
    assert set(ids) == {"a.png", "b.png", "c.png"}
    told = {"operation": "hide", "scene": ids["a.png"], "layer": "layer-01"}
    assert edit(client, project, told, revision=0).status_code == 200
    assert client.ask("DELETE", f"/api/projects/{project}").status_code == 200
    assert not list((tmp_path / "home" / "uploads").iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda files: files.pop("dictionary/sprite-01.png"), "sprite-01"),
        (lambda files: files.update({"scenes/a.png/scene.json": b"{}"}), "scene.json"),
        (lambda files: files.update({"packs/a.tar": b""}), "packed"),
        (lambda files: files.update({"scenes/a.png/layers": b"", "scenes/a.png/layers/x.png/y.png": b""}), "none"),
        (lambda files: files.update({"dictionary/sprite-00.png": b"P"}), "sprite-00"),
    ],
)
def test_a_folder_of_scenes_that_is_damaged_is_refused(client, tmp_path, change, message):
    files = of_scenes(write_small_scenes(tmp_path / "made"))
    change(files)
    answer = send(client, *files.items())
    if message == "none":  # what such a folder does not have is left out
        assert answer.status_code == 200
        return
    assert answer.status_code == 422
    assert message in answer.json()["error"] and str(tmp_path) not in answer.json()["error"]
    assert not list((tmp_path / "home" / "uploads").iterdir())


@pytest.mark.parametrize(
    "name", ["scenes/../../../x.json", "scenes/./x.json", "scenes/a:b/x.json", f"scenes/{'a' * 300}/x.json"]
)
def test_a_folder_of_scenes_that_leads_out_is_left_where_it_is(client, tmp_path, name):
    files = of_scenes(write_small_scenes(tmp_path / "made"))
    answer = send(client, *files.items(), (name, b"{}"))
    assert answer.status_code == 200 and answer.json()["count"] == 3
    assert not list(tmp_path.rglob("x.json"))


@pytest.mark.parametrize("name", ["../x.png", "/etc/x.png", "a/../../x.png", "C:/x.png", r"..\x.png"])
def test_a_zip_that_leads_out_is_refused(client, name, tmp_path):
    answer = send(client, ("set.zip", zip_of(**{name: png_bytes(to_pixels(picture(1, 9, 12)))})))
    assert answer.status_code == 422
    assert "leads out" in answer.json()["error"]
    assert not list((tmp_path / "home" / "uploads").iterdir())


def test_a_zip_bomb_is_refused_while_it_is_read(client):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.png", bytes(40_000_000))
    answer = send(client, ("bomb.zip", data.getvalue()))
    assert answer.status_code == 422
    assert "too large unpacked" in answer.json()["error"]


def test_a_link_in_a_zip_is_refused(client):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        entry = zipfile.ZipInfo("a.png")
        entry.external_attr = 0o120777 << 16
        archive.writestr(entry, "/etc/passwd")
    assert "holds a link" in send(client, ("l.zip", data.getvalue())).json()["error"]


def test_a_clip_comes_alone(client):
    data = io.BytesIO()
    frames = [Image.new("RGB", (8, 6), (index * 60, 0, 0)) for index in range(3)]
    frames[0].save(data, "GIF", save_all=True, append_images=frames[1:], duration=100)
    project = send(client, ("clip.gif", data.getvalue())).json()["project"]
    assert project["name"] == "clip.gif"
    assert len(client.value(f"/api/projects/{project['id']}/images")["images"]) == 1
    png = png_bytes(to_pixels(picture(1, 9, 12)))
    assert "by itself" in send(client, ("clip.gif", data.getvalue()), ("a.png", png)).json()["error"]


@pytest.mark.parametrize("more", [{}, {"content": b"nothing", "headers": {"content-type": "multipart/form-data"}}])
def test_what_is_no_form_is_refused(client, more):
    assert client.post("/api/images", **more).status_code in (400, 422)


def test_models_methods_and_settings_are_listed(client):
    told = client.value("/api/models")
    assert "marionette/platform-game" in [row["id"] for row in told["models"]]
    assert {"dti-sprites", "marionette", "redo", "perturbgan"} <= {row["id"] for row in told["methods"]}
    settings = client.value("/api/methods/dti-sprites/settings?preset=tetrominoes")
    rows = {row["key"]: row for row in settings["settings"]}
    assert rows["num_sprites"]["value"] == 24 and rows["num_sprites"]["meaning"]
    assert client.get("/api/methods/none/settings").status_code == 422
    assert client.get("/api/methods/redo/settings?preset=none").status_code == 422
    assert [row["id"] for row in client.value("/api/exports/formats")["formats"]] == list(FORMATS)


def test_the_api_describes_itself(client):
    described = client.value("/api/openapi.json")
    text = json.dumps(described)
    assert "path" not in described["components"]["schemas"]["ProjectRow"]["properties"]
    for name, schema in described["components"]["schemas"].items():
        if name.endswith("Request"):
            assert schema["additionalProperties"] is False, name
    assert str(client.workspace.home) not in text


def test_a_sprite_keeps_its_id_when_others_go(client, project, folder):
    ids = lambda: [row["id"] for row in client.value(f"/api/projects/{project}/sprites")["sprites"]]  # noqa: E731
    before = {each: client.get(f"/api/projects/{project}/sprites/{each}.png").content for each in ids()}
    steps = [
        {"operation": "drop-sprite", "sprite": "sprite-00"},
        {"operation": "rename-sprite", "sprite": "sprite-02", "name": "last"},
    ]
    answer = edit(client, project, *steps)
    assert answer.status_code == 200, answer.text
    assert answer.json()["commands"][1].endswith("rename-sprite sprite-01 --to last")
    assert "sprite-00" not in ids() and "sprite-02" in ids()
    for each in ids():
        assert client.get(f"/api/projects/{project}/sprites/{each}.png").content == before[each]
    assert edit(client, project, {"operation": "drop-sprite", "sprite": "sprite-00"}).status_code == 404
    scene = client.value(f"/api/projects/{project}/scenes/{scene_ids(client, project)['a.png']}")
    assert {layer["sprite"] for layer in scene["layers"]} <= {None, *ids()}
    found = client.value(f"/api/projects/{project}/sprites/sprite-02/occurrences")["occurrences"]
    assert found
    # The same after a restart, and undone.
    client.workspace.sessions.pop(project).close()
    assert "sprite-02" in ids()
    assert client.value(f"/api/projects/{project}/sprites")["sprites"][ids().index("sprite-02")]["title"] == "last"
    client.post(f"/api/projects/{project}/undo", {"revision": 1})
    assert set(ids()) == set(before)


def test_a_clip_that_was_sent_is_listed_under_its_own_name(client):
    frames = [Image.fromarray(np.full((8, 8, 3), 40 * each, np.uint8)) for each in range(4)]
    data = io.BytesIO()
    frames[0].save(data, "GIF", save_all=True, append_images=frames[1:])
    sent = client.post("/api/images", files=[("files", ("walk.gif", data.getvalue()))]).json()
    listed = client.value(f"/api/projects/{sent['project']['id']}/images")
    assert [row["name"] for row in listed["images"]] == ["walk.gif"]


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("walk 1.png", "walk-1.png"), ("../../etc/passwd", "image.png"), ("x/e.d.png", "x-e.d.png"),
        ("..", "image.png"), ("con.png", "image-con.png"),
        ("a\0b.png", "a-b.png"), ("Blüte.JPG", "Blüte.png"), ("é" * 300, "é" * 50 + ".png"), ("A.png", "A-2.png"),
        (".hidden", "hidden.png"), ("a/b\\c:d.gif", "a-b-c-d.png"),
    ],
)  # fmt: skip
def test_files_that_are_sent_keep_a_plain_form_of_their_names(name, stored):
    assert plain_file_name(name, ".png", {"a.png"}) == stored


def test_a_new_scene_is_listed_and_edited_and_what_cannot_be_is_refused(client, project):
    place = f"/api/projects/{project}/scenes"
    made = client.post(place, {"name": "level 2", "like": scene_ids(client, project)["b.png"]}).json()
    assert scene_ids(client, project)["level 2"] == made["id"]
    assert made["command"].endswith("'level 2' --like b.png")
    edit(client, project, {"operation": "add", "scene": made["id"], "sprite": "sprite-00", "x": 4, "y": 5})
    assert len(client.value(f"{place}/{made['id']}")["layers"]) == 2
    for wrong in ({"name": "level 2"}, {"name": "../out"}, {"name": ""}, {"name": "x", "like": "nowhere"}):
        answer = client.post(place, {"like": made["id"], **wrong})
        assert 400 <= answer.status_code < 500, wrong


def test_a_picture_that_several_ask_for_is_made_once():
    cache, made = PictureCache(), []

    def make():
        time.sleep(0.05)
        made.append(1)
        return b"picture"

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(lambda _: cache.paint(("a",), make), range(12))) == {b"picture"}
    assert len(made) == 1
    assert cache.get(("a",), lambda: b"another") == b"picture"


def test_an_atlas_and_its_boxes_are_packed_together(client, project, monkeypatch):
    packed = []
    monkeypatch.setattr(pictures, "pack_layers", lambda *given: packed.append(given) or pack_layers(*given))
    place = f"/api/projects/{project}/scenes/{scene_ids(client, project)['a.png']}"
    boxes = client.value(f"{place}/atlas")
    assert pixels(client.get(f"{place}/atlas.png")).shape[:2] == (boxes["height"], boxes["width"])
    assert client.value(f"{place}/atlas") == boxes
    assert len(packed) == 1
