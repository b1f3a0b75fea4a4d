"""The page about a training."""

import re

import numpy as np
import pytest
from helpers.pages import Page
from PIL import Image

from delaminate.errors import FormatError
from delaminate.exporters.training_page import write_history

LOG = [
    {
        "total_step": step,
        "stage": "adversary" if step < 6 else "distil",
        "step": step % 6,
        "loss": 2.0 - step / 10,
        "area": 1,
    }
    | ({"covered": 0.2 + step / 100} if step < 6 else {})
    for step in range(12)
] + [{"total_step": 3, "note": "adversary, step 3: <b>gone</b>. Begun anew, restart 1 of 3."}]


@pytest.fixture
def previews(tmp_path):
    for step in range(500, 3_500, 500):
        Image.fromarray(np.full((12, 30, 3), step // 20, np.uint8)).save(tmp_path / f"{step:08d}.png")
    return sorted(tmp_path.glob("*.png"))


def test_the_page_has_notes_signals_and_pictures_and_loads_nothing(tmp_path, previews):
    facts = {"Method": "<u>"}
    write_history(
        tmp_path / "a.html",
        title="A & B",
        log=LOG,
        previews=previews,
        rows="images, masks",
        facts=facts,
        signals={"covered": "How much."},
        worst=[np.zeros((4, 12, 3), np.uint8)] * 2,
    )
    text = (tmp_path / "a.html").read_text()
    page = Page(text)
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert not {"script", "link", "iframe", "b", "u"} & set(page.tags)
    content = "".join(page.text)
    for said in (
        "A & B", "<u>", "<b>gone</b>. Begun anew, restart 1 of 3.", "Rows, from the top: images, masks.", "After 500 steps",
        "After 3,000 steps", "12 logged steps, and 1 remark.",
    ):  # fmt: skip
        assert said in content
    # Signals that the log has, and no terms that mean nothing by themselves.
    assert re.findall(r"<h3><code>(\w+)</code></h3>", text) == ["loss", "covered"]
    assert page.tags.count("svg") == 2
    assert page.tags.count("figure") == 4 + 2  # of six pictures; and the worst images
    assert "Rebuilt worst" in content


def test_a_training_that_has_not_begun_has_a_page_too(tmp_path):
    write_history(tmp_path / "a.html", title="A", log=[])
    content = "".join(Page((tmp_path / "a.html").read_text()).text)
    assert "No step has been finished yet." in content


def test_what_is_no_picture_is_refused(tmp_path):
    (tmp_path / "00000500.png").write_bytes(b"GIF89a")
    with pytest.raises(FormatError, match=r"00000500.png: is no PNG"):
        write_history(tmp_path / "a.html", title="A", log=LOG, previews=[tmp_path / "00000500.png"])
