"""A cache of decoded images: the same images, made once, finished after a kill, made anew when files change."""

import json
import multiprocessing
import os
import random
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.archives import members, pictures, write_tar
from helpers.tiny import CONFIG, model

from delaminate import decompose, train
from delaminate.data import cache as caching
from delaminate.data import load_folder
from delaminate.data.cache import cached_images, fits_in_memory
from delaminate.data.folders import open_source
from delaminate.engine.batches import fingerprint
from delaminate.errors import ConfigError, FormatError, OutputError
from delaminate.files import mapped_bytes, png_bytes, take_rows

SIZE = (6, 8)


@pytest.fixture
def folder(tmp_path):
    """Thirty images, two sizes, one of them broken."""
    root = tmp_path / "images"
    root.mkdir()
    for index, each in enumerate([*pictures(20), *pictures(10, (9, 7), seed=1)]):
        (root / f"{index}.png").write_bytes(png_bytes(each))
    (root / "7.png").write_bytes(b"broken")
    return root


def same(one, other):
    assert torch.equal(one.pixels, other.pixels)
    assert (one.names, one.canvas_maps, one.skipped) == (other.names, other.canvas_maps, other.skipped)


@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
def test_images_out_of_a_cache_are_those_of_their_folder(fit, folder, tmp_path):
    expected = load_folder(folder, SIZE, fit)
    for _ in range(2):
        same(cached_images(open_source(folder), SIZE, fit, tmp_path / "cache"), expected)
    index = torch.tensor([3, 28, 0])
    assert torch.equal(
        cached_images(open_source(folder), SIZE, fit, tmp_path / "cache").batch(index), expected.batch(index)
    )


def test_it_is_made_once_and_of_as_many_as_are_wanted(folder, tmp_path, monkeypatch):
    said = []
    for limit in (5, 3, 12, None):
        found = cached_images(open_source(folder), SIZE, "squash", tmp_path / "cache", limit, said.append)
        same(found, load_folder(folder, SIZE, limit=limit)) if limit is None else None
        assert len(found) == (29 if limit is None else limit)
    assert len(said) == 3  # for 3 nothing was read
    monkeypatch.setattr(caching, "read_all", lambda *_: pytest.fail("read again"))
    assert len(cached_images(open_source(folder), SIZE, "squash", tmp_path / "cache")) == 29


def test_files_that_change_are_noticed(folder, tmp_path):
    cached_images(open_source(folder), SIZE, "squash", tmp_path / "cache")
    (folder / "3.png").write_bytes(png_bytes(pictures(1, seed=9)[0]))
    said = []
    same(
        cached_images(open_source(folder), SIZE, "squash", tmp_path / "cache", note=said.append),
        load_folder(folder, SIZE),
    )
    assert said[0] == "The images have changed since they were cached: they are read anew."
    assert len(list((tmp_path / "cache").iterdir())) == 1


@pytest.mark.parametrize("cut", [1, 40, 200])
def test_a_cache_that_was_cut_off_is_finished(cut, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(caching, "AT_A_TIME", 400)
    expected = load_folder(folder, SIZE)
    cached_images(open_source(folder), SIZE, "squash", tmp_path / "cache")
    (lines,) = (tmp_path / "cache").rglob("rows.jsonl")
    whole = lines.read_bytes()
    for part, more in (("rows.jsonl", cut), ("pixels.bin", cut), ("rows.jsonl", len(whole) - 30)):
        path = lines.with_name(part)
        path.write_bytes(path.read_bytes()[:-more])
        same(cached_images(open_source(folder), SIZE, "squash", tmp_path / "cache"), expected)
        assert lines.read_bytes() == whole


def _fill(folder, place):
    caching.AT_A_TIME = 500
    cached_images(open_source(folder), SIZE, "squash", place)


def test_killed_at_any_moment_it_ends_with_the_same_bytes(folder, tmp_path):
    context, rng = multiprocessing.get_context("fork"), random.Random(0)
    _fill(folder, tmp_path / "whole")
    for _ in range(12):
        process = context.Process(target=_fill, args=(folder, tmp_path / "killed"))
        process.start()
        time.sleep(rng.random() * 0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    _fill(folder, tmp_path / "killed")
    for path in (tmp_path / "whole").rglob("*.*"):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "killed" / path.relative_to(tmp_path / "whole")).read_bytes()


def test_what_is_damaged_or_cannot_be_written_is_one_line(folder, tmp_path):
    cached_images(open_source(folder), SIZE, "squash", tmp_path / "cache")
    (lines,) = (tmp_path / "cache").rglob("rows.jsonl")
    first, *_ = lines.read_bytes().splitlines(keepends=True)
    for bad in (b"7\n", b"[1]\n", b"null\n", b"{}\n", b"\xff\n", b"[" * 100_000 + b"\n"):
        lines.write_bytes(first + bad)
        with pytest.raises(FormatError, match=r"rows.jsonl: .*remove it") as caught:
            cached_images(open_source(folder), SIZE, "squash", tmp_path / "cache")
        assert "\n" not in str(caught.value)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="Choose another --cache"):
        cached_images(open_source(folder), SIZE, "squash", tmp_path / "file")


