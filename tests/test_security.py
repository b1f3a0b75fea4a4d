"""SECURITY.md is true: every promise names a test that there is, and what no other file tests is tested here."""

import ast
import re
import socket
import struct
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.tracked import tracked_texts
from PIL import Image

from delaminate.config import parse_yaml
from delaminate.data.clips import read_clip
from delaminate.data.real.photos import load_cub
from delaminate.data.registry import load_archive
from delaminate.errors import ConfigError, DataError, FormatError
from delaminate.methods.storage import model_folder

ROOT = Path(__file__).resolve().parents[1]
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
# Split, so that this file does not hold what it looks for.
SECRETS = re.compile(
    "|".join(
        (
            "AKIA" + "[0-9A-Z]{16}", "gh[pousr]" + "_[0-9A-Za-z]{36}", "github" + "_pat_[0-9A-Za-z_]{50}",
            "hf" + "_[A-Za-z]{30}",
            "sk" + "-[A-Za-z0-9_-]{32}", "xox" + "[abprs]-[0-9A-Za-z-]{10}", "-----BEGIN " + "[A-Z ]*PRIVATE KEY",
            "AIza" + "[0-9A-Za-z_-]{35}", "glpat" + "-[0-9A-Za-z_-]{20}", "pypi" + "-AgE[0-9A-Za-z_-]{50}",
            r"(?i:password|passwd|secret|api_?key|token)\s*[:=]\s*[\"'][^\"'\s{}<>$]{12,}[\"']",
        )
    )
)  # fmt: skip


def test_every_promise_names_tests_that_there_are():
    promises = (ROOT / "SECURITY.md").read_text().partition("## What we promise")[2].split("\n- ")[1:]
    assert len(promises) >= 6
    for promise in promises:
        named = TEST.findall(promise)
        assert named, promise
        for file, test in named:
            functions = [node.name for node in ast.walk(ast.parse((ROOT / file).read_text())) if hasattr(node, "name")]
            assert test in functions, f"{file}::{test}"


def test_no_file_holds_a_secret():
    for name, text in tracked_texts():
        assert not SECRETS.search(text), name


@pytest.mark.parametrize(
    "text", ["AKIA" + "A" * 16, "-----BEGIN " + "RSA PRIVATE KEY-----", "token = " + "'abcdefghijklmnop'"]
)
def test_the_search_for_secrets_finds_them(text):
    assert SECRETS.search(f"x {text} y")


def test_an_archive_with_a_pickle_is_refused_unread(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.array([{}, ()], object), labels=np.arange(2))
    with pytest.raises(DataError, match=r"a\.npz: .*allow_pickle=False"):
        load_archive(tmp_path / "a.npz", None)


def test_an_archive_that_unpacks_to_too_much_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr("delaminate.data.registry.MAX_CACHE_BYTES", 10_000)
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", bytes(20_000))
    with pytest.raises(DataError, match=r"a\.npz: unpacks to 20,000 bytes; expected at most 10,000"):
        load_archive(tmp_path / "a.npz", None)


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp"])
def test_an_animation_that_claims_huge_frames_is_refused_before_decoding(name, tmp_path):
    frames = [Image.new("RGB", (8, 8), (index, 0, 0)) for index in (0, 250)]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], lossless=True)
    data = bytearray((tmp_path / name).read_bytes())
    if name == "a.gif":
        data[6:10] = struct.pack("<HH", 5000, 5000)
    elif name == "a.webp":
        data[24:30] = (4999).to_bytes(3, "little") * 2
    else:
        from hostile import with_checksums

        data[16:24] = struct.pack(">II", 5000, 5000)
        data = with_checksums(bytes(data))
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=rf"{name}: .*5000 x 5000 pixels are more than"):
        read_clip(tmp_path / name)


def test_settings_that_take_long_to_parse_are_refused():
    with pytest.raises(ConfigError, match="x: holds more than 500 lists"):
        parse_yaml("value: " + "[" * 3000, "x")


@pytest.mark.parametrize("line", ["1 /etc/hostname", "1 ../../a.jpg"])
def test_a_list_of_photos_that_leads_out_of_its_folder_is_refused(line, tmp_path):
    (tmp_path / "images.txt").write_text(f"{line}\n")
    with pytest.raises(DataError, match=r"images\.txt: .* leads out of the folder"):
        load_cub(tmp_path)


@pytest.fixture
def offline(monkeypatch):
    """Every way to reach another machine is shut; what was asked for is listed."""
    asked = []

    def refuse(*arguments, **_):
        asked.append(arguments)
        raise OSError("no connection here")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    for name in ("getaddrinfo", "gethostbyname", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    return asked


def test_the_main_journeys_open_no_connection(command, offline, tmp_path):
    settings = "search_steps=2 search_batch=8 num_sprites=3 num_layers=2 distil_steps=2 distil_batch=4 steps=2 batch=4"
    tiny = [word for setting in f"{settings} frozen_steps=0".split() for word in ("--set", setting)]
    data, run, scenes = tmp_path / "data", tmp_path / "run", tmp_path / "scenes"
    for words in (
        ("data", "write", "tetrominoes", "--out", data, "-n", 8),
        ("train", "dti-sprites", data, "--preset", "tetrominoes", *tiny, "--out", run, "--quiet"),
        ("decompose", run, data, "--out", scenes),
        ("export", scenes, "--to", "png,html,svg,coco", "--out", tmp_path / "export"),
        ("recompose", scenes, "--out", tmp_path / "recomposed"),
        ("evaluate", run, data),
        ("models",),
    ):
        code, out, err = command(*words)
        assert code in (0, 1), (words, out, err)  # 1: nothing was found, after two steps
    assert offline == []


def test_only_a_model_of_the_hub_asks_for_the_hub(monkeypatch, tmp_path):
    asked = []

    def fetch(repository, **_):
        asked.append(repository)
        raise OSError("no connection here")

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(snapshot_download=fetch))
    for name in ("redo/flowers17", tmp_path):
        model_folder(name)
    with pytest.raises(ConfigError):
        model_folder("owner/name")
    assert asked == []
    with pytest.raises(FormatError, match="hub:owner/name: cannot be fetched"):
        model_folder("hub:owner/name")
    assert asked == ["owner/name"]
