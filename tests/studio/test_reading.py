"""Files that people send are decoded elsewhere, with bounds."""

import signal
import subprocess
import sys
import time

import pytest
from PIL import Image

from delaminate.errors import DataError
from delaminate.studio import reading
from delaminate.studio.reading import Reader


@pytest.fixture(scope="module")
def reader():
    found = Reader()
    yield found
    found.close()


def test_a_process_that_dies_or_hangs_is_replaced(reader, tmp_path):
    Image.new("RGB", (7, 5)).save(tmp_path / "a.png")
    assert reader.ask("check", path=str(tmp_path / "a.png")) == {"height": 5, "width": 7, "clip": False}
    first = reader.process
    first.kill()
    first.wait()
    assert reader.ask("check", path=str(tmp_path / "a.png"))["width"] == 7
    reader.process.send_signal(signal.SIGSTOP)
    with pytest.raises(DataError, match="within the time and memory"):
        reader.ask("check", 0.2, path=str(tmp_path / "a.png"))
    assert reader.process is None
    assert reader.ask("check", path=str(tmp_path / "a.png"))["width"] == 7


def test_what_is_not_asked_as_expected_is_an_error_and_no_end(reader, tmp_path):
    with pytest.raises(DataError):
        reader.ask("explode")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(DataError):
        reader.ask("check", path=str(tmp_path / "a.png"))
    Image.new("1", (9000, 9000)).save(tmp_path / "b.png")
    with pytest.raises(DataError, match="pixels are more than"):
        reader.ask("check", path=str(tmp_path / "b.png"))
    assert reader.process is not None


def test_memory_is_bounded():
    program = "from delaminate.studio import reading; reading.MEMORY = 2**26; reading._bound_memory(); bytearray(2**28)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert "MemoryError" in done.stderr


def test_a_reader_that_does_not_start_says_so(monkeypatch):
    monkeypatch.setattr(reading.sys, "executable", "/bin/false")
    began = time.monotonic()
    with pytest.raises(DataError, match="does not start"):
        Reader().ask("check", path="x")
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("head", "suffix"),
    [
        (b"\x89PNG\r\n\x1a\n....", ".png"), (b"\xff\xd8\xff\xe0", ".jpg"), (b"GIF89a", ".gif"), (b"RIFF....WEBP", ".webp"),
        (b"RIFF....AVI ", ".avi"), (b"....ftypisom", ".mp4"), (b"\x1a\x45\xdf\xa3", ".mkv"), (b"II*\x00", ".tif"),
        (b"BM", ".bmp"), (b"PK\x03\x04", ".zip"), (b"%PDF-1.4", None), (b"<svg", None), (b"", None), (b"RIFF....WAVE", None),
    ],
)  # fmt: skip
def test_files_are_what_their_first_bytes_say(head, suffix):
    assert reading.suffix_of(head) == suffix
