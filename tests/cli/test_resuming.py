"""decompose goes on where it was cut off, and machines share a collection."""

import json
import pickle
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np
import pytest
from helpers.folders import contents
from PIL import Image

import delaminate
from delaminate.errors import ConfigError, FormatError
from delaminate.pipelines import decomposition
from delaminate.scene.loading import load_scenes


def files_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(params=["files", "packs"])
def kind(request):
    return ["--packed"] if request.param == "packs" else []


@pytest.fixture
def words(model, pieces):
    return ("decompose", model, pieces / "images", "--batch", 2)


@pytest.fixture
def cut_off(monkeypatch):
    """Let `decompose` end before the batch of a number, as if its process was killed: nothing is tidied up."""

    @contextmanager
    def cut(at):
        decomposed, count = decomposition._decomposed, []

        def some(*given):
            count.append(1)
            if len(count) > at:
                raise KeyboardInterrupt
            return decomposed(*given)

        with monkeypatch.context() as inside:
            inside.setattr(decomposition, "_decomposed", some)
            inside.setattr("delaminate.pipelines.scene_output.SceneOutput.publish", lambda output: output.totals())
            yield

    return cut


@pytest.mark.parametrize("at", [0, 1, 2])
def test_what_was_cut_off_and_resumed_ends_with_the_same_bytes(command, words, kind, tmp_path, cut_off, at):
    assert command(*words, "--out", tmp_path / "whole", *kind)[0] == 0
    out = tmp_path / "out"
    with cut_off(at):
        assert command(*words, "--out", out, *kind)[0] == 130
    if at:
        assert command(*words, "--out", out, *kind)[0] == 2  # it is not begun anew unasked
        with (out / "journal.jsonl").open("ab") as file:
            file.write(b'{"name": "0000')  # a line that was cut off
        (out / "scenes" / f".{'0' * 16}.tmp").parent.mkdir(exist_ok=True)
        (out / "scenes" / f".{'0' * 16}.tmp").write_bytes(b"a file that was cut off")
    code, said, err = command(*words, "--out", out, "--resume", *kind)
    assert code == 0, err
    assert ("Going on with" in said) == bool(at)
    assert files_of(out) == files_of(tmp_path / "whole")
    # Once more: nothing is left to do.
    with cut_off(0):
        assert command(*words, "--out", out, "--resume")[0] == 0
    assert command(*words, "--out", out, "--resume")[0] == 0
    assert files_of(out) == files_of(tmp_path / "whole")


def finished(command, words, out, *more):
    code, said, err = command(*words, "--out", out, *more)
    assert code == 0, err
    return said


def test_python_resumes_as_the_command_line_does(command, words, model, pieces, tmp_path, cut_off):
    finished(command, words, tmp_path / "whole")
    given = (str(model), pieces / "images", tmp_path / "out")
    with cut_off(1), pytest.raises(KeyboardInterrupt):
        delaminate.decompose(*given, batch=2, device="cpu")
    found = delaminate.decompose(*given, batch=2, device="cpu", resume=True)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert len(found) == len(found.scenes) == 5
    for change in ({"resume": True}, {"packed": True}):
        with pytest.raises(ConfigError, match="give `out`"):
            delaminate.decompose(given[0], given[1], device="cpu", **change)


@pytest.mark.parametrize("at", [1, 3])
def test_scenes_and_sprites_that_were_edited_stay(command, words, kind, tmp_path, cut_off, at):
    finished(command, words, tmp_path / "whole", *kind)
    out = tmp_path / "out"
    with cut_off(at):
        command(*words, "--out", out, *kind)
    finished(command, words, out, "--resume", "-n", 2)  # lists two
    finished(command, ("edit", out, "move", "--scene", "000001.png", "--layer", "layer-01", "--by", 3, 0), out)
    sprite = out / "dictionary" / "sprite-00.png"
    Image.new("RGBA", (30, 30), "red").save(sprite)
    drawn = sprite.read_bytes()
    edited = load_scenes(out)[1]
    said = finished(command, words, out, "--resume")
    assert "1 scenes were edited since they were made; they stay as they are: 000001.png." in said
    assert sprite.read_bytes() == drawn
    Image.open(tmp_path / "whole" / "dictionary" / "sprite-00.png").save(sprite)
    ours, others = load_scenes(out), load_scenes(tmp_path / "whole")
    assert ours.names == others.names
    for name, one, other in zip(ours.names, ours, others, strict=True):
        places = [scene.layer("layer-01").placement.transforms for scene in (one, other, edited)]
        assert (places[0] == places[1]) == (name != "000001.png")
        if name == "000001.png":
            assert places[0] == places[2]


