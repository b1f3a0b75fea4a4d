"""MarioNette from the command line: clips of all kinds, trained, taken apart, exported and put together again."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from delaminate.scene.loading import load_scenes
from delaminate.scene.summary import load_rate

GROUND = (30, 40, 60)
SETTINGS = {"search_steps": 1, "search_batch": 12, "search_seed": 5, "max_sprite": 16, "num_sprites": 6, "steps": 0}
SMALL = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
KNOWN = {"png": "manifest.json", "atlas": "atlas.json", "gif": "clip.gif", "placements": "placements.csv"}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def sprites():
    """Two sprites in which nothing looks like anything else."""
    rng = np.random.default_rng(1)
    y, x = np.abs(np.mgrid[:8, :8] - 3.5)
    shapes = np.hypot(y, x) < 4.2, np.ones((8, 8), bool)
    return [(rng.integers(90, 250, (8, 8, 3)).astype(np.uint8), shape) for shape in shapes]


def drawn(count=10, size=(40, 48), each=3, seed=0):
    """Frames with sprites afloat that do not touch."""
    rng, those = np.random.default_rng(seed), sprites()
    frames = np.full((count, *size, 3), GROUND, np.uint8)
    for frame in frames:
        cells = rng.permutation((size[0] // 12) * (size[1] // 12))[:each]
        for cell in cells.tolist():
            colour, shape = those[rng.integers(2)]
            top, left = (12 * n + int(rng.integers(4)) for n in divmod(cell, size[1] // 12))
            frame[top : top + 8, left : left + 8][shape] = colour[shape]
    return frames


def animation(path, frames, **words):
    pictures = [Image.fromarray(frame) for frame in frames]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=50, **words)
    return path


def enlarged(frames, factor):
    return frames.repeat(factor, 1).repeat(factor, 2)


def trained(command, data, run, *more):
    settings = () if "--resume" in more else SMALL
    code, out, err = command("train", "marionette", data, "--device", "cpu", "--quiet", "--out", run, *settings, *more)
    assert code == 0, err
    return out


def taken_apart(command, run, data, out, *more, expected=0):
    code, said, err = command("decompose", run, data, "--device", "cpu", "--out", out, *more)
    assert code == expected, err
    return said


def put_together(command, scenes, folder):
    """Recompose; the pictures in the order of the frames, uint8."""
    code, _, err = command("recompose", scenes, "--out", folder)
    assert code == 0, err
    return np.stack([np.asarray(Image.open(path).convert("RGB")) for path in sorted(folder.rglob("*.png"))])


def through(command, data, folder, *more):
    """Train, take apart and put together."""
    said = trained(command, data, folder / "run", *more)
    said += taken_apart(command, folder / "run", data, folder / "scenes")
    return put_together(command, folder / "scenes", folder / "images"), said


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return animation(tmp_path_factory.mktemp("clip") / "clip.png", drawn())


@pytest.fixture(scope="module")
def run(tmp_path_factory, clip):
    from delaminate.config import parse_settings
    from delaminate.pipelines.training import train

    folder = tmp_path_factory.mktemp("run") / "run"
    settings = parse_settings([f"{key}={value}" for key, value in SETTINGS.items()])
    train(str(clip), "marionette", settings=settings, out=folder, device="cpu")
    return folder


def test_a_clip_is_learned_taken_apart_exported_and_put_together(command, clip, run, tmp_path):
    taken_apart(command, run, clip, tmp_path / "scenes")
    scenes = load_scenes(tmp_path / "scenes")
    assert load_rate(tmp_path / "scenes") == 20
    assert all(layer.placement.track is not None for scene in scenes for layer in scene.layers[1:])
    assert [len(scene.layers) for scene in scenes] == [4] * 10
    assert np.array_equal(put_together(command, tmp_path / "scenes", tmp_path / "images"), drawn())
    words = ("--to", ",".join(KNOWN), "--out", tmp_path / "out")
    code, said, err = command("export", tmp_path / "scenes", *words)
    assert code == 0, err
    assert all(any((tmp_path / "out" / name).glob(file)) for name, file in KNOWN.items()), said


def test_two_decompositions_of_one_frame_are_identical(command, run, tmp_path):
    Image.fromarray(drawn()[4]).save(tmp_path / "frame.png")
    for name in ("one", "two"):
        taken_apart(command, run, tmp_path / "frame.png", tmp_path / name)
    files = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file()]
    assert len(files) > 4
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes(), file


def test_training_that_stopped_goes_on_as_if_it_had_not(command, clip, tmp_path):
    more = ("--set", "search_steps=2", "--set", "search_batch=6")
    trained(command, clip, tmp_path / "whole", *more)
    out = trained(command, clip, tmp_path / "parts", "--steps", "1", *more)
    assert "at step 1; go on with the same words and --resume" in out
    trained(command, clip, tmp_path / "parts", "--resume")
    one, two = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("whole", "parts"))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("name", ["clip.gif", "clip.png"])
def test_a_clip_of_one_frame(command, tmp_path, name):
    rebuilt, _ = through(command, animation(tmp_path / name, drawn(1, each=6)), tmp_path)
    assert rebuilt.shape == (1, 40, 48, 3)
    assert command("export", tmp_path / "scenes", "--to", "gif,atlas", "--out", tmp_path / "out")[0] == 0


def test_a_clip_of_nothing_but_ground(command, tmp_path):
    frames = np.full((6, 20, 24, 3), GROUND, np.uint8)
    Path(tmp_path / "frames").mkdir()
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / "frames" / f"{number}.png")
    rebuilt, _ = through(command, tmp_path / "frames", tmp_path)
    assert np.array_equal(rebuilt, frames)
    assert [len(scene.layers) for scene in load_scenes(tmp_path / "scenes")] == [1] * 6
    words = ("--to", "png,atlas,aseprite,ase,tiled,placements,gif", "--out", tmp_path / "out")
    code, _, err = command("export", tmp_path / "scenes", *words)
    assert code == 0, err


def test_a_canvas_of_odd_size(command, tmp_path):
    frames = drawn(size=(37, 61))
    rebuilt, _ = through(command, animation(tmp_path / "clip.png", frames), tmp_path)
    assert np.array_equal(rebuilt, frames)


def test_frames_of_differing_size_are_padded_and_said(command, tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    Image.fromarray(drawn(1)[0]).save(folder / "level-1.png")
    Image.fromarray(drawn(1, size=(30, 30))[0]).save(folder / "level-2.png")
    code, out, err = command("train", "marionette", folder, "--out", tmp_path / "run", *SMALL)
    assert code == 0, err
    assert "padded to 48 x 40" in out


def test_a_truncated_video_gives_what_can_be_decoded_and_says_so(command, tmp_path):
    av = pytest.importorskip("av")
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w", options={"movflags": "faststart"}) as out:
        stream = out.add_stream("libx264rgb" if "libx264rgb" in av.codecs_available else "mpeg4", rate=20)
        stream.height, stream.width = 40, 48
        stream.pix_fmt = "rgb24" if stream.codec.name == "libx264rgb" else "yuv420p"
        stream.options = {"crf": "0", "g": "1"}
        for frame in drawn(12):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        out.mux(stream.encode())
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 3 // 4])
    rebuilt, said = through(command, path, tmp_path)
    assert 4 <= len(rebuilt) < 12
    assert said.count("clip.mp4: only") == 2
    assert "12 are stated" in said or "could not be decoded" in said
    skipped = json.loads((tmp_path / "scenes" / "errors.json").read_text())["skipped"]
    assert [entry["name"] for entry in skipped] == ["clip.mp4"]


@pytest.mark.parametrize("disposal", [1, 2, 3])
def test_a_gif_that_keeps_clears_or_restores(command, tmp_path, disposal):
    from delaminate.data import read_clip

    # Frames hold one sprite each; what a player shows follows from the disposal.
    pictures = []
    for number in range(6):
        rgba = np.zeros((24, 48, 4), np.uint8)
        if number == 0:
            rgba[:] = (*GROUND, 255)
        colour, shape = sprites()[1]
        rgba[5:13, 6 * number + 2 : 6 * number + 10][shape] = np.concatenate(
            [colour[shape], np.full((shape.sum(), 1), 255, np.uint8)], 1
        )
        pictures.append(Image.fromarray(rgba))
    path = tmp_path / "clip.gif"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=50, disposal=disposal)
    shown = read_clip(path).pixels.permute(0, 2, 3, 1).numpy()
    rebuilt, _ = through(command, path, tmp_path)
    assert rebuilt.shape == shown.shape
    # What stays beside the next one looks like a wider sprite with a part hidden; the edge of the canvas costs a row. Where
    # all but the first frame are cleared, nothing explains that one's own background.
    assert (rebuilt == shown)[1 if disposal == 3 else 0 :].all(3).mean() > 0.9


def test_transparent_input_lies_on_black(command, tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    frames = drawn()
    clear = (frames == GROUND).all(3)
    for number, frame in enumerate(frames):
        alpha = np.where(clear[number], 0, 255).astype(np.uint8)
        Image.fromarray(np.dstack([frame, alpha])).save(folder / f"{number}.png")
    rebuilt, _ = through(command, folder, tmp_path)
    assert np.array_equal(rebuilt, np.where(clear[..., None], 0, frames))


@pytest.mark.parametrize("form", ["clip", "folder"])
def test_enlarged_pixel_art_is_worked_on_at_its_own_size_and_comes_back_exactly(command, tmp_path, form):
    frames = enlarged(drawn(), 3)
    path = tmp_path / "frames"
    path.mkdir()
    if form == "clip":
        path = animation(tmp_path / "clip.png", frames)
    else:
        for number, frame in enumerate(frames):
            Image.fromarray(frame).save(path / f"{number}.png")
    rebuilt, said = through(command, path, tmp_path)
    assert said.count("enlarged 3 times") == 2
    assert np.array_equal(rebuilt, frames)
    scenes = load_scenes(tmp_path / "scenes")
    assert {scene.size for scene in scenes} == {(120, 144)}
    assert json.loads((tmp_path / "run" / "model" / "config.json").read_text())["config"]["image_size"] == [40, 48]
    assert json.loads((tmp_path / "scenes" / "errors.json").read_text())["psnr_original"] > 60


@pytest.mark.parametrize("background", ["solid", "still"])
def test_a_single_enlarged_frame_is_seen_as_the_model_was_made(command, tmp_path, background):
    frames = drawn()
    if background == "still":
        frames = np.where((frames == GROUND).all(3)[..., None], np.arange(48, dtype=np.uint8)[:, None] * 2, frames)
    data = animation(tmp_path / "clip.png", enlarged(frames, 3))
    trained(command, data, tmp_path / "run", "--set", f"background={background}")
    # An empty frame tells nothing about its enlargement, and one of large blocks something else.
    Image.fromarray(np.full((120, 144, 3), GROUND, np.uint8)).save(tmp_path / "empty.png")
    Image.fromarray(enlarged(frames[3:4], 3)[0]).save(tmp_path / "frame.png")
    for name in ("empty", "frame"):
        # A frame that neither has sprites nor is the background is nothing that the model knows.
        unknown = int(name == "empty" and background == "still")
        said = taken_apart(command, tmp_path / "run", tmp_path / f"{name}.png", tmp_path / name, expected=unknown)
        assert "enlarged 3 times" in said
    rebuilt = put_together(command, tmp_path / "frame", tmp_path / "images")
    assert np.array_equal(rebuilt[0], enlarged(frames[3:4], 3)[0])


MEASURED = """
import resource, sys
import numpy as np, torch
from PIL import Image
from delaminate.matching.exact.background import Background
from delaminate.methods import load_model

