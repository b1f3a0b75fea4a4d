"""The site: public names have their place, tables and the graph are whole, walks run, citation and cards say what is so."""

import dataclasses
import re
import sys
import tomllib
import types
import xml.etree.ElementTree as ElementTree
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

import delaminate
from delaminate import zoo
from delaminate.exporters import FORMATS
from delaminate.methods.registry import METHODS

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
WALKS = sorted((DOCS / "walks").glob("*.md"))
DOCUMENTED = re.compile(r"^\.\. (?:auto|py:)\w+:: (?:delaminate\.)?([\w.]+)$", re.MULTILINE)
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
AUTHORS = {"DTI-Sprites": "Monnier", "MarioNette": "Smirnov", "ReDO": "Chen", "PerturbGAN": "Bielski"}


@pytest.fixture
def of_the_site(monkeypatch):
    """Import modules of docs/_ext."""
    monkeypatch.syspath_prepend(str(DOCS / "_ext"))
    return __import__


@pytest.fixture
def as_before():
    """Methods and formats that a page registers are gone afterwards."""
    methods, formats = dict(METHODS._known), dict(FORMATS)
    yield
    METHODS._known.clear()
    METHODS._known.update(methods)
    FORMATS.clear()
    FORMATS.update(formats)


# --- the reference ------------------------------------------------------------------------------------------------------


def documented_names():
    return [name for page in sorted((DOCS / "api").glob("*.md")) for name in DOCUMENTED.findall(page.read_text())]


def test_every_public_name_is_in_the_reference():
    assert sorted(set(delaminate.__all__) - set(documented_names())) == []


def test_no_name_is_in_the_reference_twice():
    names = documented_names()
    assert sorted(name for name in set(names) if names.count(name) > 1) == []