def test_what_somebody_put_where_a_scene_was_to_be_stays(command, words, tmp_path, cut_off):
    out = tmp_path / "out"
    with cut_off(1):
        command(*words, "--out", out)
    mine = out / "scenes" / "000003.png"
    shutil.copytree(out / "scenes" / "000000.png", mine)
    document = json.loads((mine / "scene.json").read_text()) | {"name": "000003.png"}
    (mine / "scene.json").write_text(json.dumps(document))
    kept = (mine / "scene.json").read_bytes()
    assert "000003.png" in finished(command, words, out, "--resume")
    assert (mine / "scene.json").read_bytes() == kept
    assert len(load_scenes(out)) == 5
    # What cannot be read is no work of anybody.
    (mine / "scene.json").write_bytes(kept[:50])
    finished(command, words, out, "--resume")
    finished(command, words, tmp_path / "whole")
    assert files_of(out)["scenes/000003.png/scene.json"] == files_of(tmp_path / "whole")["scenes/000003.png/scene.json"]


@pytest.mark.parametrize("harm", ["scene.json", "scene", "sprite", "everything but the journal"])
def test_what_is_missing_or_damaged_is_made_anew(command, words, tmp_path, harm):
    out = tmp_path / "out"
    finished(command, words, out)
    whole = files_of(out)
    if harm == "scene.json":
        (out / "scenes" / "000001.png" / "scene.json").write_bytes(b"{")
    elif harm == "scene":
        shutil.rmtree(out / "scenes" / "000001.png")
    elif harm == "sprite":
        (out / "dictionary" / "sprite-01.png").unlink()
    else:
        for part in ("scenes", "dictionary", "residuals"):
            shutil.rmtree(out / part)
        (out / "summary.json").unlink()
    finished(command, words, out, "--resume")
    again = files_of(out)
    assert again.pop("journal.jsonl").startswith(whole.pop("journal.jsonl"))
    assert again == whole


def test_packed_scenes_that_are_damaged_are_made_anew(command, words, tmp_path):
    out = tmp_path / "out"
    finished(command, words, out, "--packed")
    good = [scene.composite() for scene in load_scenes(out)]
    pack = out / "packs" / "000000.tar"
    pack.write_bytes(pack.read_bytes()[:4000])
    with pytest.raises(FormatError, match="ends within it"):
        list(load_scenes(out))
    finished(command, words, out, "--resume")
    assert all((scene.composite() == other).all() for scene, other in zip(load_scenes(out), good, strict=True))


def test_scenes_of_images_that_have_changed_are_made_anew(command, model, pieces, tmp_path):
    images, out = tmp_path / "images", tmp_path / "out"
    shutil.copytree(pieces / "images", images)
    words = ("decompose", model, images, "--batch", 2)
    finished(command, words, out, "-n", 3)
    shutil.copy(images / "000004.png", images / "000001.png")
    said = finished(command, words, out, "--resume")
    assert "1 scenes were made of images that have changed since; they were made anew: 000001.png." in said
    finished(command, words, tmp_path / "whole")
    again, whole = files_of(out), files_of(tmp_path / "whole")
    assert again.pop("journal.jsonl") != whole.pop("journal.jsonl")
    assert again == whole


def test_scenes_that_were_being_made_anew_when_it_was_cut_off_are_no_edits(
    command, model, pieces, kind, tmp_path, cut_off
):
    images, out = tmp_path / "images", tmp_path / "out"
    shutil.copytree(pieces / "images", images)
    words = ("decompose", model, images, "--batch", 1, *kind)
    finished(command, words, out)
    for number in (1, 2):
        shutil.copy(images / "000004.png", images / f"00000{number}.png")
    with cut_off(1):  # the journal knows the first of the two, the summary does not
        command(*words, "--out", out, "--resume")
    said = finished(command, words, out, "--resume")
    assert "were edited" not in said
    finished(command, words, tmp_path / "whole")
    ours, whole = load_scenes(out), load_scenes(tmp_path / "whole")
    assert all((one.composite() == other.composite()).all() for one, other in zip(ours, whole, strict=True))


