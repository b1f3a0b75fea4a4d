import builtins
import importlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from delaminate.data import ImageSet, clips, draw_images, load_folder, open_data
from delaminate.data.clips import is_clip, read_clip
from delaminate.data.enlargement import detect_enlargement, is_enlarged, undo_enlargement
from delaminate.errors import DataError, MissingExtra
from delaminate.scene.canvas_map import CanvasMap

RED, BLUE, CLEAR = (255, 0, 0, 255), (0, 0, 255, 255), (0, 0, 0, 0)


def rgba(rows):
    """A picture from rows of letters: r red, b blue, anything else transparent."""
    colour = {"r": RED, "b": BLUE}
    pixels = [[colour.get(letter, CLEAR) for letter in row] for row in rows]
    return Image.fromarray(np.array(pixels, dtype=np.uint8))


def letters(pixels):
    """The other way round: black is a dot."""
    names = {(255, 0, 0): "r", (0, 0, 255): "b", (0, 0, 0): "."}
    return ["".join(names[tuple(p)] for p in row) for row in pixels.permute(1, 2, 0).tolist()]


def video(path, frames, codec="ffv1", pixel_format="bgr0", rate=12, **options):
    av = pytest.importorskip("av")
    with av.open(str(path), "w", options=options) as out:
        stream = out.add_stream(codec, rate=rate)
        stream.height, stream.width = frames.shape[2:]
        stream.pix_fmt = pixel_format
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame.permute(1, 2, 0).numpy()), format="rgb24")
            out.mux(stream.encode(picture))
        out.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def frames():
    return draw_images("side-scroller", 12).pixels


def test_a_lossless_video_comes_back_bit_by_bit(tmp_path, frames):
    clip = read_clip(video(tmp_path / "a.mkv", frames))
    assert torch.equal(clip.pixels, frames)
    assert clip.rate == pytest.approx(12)
    assert clip.names[:2] == ("frame-000000", "frame-000001")
    assert clip.skipped == ()
    assert torch.equal(read_clip(tmp_path / "a.mkv", limit=3).pixels, frames[:3])
    smaller = read_clip(tmp_path / "a.mkv", size=(64, 96))
    assert smaller.size == (64, 96)
    assert smaller.canvas_maps[0].original == (128, 192)


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format"),
    [
        ("a.mp4", "libx264", "yuv444p"),
        ("a.mov", "mpeg4", "yuv420p"),
        ("a.avi", "mpeg4", "yuv420p"),
        ("a.webm", "libvpx-vp9", "yuv420p"),
    ],
)
def test_every_container_is_read(tmp_path, frames, name, codec, pixel_format):
    clip = open_data(video(tmp_path / name, frames, codec, pixel_format))
    assert isinstance(clip, ImageSet)
    assert clip.pixels.shape == frames.shape
    assert (clip.pixels.float() - frames.float()).abs().mean() < 14
    assert clip.rate == pytest.approx(12, abs=0.1)
    assert clip.skipped == ()


def test_a_video_of_one_frame_is_a_clip(tmp_path, frames):
    clip = load_folder(video(tmp_path / "a.mkv", frames[:1]))
    assert len(clip) == 1
    assert clip.rate is not None


