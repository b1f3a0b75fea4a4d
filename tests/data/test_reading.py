"""Files from strangers: every one is read as documented or refused with a reason."""

import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from delaminate.data.reading import decode_image, fit_image, fit_mask, read_image, read_mask
from delaminate.errors import DataError

RED = np.full((6, 8, 3), (200, 10, 30), dtype=np.uint8)


def save(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return path


def png_with_header(path, width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)))
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "gif"])
def test_lossless_formats_read_back_exactly(tmp_path, suffix):
    assert (read_image(save(tmp_path / f"a.{suffix}", RED)) == RED).all()


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_lossy_formats_read_back_nearly(tmp_path, suffix):
    assert np.abs(read_image(save(tmp_path / f"a.{suffix}", RED)).astype(int) - RED).max() < 12


@pytest.mark.parametrize("size", [(20_000, 20_000), (9_000, 9_000), (2**31 - 1, 2**31 - 1), (60_000, 1_000)])
def test_a_huge_header_is_refused_before_decoding(tmp_path, size, recwarn):
    with pytest.raises(DataError, match=r"a\.png: .*(too large|more than)"):
        read_image(png_with_header(tmp_path / "a.png", *size))
    assert not recwarn.list


def test_an_empty_file_says_so(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.png: the file is empty"):
        read_image(tmp_path / "a.png")


def test_an_absent_file_says_so(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("content", [b"hello", b"<svg/>", b"%PDF-1.4", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM"])
def test_what_is_no_image_is_refused(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.png: "):
        read_image(tmp_path / "a.png")


def test_other_formats_are_not_opened(tmp_path):
    with pytest.raises(DataError, match="not an image that we read"):
        read_image(save(tmp_path / "a.ppm", RED))


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "tif", "webp", "bmp"])
def test_truncated_files_are_refused(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    path = save(tmp_path / f"a.{suffix}", noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=r"a\."):
        read_image(path)


@given(st.integers(0, 10**6))
def test_damaged_bytes_never_raise_anything_else(tmp_path_factory, seed):
    rng = np.random.default_rng(seed)
    path = tmp_path_factory.mktemp("damaged") / "a"
    save(path, RED, format=["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"][seed % 6])
    content = np.frombuffer(path.read_bytes(), dtype=np.uint8).copy()
    content[rng.integers(0, len(content), 6)] = rng.integers(0, 256, 6)
    path.write_bytes(content.tobytes())
    with contextlib.suppress(DataError):
        assert read_image(path).dtype == np.uint8


def test_of_an_animation_the_first_frame_is_read(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "lime", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert read_image(tmp_path / "a.gif")[0, 0].tolist() == [255, 0, 0]


def test_cmyk_becomes_rgb(tmp_path):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.jpg")
    red, green, blue = read_image(tmp_path / "a.jpg")[4, 4].astype(int)
    assert red > 240
    assert max(green, blue) < 15


def test_grey_of_16_bits_is_scaled(tmp_path):
    save(tmp_path / "a.png", np.array([[0, 257, 32768, 65535, 100]], dtype=np.uint16))
    assert read_image(tmp_path / "a.png")[0, :, 0].tolist() == [0, 1, 128, 255, 0]


def test_grey_of_32_bits_is_refused(tmp_path):
    with pytest.raises(DataError, match="32-bit grey"):
        read_image(save(tmp_path / "a.tif", np.ones((3, 3), dtype=np.float32)))


def test_transparency_is_composited_over_black(tmp_path):
    rgba = np.zeros((1, 3, 4), dtype=np.uint8)
    rgba[0] = [(200, 100, 50, 0), (200, 100, 50, 255), (200, 100, 50, 128)]
    assert read_image(save(tmp_path / "a.png", rgba))[0].tolist() == [[0, 0, 0], [200, 100, 50], [100, 50, 25]]


def test_a_palette_with_a_transparent_entry_is_composited_too(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.png", transparency=0)
    assert read_image(tmp_path / "a.png")[0].tolist() == [[0, 0, 0], [0, 255, 0]]


def test_one_bit_and_grey_with_alpha_are_read(tmp_path):
    Image.new("1", (2, 2), 1).save(tmp_path / "a.png")
    Image.new("LA", (2, 2), (90, 255)).save(tmp_path / "b.png")
    assert (read_image(tmp_path / "a.png") == 255).all()
    assert (read_image(tmp_path / "b.png") == 90).all()


def test_the_exif_rotation_is_applied(tmp_path):
    image = Image.fromarray(RED)
    image.getexif()[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=image.getexif())
    assert read_image(tmp_path / "a.jpg").shape == (8, 6, 3)


def test_masks_keep_their_values(tmp_path):
    for dtype in (np.uint8, np.uint16):
        values = np.array([[0, 1], [7, 255]], dtype=dtype)
        assert (read_mask(save(tmp_path / "a.png", values)) == values).all()
    indexed = Image.new("P", (2, 1))
    indexed.putpalette(list(range(12)))
    indexed.putpixel((1, 0), 3)
    indexed.save(tmp_path / "b.png")
    assert read_mask(tmp_path / "b.png").tolist() == [[0, 3]]


def test_masks_in_colour_or_jpeg_are_refused(tmp_path):
    with pytest.raises(DataError, match="one channel"):
        read_mask(save(tmp_path / "a.png", RED))
    with pytest.raises(DataError, match="not an image"):
        read_mask(save(tmp_path / "a.jpg", RED[:, :, 0]))


sizes = st.tuples(st.integers(1, 40), st.integers(1, 40))


@given(sizes, sizes, st.sampled_from(["squash", "crop", "pad"]))
def test_frames_say_where_canvas_pixels_come_from(original, canvas, fit):
    pixels = np.full((*original, 3), 9, dtype=np.uint8)
    fitted, frame = fit_image(pixels, canvas, fit)
    assert fitted.shape == (*canvas, 3)
    assert (frame.original, frame.canvas) == (original, canvas)
    left, top, width, height = frame.box
    if fit == "crop":
        assert left >= 0
        assert top >= 0
        assert left + width <= original[1] + 1e-9
        assert width / height == pytest.approx(canvas[1] / canvas[0])
    # A picture of ones has ones exactly where the frame says that the original is.
    assert ((fitted[:, :, 0] == 9) == (fit_mask(np.ones(original, dtype=np.int64), frame) == 1)).all()


def test_shrinking_does_not_alias():
    stripes = np.tile(np.array([0, 255], dtype=np.uint8), (64, 32))[:, :, None].repeat(3, 2)
    fitted, _ = fit_image(stripes, (8, 8))
    assert np.abs(fitted.astype(int) - 128).max() < 20


def test_an_unknown_fit_or_size_is_refused():
    with pytest.raises(DataError, match="expected 'squash'"):
        fit_image(RED, (4, 4), "stretch")
    with pytest.raises(DataError, match="at least 1"):
        fit_image(RED, (0, 4))


def test_encoded_images_are_decoded_like_files_and_others_are_refused(tmp_path):
    stream = io.BytesIO()
    Image.new("LA", (3, 2), (200, 128)).save(stream, format="PNG")
    (tmp_path / "a.png").write_bytes(stream.getvalue())
    assert (decode_image(stream.getvalue(), "a") == read_image(tmp_path / "a.png")).all()
    for content, reason in ((b"", "not an image that we read"), (stream.getvalue()[:45], "^a: ")):
        with pytest.raises(DataError, match=reason):
            decode_image(content, "a")
    with pytest.raises(DataError, match="3 x 2 pixels are more than the 5 we decode"):
        decode_image(stream.getvalue(), "a", max_pixels=5)