def test_every_page_is_in_the_menu():
    menu = [DOCS / "index.md", *(DOCS / "api").glob("index.md")]
    named = {
        (page.parent / line.split("<")[-1].rstrip(">")).relative_to(DOCS).as_posix()
        for page in menu
        for block in re.findall(r"^```\{toctree\}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
        if line and not line.startswith(":")
    }
    pages = {
        path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md") if "_build" not in path.parts
    }
    assert {page for page in pages - named if not page.startswith("decisions/")} == {"index"}


# --- tables and the graph -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["dti-sprites", "marionette", "perturbgan", "redo"])
def test_the_settings_of_a_method_are_in_its_tables_each_once(of_the_site, method):
    tables = of_the_site("fact_tables").settings_tables(method)
    config = next(iter(METHODS[method].presets.values()))
    names = [row[0].strip("`") for table in tables for row in table.rows]
    assert sorted(names) == sorted(field.name for field in dataclasses.fields(config))
    assert all(len(row) == len(table.header) for table in tables for row in table.rows)
    assert all(default and values for table in tables for _, default, values, _, _ in table.rows)


def test_every_preset_says_what_it_sets(of_the_site):
    tables = of_the_site("fact_tables")
    for name, method in tables.own_methods().items():
        rows = tables.presets_tables(name)[0].rows
        assert [row[0].strip("`") for row in rows] == list(method.presets)
        assert all("=" in row[1] or row[1] == "nothing" or "nothing" in row[1] for row in rows)


def test_formats_figures_and_models_are_in_their_tables(of_the_site):
    tables = of_the_site("fact_tables")
    assert [row[0].strip("`") for row in tables.formats_table()[0].rows] == list(FORMATS)
    assert [row[0].strip("`") for row in tables.models_table()[0].rows] == list(zoo.names())
    assert all(row[-1] for table in tables.figures_tables() for row in table.rows)


def test_every_arrow_of_the_import_graph_points_down(of_the_site):
    graph = of_the_site("import_graph")
    parts = graph.read_parts(ROOT / "src" / "delaminate")
    assert {"cli", "pipelines", "methods", "scene", "errors"} <= set(parts)
    drawing = graph.arrange({name: part.imports for name, part in parts.items()})
    for (name, other), points in drawing.arrows.items():
        assert other in parts[name].imports
        assert all(low > high for (_, high), (_, low) in pairwise(points)), (name, other)


def test_the_import_graph_says_all_that_its_arrows_leave_out(of_the_site):
    graph = of_the_site("import_graph")
    imports = {name: part.imports for name, part in graph.read_parts(ROOT / "src" / "delaminate").items()}
    arrows = graph.reduced(imports)

    def reached(name):
        return {each for other in arrows[name] for each in (other, *reached(other))}

    assert all(imports[name] <= reached(name) for name in imports)


def test_the_boxes_of_the_import_graph_lie_apart(of_the_site):
    graph = of_the_site("import_graph")
    parts = graph.read_parts(ROOT / "src" / "delaminate")
    boxes = list(graph.arrange({name: part.imports for name, part in parts.items()}).boxes.values())
    for index, (x, y) in enumerate(boxes):
        for other_x, other_y in boxes[:index]:
            assert abs(x - other_x) >= graph.BOX[0] or abs(y - other_y) >= graph.BOX[1]
    drawn = ElementTree.fromstring(graph.to_svg(parts))
    assert len(drawn.findall(".//{*}rect")) == len(parts)


def test_a_circle_of_imports_is_refused(of_the_site):
    with pytest.raises(ValueError, match="a -> b -> a"):
        of_the_site("import_graph").ranks({"a": ["b"], "b": ["a"]})


# --- walks ----------------------------------------------------------------------------------------------------------------


@pytest.mark.plain
@pytest.mark.parametrize("page", WALKS, ids=lambda page: page.stem)
def test_a_walk_runs(page, tmp_path, monkeypatch, as_before):
    module = types.ModuleType(page.stem.replace("-", "_"))
    monkeypatch.setitem(sys.modules, module.__name__, module)  # where annotations of its dataclasses are looked up
    monkeypatch.chdir(tmp_path)
    text = page.read_text(encoding="utf-8")
    blocks = list(PYTHON.finditer(text))
    assert blocks
    for block in blocks:
        above = "\n" * text[: block.start(1)].count("\n")  # so that an error names the line of the page
        exec(compile(above + block[1], str(page), "exec"), module.__dict__)


def test_there_are_six_walks():
    assert len(WALKS) == 6


# --- citation and cards -----------------------------------------------------------------------------------------------


def test_the_citation_names_this_version_its_licence_and_the_four_papers():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert cited["cff-version"] == "1.2.0"
    assert cited["message"]
    assert (cited["title"].lower(), cited["version"]) == (project["name"], delaminate.__version__)
    assert cited["license"] == project["license"]
    assert [author["name"] for author in cited["authors"]] == [author["name"] for author in project["authors"]]
    assert {each["notes"]: each["authors"][0]["family-names"] for each in cited["references"]} == AUTHORS
    for each in cited["references"]:
        assert {"type", "title", "year", "authors", "conference"} <= each.keys()
        assert all(set(author) == {"given-names", "family-names"} for author in each["authors"])


@pytest.mark.parametrize("name", sorted(zoo.names()))
def test_the_head_of_a_card_has_the_figures_of_its_table(name):
    head, body = zoo.split_card((zoo.folder(name) / "README.md").read_text(encoding="utf-8"))
    known = yaml.safe_load(head)
    assert (known["license"], known["library_name"]) == ("mit", "delaminate")
    assert known["pipeline_tag"] == "image-segmentation"
    assert name.split("/")[0] in known["tags"]
    (entry,) = known["model-index"]
    (result,) = entry["results"]
    assert entry["name"] == name
    assert result["task"]["type"] == "image-segmentation"
    assert set(result["dataset"]) == {"name", "type"}
    rows = [line.strip("|").split("|") for line in body.splitlines() if line.startswith("|")]
    ways = [re.search(r"--by (\w+)", cell)[1] for cell in rows[0][1:]]
    table = {
        f"{row[0].strip(' `')} by {way}": float(cell)
        for row in rows[2:]
        for way, cell in zip(ways, row[1:], strict=True)
        if cell.strip()
    }
    assert table
    assert {metric["name"]: metric["value"] for metric in result["metrics"]} == table
    assert all(metric["name"].startswith(f"{metric['type']} by ") for metric in result["metrics"])


@pytest.mark.parametrize("name", sorted(zoo.names()))
def test_the_head_of_a_card_is_what_make_zoo_writes(name):
    import make_zoo

    text = (zoo.folder(name) / "README.md").read_text(encoding="utf-8")
    body = zoo.split_card(text)[1]
    assert text == f"{make_zoo.head(name, body)}\n{body}"


def test_models_are_listed_by_the_titles_of_their_cards():
    assert all(title and not title.startswith(("-", "#")) for title in zoo.names().values())


@pytest.mark.parametrize("method", ["dti-sprites", "marionette", "perturbgan", "redo"])
def test_the_page_of_a_method_calls_settings_by_their_present_names(method):
    text = (DOCS / "methods" / f"{method}.md").read_text()
    config = type(next(iter(METHODS[method].presets.values())))
    signals = {*METHODS[method].training_signals, "least_area"}  # figures of metrics.jsonl, some of which share a name
    spans = [word for span in re.findall(r"`([^`\n]+)`", text) for word in re.findall(r"^\w+$|\b\w+(?==)", span)]
    assert sorted(set(spans) & set(config.renamed) - signals) == []