torch.set_num_threads(2)
model = load_model(sys.argv[1])
frame = torch.from_numpy(np.array(Image.open(sys.argv[2]))).permute(2, 0, 1).float() / 255
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = model.decompose(frame)
worst = float((found.composite()[0] - frame).abs().max())
print(before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, worst, len(found.images[0]))
"""


@pytest.mark.slow
def test_a_frame_of_4k_takes_bounded_memory(run, tmp_path):
    frame = np.concatenate([np.concatenate(list(drawn(9, (240, 320), 40)[:6]), 1)] * 9)  # 2160 x 1920
    frame = np.concatenate([frame, frame], 1)
    Image.fromarray(frame).save(tmp_path / "frame.png")
    words = [sys.executable, "-c", MEASURED, run, tmp_path / "frame.png"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=True)
    before, after, worst, count = map(float, done.stdout.split())
    assert worst < 0.07
    assert count > 4000
    # Peak, in KiB, beside the library, the frame itself and its reconstruction included.
    assert after - before < 2 * 2**20


def test_what_large_frames_take_is_said_before_they_take_it(command, run, tmp_path):
    frame = np.full((1500, 2000, 3), GROUND, np.uint8)
    frame[100:108, 200:208] = sprites()[1][0]
    animation(tmp_path / "large.png", np.stack([frame, frame[:, ::-1]]))
    said = taken_apart(command, run, tmp_path / "large.png", tmp_path / "scenes")
    assert re.search(r"Large frames: about [0-9.]+ GB of memory and [a-z0-9 ]+ for 2 of 2000 x 1500", said), said


def test_small_clips_are_not_announced(command, run, clip, tmp_path):
    assert "Large" not in taken_apart(command, run, clip, tmp_path / "scenes")


def test_a_large_batch_is_announced_by_training(command):
    from delaminate.methods.marionette import Config, MarioNette
    from delaminate.pipelines.images import forecast_text

    config = Config(image_size=(360, 640), search_steps=3, steps=0)
    forecast = MarioNette.forecast_training(config, 40, (360, 640))
    assert forecast_text(forecast, (360, 640)) == (
        "Large frames: about 4.6 GB of memory and 7 min for 3 rounds on 40 of 640 x 360 pixels. "
        "With --set search_batch=10 it takes about a quarter of both."
    )
    assert MarioNette.forecast_training(config, 10, (360, 640)) is None
    assert MarioNette.forecast_training(Config(image_size=(360, 640)), 40, (360, 640)) is None
