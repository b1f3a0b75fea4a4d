"""The documents: links lead somewhere, code is code, commands exist, figures are those that are written."""

import ast
import re
import shlex
from pathlib import Path

import pytest

from delaminate.cli import VERBS
from delaminate.exporters.figure_texts import EXPLANATIONS, base_name

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
# Made by commands, so they come with the first results.
LATER = {"docs/images/demo.png", "benchmarks/results/README.md"}
LINK = re.compile(r"\[[^\]]*\]\(([^)#]+)[^)]*\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?:^    |`)(?:\./run )?delaminate ([a-z][^`\n]*)", re.MULTILINE)

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


@every_page
def test_links_lead_somewhere(page):
    for target in LINK.findall(page.read_text()):
        if "://" not in target:
            path = (page.parent / target).resolve()
            assert path.exists() or path.relative_to(ROOT).as_posix() in LATER, target


@every_page
def test_python_is_python(page):
    for language, code in FENCE.findall(page.read_text()):
        if language == "python":
            ast.parse(code)


@every_page
def test_commands_exist(page):
    for line in COMMAND.findall(page.read_text()):
        assert shlex.split(line, comments=True)[0] in VERBS, line


def test_the_readme_shows_every_command():
    text = (ROOT / "README.md").read_text()
    assert [verb for verb in VERBS if f"| `{verb}" not in text] == []


def test_every_figure_is_defined():
    table = (ROOT / "docs" / "conventions.md").read_text()
    for name in EXPLANATIONS:
        if not name.endswith("_error"):
            assert f"`{base_name(name)}`" in table, name


def test_decisions_are_numbered_without_gaps_and_listed():
    pages = sorted(path.name for path in (ROOT / "docs" / "decisions").glob("*.md"))
    assert [name[:4] for name in pages] == [f"{number:04d}" for number in range(1, len(pages) + 1)]
    index = (ROOT / "docs" / "index.md").read_text()
    assert [name for name in pages if f"decisions/{name}" not in index] == []