def test_another_model_and_other_settings_are_refused(command, words, model, pieces, tmp_path):
    out = tmp_path / "out"
    finished(command, words, out)
    kept = files_of(out)
    other = tmp_path / "model"
    delaminate.DTISprites.preset("tetrominoes-paper", num_sprites=4, num_layers=2).save_pretrained(other)
    for given, message in (
        (("decompose", other, pieces / "images"), "its scenes were made with another model"),
        ((*words, "--fit", "crop"), "made with fit squash instead of crop"),
        ((*words, "--overwrite"), "choose one"),
        ((*words, "--packed"), "its scenes lie in files of their own"),
    ):
        code, _, err = command(*given, "--out", out, "--resume")
        assert code == 2
        assert message in err
    assert files_of(out) == kept
    (out / "journal.jsonl").unlink()
    code, _, err = command(*words, "--out", out, "--resume")
    assert code == 2
    assert "holds scenes without a journal" in err
    for damage in (b"no json\n", b'{"format": "delaminate-journal", "version": 2}\n', kept["journal.jsonl"] + b"[]\n"):
        (out / "journal.jsonl").write_bytes(damage)
        code, _, err = command(*words, "--out", out, "--resume")
        assert code == 2
        assert "journal.jsonl" in err and "--overwrite" in err
    finished(command, words, out, "--overwrite")
    assert files_of(out) == kept


def test_two_calls_do_not_write_at_once(command, words, tmp_path):
    pytest.importorskip("fcntl")
    from delaminate.pipelines.journal import Journal

    finished(command, words, tmp_path / "out")
    settings = json.loads((tmp_path / "out" / "journal.jsonl").read_text().splitlines()[0])
    settings = {key: settings[key] for key in ("model", "by", "fit", "zoom")}
    journal = Journal(tmp_path / "out", None, settings)
    code, _, err = command(*words, "--out", tmp_path / "out", "--resume")
    assert code == 2
    assert "another call is writing here" in err
    journal.close()
    finished(command, words, tmp_path / "out", "--resume")


@pytest.mark.parametrize("shared", [True, False])
def test_shards_together_are_the_whole(command, words, kind, tmp_path, shared):
    finished(command, words, tmp_path / "whole")
    out = tmp_path / "out"
    for part in (2, 1):
        folder = out if shared else tmp_path / f"part-{part}"
        finished(command, words, folder, "--shard", f"{part}/2", *kind)
        if not shared:
            shutil.copytree(folder, out, dirs_exist_ok=True)
    assert len(load_scenes(out)) == (5 if shared else 2)
    if not shared:
        finished(command, words, out, "--resume")
    if kind:
        assert {path.name for path in (out / "packs").iterdir()} == {"1-of-2-000000.tar", "2-of-2-000000.tar"}
        finished(command, ("scenes", "unpack", out), tmp_path / "unpacked")
        out = tmp_path / "unpacked"
    ours, whole = contents(out), contents(tmp_path / "whole")
    for found in (ours, whole):
        for name in [name for name in found if name.startswith("journal")]:
            found.pop(name)
    errors = [found.pop("errors.json") for found in (ours, whole)]
    assert ours == whole
    assert [row["name"] for row in errors[0]["images"]] == [row["name"] for row in errors[1]["images"]]
    assert errors[0]["psnr"] == pytest.approx(errors[1]["psnr"])


def test_what_a_shard_left_is_made_without_it(command, words, tmp_path, cut_off):
    out = tmp_path / "out"
    finished(command, words, out, "--shard", "1/2")
    with cut_off(1):
        command(*words, "--out", out, "--shard", "2/2")
    code, _, err = command(*words, "--out", out, "--shard", "2/2")
    assert code == 2
    assert "was begun already. Go on with it by --resume" in err
    finished(command, words, out, "--resume")
    assert load_scenes(out).names == tuple(f"{number:06d}.png" for number in range(5))


@pytest.mark.parametrize(
    ("shard", "message"),
    [
        ("0/2", "expected a part from 1 to 2"),
        ("3/2", "expected a part from 1 to 2"),
        ("1/0", "expected a part from 1"),
        ("1/6", "there are 5 images; expected at most as many parts"),
        ("half", "expected I/N"),
        ("1/2/3", "expected I/N"),
    ],
)
def test_shards_that_are_none_are_refused(command, words, tmp_path, shard, message):
    code, _, err = command(*words, "--out", tmp_path / "out", "--shard", shard)
    assert code == 2
    assert message in err
    code, _, err = command(*words, "--out", tmp_path / "out", "--shard", "1/2", "--overwrite")
    assert code == 2
    assert "would remove the scenes of other shards" in err
    assert not (tmp_path / "out").exists()


