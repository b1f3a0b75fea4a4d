"""GIFs as browsers show them, compared with a compositor of its own that works on the raw data of frames."""

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from delaminate.data.clips import is_clip, read_clip
from delaminate.data.gif import gif_frames
from delaminate.errors import DataError

CASES = Path(os.environ.get("DELAMINATE_DATA", "/nowhere")) / "cases_games"
needs_cases = pytest.mark.skipif(not CASES.is_dir(), reason="cases_games is not there")

TABLE = bytes([10, 20, 30, 255, 0, 0, 0, 255, 0, 0, 0, 255])  # number 0 is the background colour, never shown


def lzw(data, least):
    """The numbers that GIF's LZW holds."""
    clear, bits, place = 1 << least, "", 0
    bits = "".join(f"{byte:08b}"[::-1] for byte in data)
    table, width, before, out = {}, least + 1, None, []
    while place + width <= len(bits):
        code = int(bits[place : place + width][::-1], 2)
        place += width
        if code == clear:
            table, width, before = {number: [number] for number in range(clear)}, least + 1, None
            table[clear] = table[clear + 1] = []
            continue
        if code == clear + 1:
            break
        entry = table[code] if code in table else [*before, before[0]]
        out += entry
        if before is not None and len(table) < 4096:
            table[len(table)] = [*before, entry[0]]
        if len(table) == 1 << width and width < 12:
            width += 1
        before = entry
    return out


def browser(content):
    """RGBA frames by the rules that Chrome and Firefox share."""
    width, height, flags = struct.unpack("<HHB", content[6:11])
    size = 3 * (2 << (flags & 7)) if flags & 128 else 0
    shared, place, control, frames, canvas = content[13 : 13 + size], 13 + size, (0, -1), [], None

    def chain(place):
        data = b""
        while content[place]:
            data += content[place + 1 : place + 1 + content[place]]
            place += 1 + content[place]
        return data, place + 1

    while content[place] != 0x3B:
        if content[place] == 0x21:
            label, (data, after) = content[place + 1], chain(place + 2)
            if label == 0xF9:
                control = data[0] >> 2 & 7, data[3] if data[0] & 1 else -1
            place = after
            continue
        left, top, w, h, flags = struct.unpack("<HHHHB", content[place + 1 : place + 10])
        own = 3 * (2 << (flags & 7)) if flags & 128 else 0
        colours = content[place + 10 : place + 10 + own] or shared
        least = content[place + 10 + own]
        data, place = chain(place + 11 + own)
        numbers = lzw(data, least)
        rows = [r for s, d in ((0, 8), (4, 8), (2, 4), (1, 2)) for r in range(s, h, d)] if flags & 64 else range(h)
        if canvas is None:
            canvas = np.zeros((max(height, top + h), max(width, left + w), 4), np.uint8)
        before = canvas.copy()
        for at, row in enumerate(rows):
            for column in range(w):
                number = numbers[at * w + column]
                inside = top + row < canvas.shape[0] and left + column < canvas.shape[1]
                if inside and number != control[1] and 3 * number < len(colours):
                    canvas[top + row, left + column] = (*colours[3 * number : 3 * number + 3], 255)
        frames.append(canvas.copy())
        if control[0] == 2:
            canvas[top : top + h, left : left + w] = 0
        elif control[0] in (3, 4):
            canvas = before
        control = (0, -1)
    return frames


def plain_lzw(numbers):
    """Two-bit numbers without compression: a clear code before each keeps the width."""
    bits = "".join(f"{code:03b}"[::-1] for number in numbers for code in (4, number)) + f"{5:03b}"[::-1]
    bits += "0" * (-len(bits) % 8)
    data = bytes(int(bits[at : at + 8][::-1], 2) for at in range(0, len(bits), 8))
    return (
        b"\x02"
        + b"".join(bytes([len(data[at : at + 255])]) + data[at : at + 255] for at in range(0, len(data), 255))
        + b"\0"
    )


def gif(screen, frames):
    """A file of frames (left, top, rows of numbers, disposal, transparent or None, hundredths of a second)."""
    out = b"GIF89a" + struct.pack("<HHBBB", *screen, 0x91, 0, 0) + TABLE
    for left, top, rows, disposal, clear, delay in frames:
        out += b"\x21\xf9\x04" + struct.pack("<BHB", disposal << 2 | (clear is not None), delay, clear or 0) + b"\0"
        out += b"\x2c" + struct.pack("<HHHHB", left, top, len(rows[0]), len(rows), 0)
        out += plain_lzw([number for row in rows for number in row])
    return out + b"\x3b"