def test_a_video_that_breaks_off_gives_what_is_there_and_says_so(tmp_path, frames):
    path = video(tmp_path / "a.mp4", frames, "libx264", "yuv420p", movflags="faststart", rate=12)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 4])
    clip = read_clip(path)
    assert 0 < len(clip) < 12
    ((name, reason),) = clip.skipped
    assert name == "a.mp4"
    assert f"only {len(clip)} frames could be read" in reason
    cut = video(tmp_path / "b.mkv", frames)
    data = cut.read_bytes()
    cut.write_bytes(data[: len(data) // 2])
    clip = read_clip(cut)
    assert 0 < len(clip) < 12
    assert clip.skipped[0][0] == "b.mkv"


def test_videos_that_cannot_be_used_are_refused(tmp_path, frames, monkeypatch):
    path = video(tmp_path / "a.mp4", frames, "libx264", "yuv420p")
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"a\.mp4: no frame can be read: cannot be opened as a video; is it whole"):
        read_clip(path)
    with pytest.raises(DataError, match="is an address; only files on this machine"):
        read_clip("http://example.com/a.mp4")
    with pytest.raises(DataError, match="no such file"):
        read_clip(tmp_path / "none.mp4")
    with pytest.raises(DataError, match="at least 1"):
        read_clip(path, limit=0)
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(DataError, match="the file is empty"):
        read_clip(tmp_path / "empty.mp4")
    whole = video(tmp_path / "b.mkv", frames)
    monkeypatch.setattr(clips, "MAX_CLIP_FRAMES", 5)
    with pytest.raises(DataError, match="more than 5 frames; give a limit"):
        read_clip(whole)
    assert len(read_clip(whole, limit=5)) == 5
    monkeypatch.setattr(clips, "MAX_CLIP_FRAMES", 50)
    monkeypatch.setattr(clips, "MAX_CLIP_BYTES", 100_000)
    with pytest.raises(DataError, match="GiB of pixels; give a smaller size or a limit"):
        read_clip(whole)
    assert len(read_clip(whole, size=(32, 32))) == 12
    monkeypatch.setattr(clips, "MAX_PIXELS", 1000)
    with pytest.raises(DataError, match="192 x 128 pixels are more than the 1,000"):
        read_clip(whole)


def test_a_playlist_in_disguise_is_refused(tmp_path):
    (tmp_path / "a.mp4").write_text("#EXTM3U\n#EXTINF:1,\nhttp://example.com/a.ts\n")
    with pytest.raises(DataError, match="not a clip that we read"):
        read_clip(tmp_path / "a.mp4")


def test_video_without_the_extra_is_refused_and_animations_are_not(tmp_path, frames, monkeypatch):
    path = video(tmp_path / "a.mkv", frames[:2])
    found = importlib.import_module

    def without(name, *rest):
        if name == "av":
            raise builtins.ImportError(name)
        return found(name, *rest)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(MissingExtra, match=r"\.\[video\]"):
        read_clip(path)
    rgba(["rb"]).save(tmp_path / "a.gif")
    assert len(read_clip(tmp_path / "a.gif")) == 1


@pytest.mark.parametrize(("disposal", "second"), [(1, ["rb", ".b"]), (2, [".b", ".b"]), (3, [".b", ".b"])])
def test_a_gif_shows_what_its_disposal_keeps(tmp_path, disposal, second):
    # Frame 0 stays or goes by its disposal; frame 1 is transparent on its left.
    pictures = [rgba(["r.", ".."]), rgba([".b", ".b"])]
    pictures[0].save(
        tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=200, disposal=disposal, loop=0
    )
    clip = read_clip(tmp_path / "a.gif")
    assert letters(clip.pixels[0]) == ["r.", ".."]
    assert letters(clip.pixels[1]) == second
    assert clip.rate == 5
    assert isinstance(open_data(tmp_path / "a.gif"), ImageSet)
    assert len(load_folder(tmp_path / "a.gif", limit=1)) == 1


@pytest.mark.parametrize(("name", "options"), [("a.png", {}), ("a.webp", {"lossless": True})])
def test_animated_png_and_webp_are_clips(tmp_path, name, options):
    pictures = [rgba(["rr", "r."]), rgba(["bb", ".b"]), rgba(["rb", "rb"])]
    pictures[0].save(
        tmp_path / name, save_all=True, append_images=pictures[1:], duration=[100, 100, 50], disposal=1, **options
    ) if name == "a.png" else pictures[0].save(
        tmp_path / name, save_all=True, append_images=pictures[1:], duration=[100, 100, 50], **options
    )
    assert is_clip(tmp_path / name)
    clip = read_clip(tmp_path / name)
    assert [letters(frame) for frame in clip.pixels] == [["rr", "r."], ["bb", ".b"], ["rb", "rb"]]
    assert clip.rate == pytest.approx(12)


def test_an_animation_without_durations_has_the_rate_of_browsers(tmp_path):
    rgba(["r"]).save(tmp_path / "a.gif", save_all=True, append_images=[rgba(["b"])])
    assert read_clip(tmp_path / "a.gif").rate == 10


def test_a_gif_that_breaks_off_gives_what_is_there(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (6, 40, 40, 3), dtype=np.uint8)
    pictures = [Image.fromarray(each) for each in noise]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=100)
    data = (tmp_path / "a.gif").read_bytes()
    (tmp_path / "a.gif").write_bytes(data[: len(data) // 2])
    clip = read_clip(tmp_path / "a.gif")
    assert 0 < len(clip) < 6
    assert clip.skipped[0][0] == "a.gif"


def test_one_picture_is_no_clip(tmp_path):
    for name in ("a.png", "a.gif", "a.webp"):
        rgba(["rb"]).save(tmp_path / name)
        assert not is_clip(tmp_path / name)
        assert len(open_data(tmp_path / name)) == 1
    assert open_data(tmp_path / "a.png").rate is None
    assert not is_clip(tmp_path)
    (tmp_path / "b.png").write_bytes(b"no picture")
    assert not is_clip(tmp_path / "b.png")


def test_frames_of_two_sizes_are_refused_by_name(tmp_path):
    rgba(["rb"]).save(tmp_path / "page-1.png")
    rgba(["r", "b"]).save(tmp_path / "page-2.png")
    with pytest.raises(DataError, match=r"'page-1' is \(1, 2\) and 'page-2' \(2, 1\).*give one size"):
        open_data(tmp_path)
    assert open_data(tmp_path, size=(4, 4)).size == (4, 4)


def enlarged(pixels, factor):
    return pixels.repeat_interleave(factor, 2).repeat_interleave(factor, 3)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_an_enlargement_is_detected_and_undone(frames, factor):
    images = ImageSet.from_arrays(enlarged(frames[:3], factor))
    assert detect_enlargement(images.pixels) == factor
    small = undo_enlargement(images, factor)
    assert torch.equal(small.pixels, frames[:3])
    assert small.canvas_maps[0].original == images.size
    assert small.canvas_maps[0].to_original[:2, :2].tolist() == [[factor, 0], [0, factor]]


def test_what_is_not_enlarged_alike_is_left_alone(frames):
    assert detect_enlargement(frames) == 1
    assert detect_enlargement(frames.repeat_interleave(2, 3)) == 1  # wider only
    almost = enlarged(frames[:2], 2)
    almost[1, 0, 5, 6] ^= 1
    assert detect_enlargement(almost) == 1
    assert detect_enlargement(enlarged(frames[:1], 2)[:, :, 1:, 1:]) == 1  # cut in the middle of a block
    assert detect_enlargement(torch.full((2, 3, 8, 8), 7, dtype=torch.uint8)) == 1
    assert detect_enlargement(enlarged(frames[:1], 4)) == 4


def test_undoing_what_was_not_done_is_refused(frames):
    images = ImageSet.from_arrays(enlarged(frames[:1], 4))
    assert undo_enlargement(images, 2).size == (256, 384)
    assert torch.equal(undo_enlargement(images, 1).pixels, images.pixels)
    with pytest.raises(DataError, match="enlarged 4-fold; asked to undo 3-fold"):
        undo_enlargement(images, 3)


def test_images_of_one_colour_are_any_enlargement(frames):
    flat = torch.full((2, 3, 8, 12), 7, dtype=torch.uint8)
    assert is_enlarged(flat, 4)
    assert not is_enlarged(flat, 3)
    assert undo_enlargement(ImageSet.from_arrays(flat), 2).size == (4, 6)
    assert is_enlarged(enlarged(frames[:1], 4), 2)
    assert not is_enlarged(enlarged(frames[:1], 2), 4)
    assert not is_enlarged(frames[:1], 0)


def test_only_what_was_shown_whole_knows_its_zoom(frames):
    images = ImageSet.from_arrays(enlarged(frames[:1], 2))
    assert undo_enlargement(images, 2).canvas_maps[0].zoom == 2
    squashed = replace(images, canvas_maps=(CanvasMap((500, 700), (0.0, 0.0, 700.0, 500.0), images.size),))
    assert undo_enlargement(squashed, 2).canvas_maps[0].zoom == 1
