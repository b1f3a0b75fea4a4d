import csv
import sys

import numpy as np
import pytest
from helpers.exports import clip, scenes

from delaminate.errors import MissingExtra, OutputError
from delaminate.exporters import parquet, write_parquet, write_placements
from delaminate.exporters.coco import expand, mask_of
from delaminate.scene.decomposition import Decomposition

table = pytest.importorskip("pyarrow.parquet")


def rows_of(path):
    return table.read_table(path).to_pylist()


@pytest.mark.parametrize("made", [scenes(), clip()], ids=["scenes", "clip"])
def test_rows_are_those_of_the_csv(made, tmp_path):
    lasting = [40.0 + index for index in range(len(made))]
    (path,) = write_parquet(made, tmp_path, durations=lasting).files
    write_placements(made, tmp_path / "csv", durations=lasting)
    text = (tmp_path / "csv" / "placements.csv").read_text("utf-8")
    found, expected = rows_of(path), list(csv.DictReader(text.splitlines()))
    assert len(found) == len(expected)
    for row, other in zip(found, expected, strict=True):
        for name, cell in other.items():
            value = row[name]
            if isinstance(value, str) or value is None:
                assert (value or "") == cell.removeprefix("'")
            else:
                assert float(value) == float(cell)


def test_masks_are_what_is_seen_of_each_layer(tmp_path):
    made = [*scenes()]
    made[0] = made[0].hide(made[0].layers[1].id)
    (path,) = write_parquet(made, tmp_path).files
    found = rows_of(path)
    assert {row["seconds"] for row in found} == {None}
    for scene in made:
        labels = Decomposition.from_scene(scene).labels()[0][0].numpy()
        rows = [row for row in found if row["image"] == scene.name]
        again = np.full(scene.size, -1)
        shown = [row for row in rows if row["visible"]]
        for label, row in enumerate(shown, 0 if scene.background else 1):
            assert (row["canvas_height"], row["canvas_width"]) == scene.size
            if row["mask"] is None:
                assert row["area"] == 0
                continue
            mask = mask_of(expand(row["mask"]), *scene.size)
            assert mask.sum() == row["area"]
            again[mask] = label
        assert ((again == labels) | ((again == -1) & (labels == 0))).all()
        assert all(row["mask"] is None for row in rows if not row["visible"])


def test_groups_of_rows_make_one_table(tmp_path, monkeypatch):
    (path,) = write_parquet(clip(), tmp_path / "one").files
    monkeypatch.setattr(parquet, "AT_A_TIME", 2)
    (other,) = write_parquet(clip(), tmp_path / "two").files
    assert rows_of(path) == rows_of(other)
    assert table.ParquetFile(other).num_row_groups == -(-len(clip()) // 2)
    (nothing,) = write_parquet([], tmp_path / "none").files
    assert rows_of(nothing) == []
    assert [each.name for each in (tmp_path / "two").iterdir()] == ["placements.parquet"]


def test_what_is_missing_or_in_the_way_is_said(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OutputError, match=r"placements\.parquet: cannot be written"):
        write_parquet(scenes(), tmp_path / "file")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"\[table\]"):
        write_parquet(scenes(), tmp_path)