def random_gif(seed):
    rng = np.random.default_rng(seed)
    screen = int(rng.integers(1, 9)), int(rng.integers(1, 9))
    frames = []
    for _ in range(6):
        height, width = rng.integers(1, 8, 2)
        left, top = rng.integers(0, 8, 2)
        clear = None if rng.random() < 0.4 else int(rng.integers(0, 4))
        rows = rng.integers(0, 4, (height, width)).tolist()
        frames.append((int(left), int(top), rows, int(rng.integers(0, 6)), clear, int(rng.integers(0, 30))))
    return gif(screen, frames)


@pytest.mark.parametrize("seed", range(25))
def test_random_gifs_are_shown_as_a_browser_does(seed):
    content = random_gif(seed)
    shown = [pixels for pixels, _ in gif_frames(content, 10_000)]
    expected = browser(content)
    assert len(shown) == len(expected) == 6
    for ours, theirs in zip(shown, expected, strict=True):
        painted = theirs[..., 3] == 255
        assert np.array_equal(ours[..., 3] == 255, painted)
        assert np.array_equal(ours[painted], theirs[painted])


def test_clearing_is_to_transparent_and_not_to_the_background_colour(tmp_path):
    opaque = [[1, 1, 1], [1, 1, 1]]
    (tmp_path / "a.gif").write_bytes(gif((3, 2), [(0, 0, opaque, 2, None, 5), (1, 0, [[2]], 1, None, 5)]))
    second = read_clip(tmp_path / "a.gif").pixels[1].permute(1, 2, 0).tolist()
    assert second == [[[0, 0, 0], [0, 255, 0], [0, 0, 0]], [[0, 0, 0]] * 3]


def test_a_canvas_is_enlarged_by_the_first_frame_and_later_ones_are_cut(tmp_path):
    rows = [[1] * 6] * 5
    path = tmp_path / "a.gif"
    path.write_bytes(gif((4, 3), [(1, 1, rows, 1, None, 5), (3, 3, rows, 1, None, 5), (90, 90, rows, 1, None, 5)]))
    clip = read_clip(path)
    assert clip.size == (6, 7)
    assert is_clip(path)
    assert len(clip) == 3
    assert torch.equal(clip.pixels[1], clip.pixels[2])


def test_the_colours_of_compressed_and_interlaced_files_are_those_of_the_file(tmp_path):
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 255, (2, 13, 17), dtype=np.uint8)
    pictures = [Image.fromarray(each) for each in pixels]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=70, interlace=1)
    clip = read_clip(tmp_path / "a.gif")
    assert np.array_equal(clip.pixels[:, 0].numpy(), pixels)
    content = (tmp_path / "a.gif").read_bytes()
    assert np.array_equal(np.stack(browser(content))[..., 0], pixels)


def test_what_is_no_gif_or_too_large_is_refused(tmp_path):
    with pytest.raises(DataError, match="no GIF"):
        list(gif_frames(b"GIF99a" + bytes(20), 100))
    with pytest.raises(DataError, match="9 x 9 pixels are more than the 80"):
        list(gif_frames(gif((9, 9), [(0, 0, [[1]], 0, None, 0)]), 80))
    with pytest.raises(DataError, match="a frame of 90 x 1 pixels"):
        list(gif_frames(gif((8, 8), [(0, 0, [[1]], 0, None, 0), (0, 0, [[1] * 90], 0, None, 0)]), 80))
    (tmp_path / "a.gif").write_bytes(b"GIF89a")
    with pytest.raises(DataError, match="no frame can be read"):
        read_clip(tmp_path / "a.gif")


@needs_cases
@pytest.mark.parametrize("name", ["disposal2_opaque.gif", "frame_beyond_screen.gif", "m10_dur.gif", "poses.gif"])
def test_recorded_cases_are_shown_as_a_browser_does(name):
    expected = np.stack(browser((CASES / name).read_bytes()))
    clip = read_clip(CASES / name)
    assert clip.skipped == ()
    shown = clip.pixels.permute(0, 2, 3, 1).numpy()
    painted = expected[..., 3] == 255
    assert shown.shape == expected[..., :3].shape
    assert np.array_equal(shown[painted], expected[..., :3][painted])