def frames(folder):
    pixels = np.zeros((5, 35, 35, 3), np.uint8)
    for number, frame in enumerate(pixels):
        frame[10:18, 3 + 4 * number : 11 + 4 * number] = (200, 40, 40)
    pictures = [Image.fromarray(frame) for frame in pixels]
    pictures[0].save(folder / "clip.gif", save_all=True, append_images=pictures[1:], duration=[40, 80, 40, 80, 40])
    return folder / "clip.gif"


def test_clips_are_resumed_with_the_same_tracks_and_have_no_shards(command, model, tmp_path, cut_off):
    words = ("decompose", model, frames(tmp_path), "--batch", 2)
    finished(command, words, tmp_path / "whole")
    with cut_off(2):
        command(*words, "--out", tmp_path / "out")
    finished(command, words, tmp_path / "out", "--resume")
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")
    code, _, err = command(*words, "--out", tmp_path / "none", "--shard", "1/2")
    assert code == 2
    assert "followed from the first to the last" in err


def test_scenes_among_their_images_are_no_images_when_it_goes_on(command, model, pieces, kind, tmp_path, cut_off):
    folder = tmp_path / "one"
    shutil.copytree(pieces / "images", folder)
    words = ("decompose", model, folder, "--batch", 2, *kind)
    with cut_off(1):
        command(*words, "--out", folder)
    finished(command, words, folder, "--resume")
    assert len(load_scenes(folder)) == 5
    finished(command, words, folder, "--overwrite")
    assert len(load_scenes(folder)) == 5


def test_nothing_to_go_on_with_is_left_where_nothing_came_out(command, model, pieces, tmp_path, monkeypatch):
    words = ("decompose", model, pieces / "images", "--out", tmp_path / "out")
    with monkeypatch.context() as change:
        change.setattr("delaminate.scene.validation.MAX_SIDE", 3)
        code, _, err = command(*words)
        assert code == 2
        assert "no image became a scene" in err
    assert command(*words)[0] == 0


def stamps(folder):
    return {path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in folder.rglob("*.png")}


def test_images_that_were_recomposed_are_left_and_changed_ones_made_anew(command, scenes, tmp_path):
    out = tmp_path / "flat"
    finished(command, ("recompose", scenes), out)
    whole = files_of(out)
    (out / "000003.png").unlink()
    finished(command, ("edit", scenes, "move", "--scene", "000001.png", "--layer", "layer-01", "--by", 2, 0), scenes)
    before = stamps(out)
    finished(command, ("recompose", scenes), out, "--resume")
    after = stamps(out)
    assert {name for name in after if after[name] != before.get(name)} == {"000001.png", "000003.png"}
    assert {name for name, data in files_of(out).items() if data != whole[name]} == {"000001.png"}
    # Another sprite changes all that show it.
    for sprite in (scenes / "dictionary").iterdir():
        Image.new("RGBA", (9, 9), "blue").save(sprite)
    assert {name for name, at in stamps(out).items() if at != after[name]} == set()
    finished(command, ("recompose", scenes), out, "--resume")
    assert {name for name, at in stamps(out).items() if at == after[name]} == set()
    # What this did not make is not written over.
    Image.new("RGB", (9, 9)).save(out / "000002.png")
    code, _, err = command("recompose", scenes, "--out", out, "--resume")
    assert code == 2
    assert f"{out / '000002.png'}: is there already" in err


def test_formats_that_are_finished_are_left_out(command, scenes, tmp_path, monkeypatch):
    out, words = tmp_path / "out", ("export", scenes, "--to", "png,ora")
    finished(command, words, tmp_path / "whole")

    def stop(*given):
        raise KeyboardInterrupt

    with monkeypatch.context() as change:
        change.setattr("delaminate.exporters.openraster.write_atomic", stop)
        assert command(*words, "--out", out)[0] == 130
    before = stamps(out)
    said = finished(command, words, out, "--resume")
    assert said.startswith("ora: ") and "png: " not in said
    assert stamps(out) == before
    assert files_of(out) == files_of(tmp_path / "whole")
    assert "Everything in" in finished(command, words, out, "--resume")
    assert "png: " in finished(command, words, out, "--resume", "--scale", 2)  # another question
    finished(command, ("edit", scenes, "hide", "--layer", "layer-01"), scenes)
    assert "png: " in finished(command, words, out, "--resume", "--scale", 2)
    shutil.rmtree(out / "png")
    assert finished(command, words, out, "--resume", "--scale", 2).startswith("png: ")
    with monkeypatch.context() as change:  # what is being written anew is not finished any more
        change.setattr("delaminate.exporters.openraster.write_atomic", stop)
        assert command(*words, "--out", out, "--scale", 2)[0] == 130
    assert finished(command, words, out, "--resume", "--scale", 2).startswith("ora: ")
    (out / "exported.json").write_bytes(b"[")
    assert "png: " in finished(command, words, out, "--resume")