def test_rows_of_a_mapped_file_are_read_and_not_kept(tmp_path):
    def resident():
        found, here = 0, False
        for line in Path("/proc/self/smaps").read_text().splitlines():
            if re.match("[0-9a-f]+-[0-9a-f]+ ", line):
                here = "pixels.bin" in line
            elif here and line.startswith("Rss:"):
                found += 1024 * int(line.split()[1])
        return found

    values = torch.randint(256, (2000, 3, 16, 16), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    path = tmp_path / "pixels.bin"
    path.write_bytes(values.numpy().tobytes())
    pixels = mapped_bytes(path, tuple(values.shape))
    before = resident()
    for index in (torch.randint(2000, (500,)), torch.tensor([-1, 0, 1999]), torch.tensor([], dtype=torch.int64)):
        assert torch.equal(take_rows(pixels, index), values[index])
        assert torch.equal(take_rows(pixels[100:], index % 1000), values[100:][index % 1000])
    assert fingerprint(pixels) == fingerprint(values)
    assert resident() <= before + 2**16
    assert torch.equal(pixels, values)
    with pytest.raises(ValueError, match="mmap"):
        mapped_bytes(path, (2001, 3, 16, 16))
    assert mapped_bytes(path, (0, 3, 1, 1)).shape == (0, 3, 1, 1)


def test_training_and_decomposing_are_the_same_to_the_bit_with_a_cache(tmp_path, monkeypatch):
    """The same batches, so the same weights; also where the cache is made because memory is short."""
    place = write_tar(tmp_path / "images.tar", members(pictures(12, CONFIG.image_size)))
    runs = []
    for number, how in enumerate(({}, {"cache": tmp_path / "cache"}, {})):
        if number == 2:
            monkeypatch.setattr("delaminate.pipelines.images.fits_in_memory", lambda count, size: False)
        runs.append(train(place, model(CONFIG), out=tmp_path / f"run{number}", seed=3, device="cpu", **how))
    assert any((tmp_path / "cache").rglob("pixels.bin"))
    assert any((tmp_path / "run2" / "cache").rglob("pixels.bin"))
    assert not (tmp_path / "run0" / "cache").exists()
    weights = [run.model.state_dict() for run in runs]
    for other in weights[1:]:
        assert all(torch.equal(other[key], value) for key, value in weights[0].items())
    found = [decompose(runs[0].model, place, tmp_path / f"scenes{n}", device="cpu") for n in (0, 2)]
    assert found[0].rows == found[1].rows
    texts = [json.loads((tmp_path / f"scenes{n}" / "errors.json").read_text()) for n in (0, 2)]
    assert texts[0] == texts[1]
    assert not (tmp_path / "scenes2" / ".cache").exists()


def test_a_cache_of_what_is_no_folder_is_refused(tmp_path):
    for data in ("gtsrb8", "tetrominoes", np.zeros((2, 8, 8, 3), np.uint8)):
        with pytest.raises(ConfigError, match="--cache: is for folders"):
            train(data, model(CONFIG), cache=tmp_path / "cache")


def test_images_fit_where_they_take_a_quarter_of_the_free_memory(monkeypatch):
    monkeypatch.setattr(caching, "_free_memory", lambda: 4 * 3 * 64 * 64 * 1000)
    assert fits_in_memory(1000, (64, 64))
    assert not fits_in_memory(1001, (64, 64))
    monkeypatch.undo()
    assert 2**20 < caching._free_memory() < 2**50
