"""The summary of many scenes, read value by value, against the plain reader of JSON."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delaminate.errors import FormatError
from delaminate.files import json_bytes, json_parts
from delaminate.scene import summary
from delaminate.scene.summary import read_summary, scan_summary

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)
documents = st.dictionaries(st.text(max_size=4).filter(lambda key: key != "rows"), values, max_size=4)


def plainly(document):
    """What `json_bytes` promises, written out."""
    text = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
    lines = []
    for key, value in document.items():
        rows = ",\n  ".join(text(item) for item in value) if isinstance(value, list) else ""
        lines.append(f"{text(key)}: [\n  {rows}\n ]" if rows else f"{text(key)}: {text(value)}")
    return ("{\n " + ",\n ".join(lines) + "\n}\n").encode()


@given(documents, st.integers(1, 3))
def test_json_is_written_in_parts_as_in_one(document, lines):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("delaminate.files.LINES", lines)
        streamed = {key: iter(value) if isinstance(value, list) else value for key, value in document.items()}
        assert b"".join(json_parts(streamed)) == json_bytes(document) == plainly(document)


@given(documents, st.lists(values, max_size=6), st.integers(0, 4), st.sampled_from([None, 0, 3]), st.integers(1, 9))
def test_json_is_read_in_parts_as_in_one(document, rows, place, indent, chunk):
    pairs = list(document.items())
    whole = dict([*pairs[:place], ("rows", rows), *pairs[place:]])
    taken = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(summary, "CHUNK", chunk)
        file = io.BytesIO(json.dumps(whole, indent=indent, ensure_ascii=False).encode())
        found = summary._Text(file).object("rows", taken.append)
    assert list(found) == list(whole)
    assert taken == rows and found == whole | {"rows": True}


def row(name, **more):
    return {"name": name, "layers": 1, "rounding_error": 0.0} | more


def write(folder, text):
    (folder / "summary.json").write_text(text, encoding="utf-8")


def document(scenes, **more):
    return {"format": "delaminate-scenes", "version": 1, "dictionary": [], "scenes": scenes} | more


def test_places_rates_and_durations(tmp_path):
    scenes = [row("b", pack=["000000", 0, 512]), row("a/c")]
    write(tmp_path, json.dumps(document(scenes, durations=[20, 40], rate=33.0)))
    found = read_summary(tmp_path)
    assert list(found.places.items()) == [("b", ("000000", 0, 512)), ("a/c", None)]
    assert found.durations == {"b": 20.0, "a/c": 40.0} and found.rate == 33.0
    told = []
    rest = scan_summary(tmp_path, lambda *each: told.append(each))
    assert told == list(found.places.items())
    assert rest.places == {} and rest.rate == 33.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        (" ", "ends too early"),
        ("[]", "no delaminate-scenes"),
        ("12", "no delaminate-scenes"),
        (json.dumps(document([row("a")]))[:-3], "is no JSON"),
        (json.dumps(document([row("a")])) + "x", "is no JSON"),
        (json.dumps(document([row("a"), row("a")])), "two scenes have the same name"),
        (json.dumps(document({})), "scenes: has {}; expected a list"),
        (json.dumps(document([row("../a")])), "scene name '../a'"),
        (json.dumps(document([row("a", layers=float("nan"))])), "NaN is not a number"),
        (json.dumps(document([row("a", more=1)])), "unknown key 'more'"),
        (json.dumps(document([row("a")])).replace('"layers"', '"name"'), "a key comes twice"),
        (json.dumps(document([row("a")])).replace('"version"', '"format"'), "a key comes twice"),
        (json.dumps(document([row("a")])).replace(": 1,", " 1,", 1), "is no JSON"),
        (json.dumps(document([row("a")], durations=[1, 2])), "expected a list of 1 to 1"),
        (json.dumps(document([row("a")]) | {"version": 2}), "version 2"),
        ("[" * 100_000, "is no JSON"),
    ],
)
def test_what_is_no_summary_is_told_in_one_line(tmp_path, text, message):
    write(tmp_path, text)
    with pytest.raises(FormatError) as told:
        read_summary(tmp_path)
    assert message in str(told.value) and str(tmp_path / "summary.json") in str(told.value)
    assert "\n" not in str(told.value)


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "summary.json").write_bytes(b'{"format": "\xff"}')
    with pytest.raises(FormatError, match="is no JSON"):
        read_summary(tmp_path)


def test_a_value_without_end_is_not_read_on_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(summary, "LONGEST_VALUE", 1000)
    monkeypatch.setattr(summary, "CHUNK", 100)
    write(tmp_path, json.dumps(document([row("a" * 5000)])))
    with pytest.raises(FormatError, match="more than 1,000 characters"):
        read_summary(tmp_path)