def written(path):
    """Bytes of a file, 0 while there is none."""
    return path.stat().st_size if path.exists() else 0


@pytest.mark.parametrize("packed", [False, True])
def test_a_process_killed_at_random_moments_is_finished(command, model, tmp_path, packed):
    drawn = delaminate.draw("tetrominoes", 200, split="dev").images
    (tmp_path / "images").mkdir()
    for name, pixels in zip(drawn.names, drawn.pixels, strict=True):
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(tmp_path / "images" / f"{name}.png")
    words = ["decompose", model, tmp_path / "images", "--batch", 3, *(["--packed"] if packed else [])]
    finished(command, words, tmp_path / "whole")
    out, rng, reached = tmp_path / "out", random.Random(5), []
    for _ in range(6):
        given = [sys.executable, "-m", "delaminate", *map(str, words), "--out", str(out), "--resume"]
        process = subprocess.Popen(given, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        before = written(out / "journal.jsonl")
        while process.poll() is None and written(out / "journal.jsonl") <= before:
            time.sleep(0.01)
        time.sleep(0.4 * rng.random())
        process.send_signal(signal.SIGKILL)
        process.wait(60)
        reached.append((out / "journal.jsonl").read_bytes().count(b"\n"))
        if (out / "summary.json").exists():  # what is listed can be read, at any moment
            assert len(list(load_scenes(out))) <= reached[-1]
    assert reached == sorted(reached)
    finished(command, words, out, "--resume")
    assert files_of(out) == files_of(tmp_path / "whole")


def rows_of(folder):
    return {row["name"]: row for row in json.loads((folder / "summary.json").read_text())["scenes"]}


def test_a_shard_that_goes_on_keeps_what_was_packed_since(command, words, tmp_path):
    for part in (1, 2):
        finished(command, words, tmp_path / "out", "--shard", f"{part}/2")
    finished(command, ("scenes", "pack", tmp_path / "out"), tmp_path / "packed")
    before, good = rows_of(tmp_path / "packed"), list(load_scenes(tmp_path / "packed"))
    finished(command, words, tmp_path / "packed", "--shard", "1/2", "--resume")
    assert rows_of(tmp_path / "packed") == before and all("pack" in row for row in before.values())
    for one, other in zip(load_scenes(tmp_path / "packed"), good, strict=True):
        assert (one.composite() == other.composite()).all()


def test_a_shard_that_goes_on_keeps_what_was_edited_since(command, words, tmp_path):
    out = tmp_path / "out"
    for part in (1, 2):
        finished(command, words, out, "--shard", f"{part}/2", "--packed")
    scenes = load_scenes(out)
    name, layer = scenes.names[-1], scenes[-1].layers[-1].id
    finished(command, ("edit", out, "hide", "--scene", name, "--layer", layer), out)
    before = rows_of(out)
    finished(command, words, out, "--shard", "1/2", "--resume")
    assert rows_of(out) == before
    assert not load_scenes(out)[-1].layers[-1].visible


def test_what_was_made_anew_without_shards_counts_when_one_goes_on(command, model, pieces, tmp_path):
    images, out = tmp_path / "images", tmp_path / "out"
    shutil.copytree(pieces / "images", images)
    words = ("decompose", model, images, "--batch", 1)
    for part in (1, 2):
        finished(command, words, out, "--shard", f"{part}/2")
    shutil.copy(images / "000000.png", images / "000004.png")
    finished(command, words, out, "--resume")
    before = json.loads((out / "errors.json").read_text())
    finished(command, words, out, "--shard", "1/2", "--resume")
    assert json.loads((out / "errors.json").read_text()) == before


@pytest.mark.parametrize("where", ["memory", "folder"])
def test_results_are_kept_and_sent_as_any_others(model, pieces, tmp_path, where):
    found = delaminate.decompose(model, pieces / "images", None if where == "memory" else tmp_path / "out")
    again = pickle.loads(pickle.dumps(found))
    assert json.loads(json.dumps(found.rows)) == again.rows
    assert len(again) == len(found) == len(again.scenes) == 5 and again.means == found.means
