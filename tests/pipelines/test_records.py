"""Records out of journals, against a plain dict of all of them."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delaminate.errors import FormatError
from delaminate.pipelines import records
from delaminate.pipelines.records import Record, Records
from delaminate.pipelines.verdict import ImageTally
from delaminate.scene.saving import SavedScene


def record(name, number=0, skipped=False):
    saved = None if skipped else SavedScene(name, number, 0.0, (1, 2), f"{number:032x}", ("000000", 512 * number, 512))
    reason = "no image" if skipped else None
    return Record(name, "0" * 32, ImageTally(2, (1, 2), 30, 29, 40.0 + number), {"psnr": 40.5}, False, saved, reason)


class Journals:
    """Files of lines, appended to by turns."""

    def __init__(self, folder):
        self.paths = [folder / "a.jsonl", folder / "b.jsonl"]
        for path in self.paths:
            path.write_bytes(b"")
        self.records = Records()

    def add(self, found, which=0):
        path = self.paths[which]
        offset = path.stat().st_size
        with path.open("ab") as file:
            file.write(found.line)
        self.records.add(found, path, offset)


steps = st.lists(
    st.tuples(st.text("ab/\n\u20ac", min_size=1, max_size=3), st.booleans(), st.integers(0, 1)), max_size=40
)


@given(steps, st.booleans(), st.sampled_from([0, 3, 1000]), st.sampled_from([1, 4, 1000]))
def test_the_last_line_of_a_name_counts(tmp_path_factory, steps, collide, kept, fresh):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "KEPT", kept)
        patch.setattr(records, "FRESH", fresh)
        if collide:  # names of one length look alike
            patch.setattr(records, "hash", len, raising=False)
        journals, plain = Journals(tmp_path_factory.mktemp("journals")), {}
        for number, (name, skipped, which) in enumerate(steps):
            plain[name] = record(name, number, skipped)
            journals.add(plain[name], which)
        found = journals.records
        assert sorted(found) == sorted(plain) and len(found) == len(plain)
        assert dict(found) == plain
        assert [each.name for each in found.each()] == list(found)
        assert found.num_scenes == sum(each.saved is not None for each in plain.values())
        assert found.get("nobody") is None and "nobody" not in found
        found.close()


def test_long_lines_are_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "KEPT", 0)
    journals, name = Journals(tmp_path), "x" * 9000
    journals.add(record("before"))
    journals.add(record(name))
    journals.add(record("behind"))
    assert journals.records[name] == record(name)
    with pytest.raises(KeyError):
        journals.records["nobody"]


def test_a_journal_that_is_gone_or_another_one_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "KEPT", 0)
    journals = Journals(tmp_path)
    journals.add(record("a"))
    journals.paths[0].write_bytes(b"something else, without an end")
    with pytest.raises(FormatError, match=r"a\.jsonl: has changed since it was opened"):
        journals.records["a"]
    journals.records.close()
    journals.paths[0].unlink()
    with pytest.raises(FormatError, match=r"a\.jsonl"):
        journals.records["a"]


def test_an_image_takes_few_bytes(tmp_path, monkeypatch):
    """A million images have to fit beside everything else."""
    monkeypatch.setattr(records, "KEPT", 0)
    count = 20_000
    journals = Journals(tmp_path)
    with journals.paths[0].open("ab") as file:
        lines = [record(f"folder/{number:07d}", number).line for number in range(count)]
        file.write(b"".join(lines))
    tracemalloc.start()
    before, offset = tracemalloc.get_traced_memory()[0], 0
    for number, line in enumerate(lines):
        journals.records.add(record(f"folder/{number:07d}", number), journals.paths[0], offset)
        offset += len(line)
    list(journals.records)  # sorts the last ones in
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert taken < 24 * count
    journals.records.close()
