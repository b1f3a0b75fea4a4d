"""What the pages need of Sphinx beyond its own: tables from code, signatures as they are written, links to source files."""

import ast
import dataclasses
import inspect
import os
import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fact_tables
import import_graph
from docutils import nodes
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

DOCS = Path(__file__).resolve().parents[1]
ROOT = DOCS.parent
PACKAGE = ROOT / "src" / "delaminate"
BORROWED = {
    "project/readme": "README.md",
    "project/contributing": "CONTRIBUTING.md",
    "project/changelog": "CHANGELOG.md",
    "project/security": "SECURITY.md",
    "project/results": "benchmarks/results/README.md",
}
"""Pages whose text stands elsewhere in the repository."""
LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s#]+)(#[^)\s]*)?\)")
IMAGE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")
SHOWN_AS_SOURCE = (".py",)


# --- tables and the graph -------------------------------------------------------------------------------------------


def list_table(table: fact_tables.Table) -> list[str]:
    """A table in MyST, line by line."""
    lines = ["```{list-table}", ":header-rows: 1", ":class: facts", ""]
    for row in (table.header, *table.rows):
        cells = [cell.replace("\n", " ") for cell in row]
        lines += [f"* - {cells[0]}", *(f"  - {cell}" for cell in cells[1:])]
    return [*lines, "```", ""]


class FactTable(SphinxDirective):
    """`{facts} NAME [ARGUMENT]`: tables of `fact_tables`, with headings of the page where there are several."""

    required_arguments = 1
    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        make: Callable[..., list[fact_tables.Table]] = getattr(fact_tables, self.arguments[0])
        lines: list[str] = []
        for table in make(*self.arguments[1:]):
            if table.title:
                lines += [f"### {table.title}", ""]
            lines += list_table(table)
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


class ImportGraph(SphinxDirective):
    """`{import-graph}`: the drawing, and a line for each package."""

    def run(self) -> list[nodes.Node]:
        parts = import_graph.read_parts(PACKAGE)
        level = import_graph.ranks({name: part.imports for name, part in parts.items()})
        rows = []
        for name in sorted(parts, key=lambda name: (-level[name], name)):
            imports = ", ".join(f"`{each}`" for each in sorted(parts[name].imports)) or "nothing of the package"
            rows.append((f"`{name}`", parts[name].about, imports))
        drawing = nodes.raw("", import_graph.to_svg(parts), format="html")
        table = list_table(fact_tables.Table("", ("part", "what lives there", "imports"), rows))
        return [drawing, *self.parse_text_to_nodes("\n".join(table))]


# --- the reference --------------------------------------------------------------------------------------------------


def written_signature(
    app: Sphinx, what: str, name: str, thing: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str, str | None] | None:
    """Show a signature as the source has it: jaxtyping's shapes stay what they are."""
    if signature is None and what == "exception":
        return None
    try:
        if inspect.isclass(thing):
            return (_dataclass_fields(thing) if dataclasses.is_dataclass(thing) else _constructor(thing)), None
        return _arguments(_definition(thing))
    except (OSError, TypeError, SyntaxError, IndexError):
        return signature and (signature, returns)


def _definition(thing: Any) -> ast.FunctionDef:
    found = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(thing)))).body[0]
    if not isinstance(found, ast.FunctionDef):
        raise TypeError(f"{thing} is no function")
    return found


def _arguments(found: ast.FunctionDef) -> tuple[str, str | None]:
    given = found.args
    given.args = [each for each in given.args if each.arg not in ("self", "cls")]
    returns = None if found.returns is None else ast.unparse(found.returns).strip("'")
    return f"({ast.unparse(given)})", returns


def _constructor(thing: type) -> str:
    made = thing.__dict__.get("__init__")
    if made is None:
        return "()"
    return _arguments(_definition(made))[0]


def _dataclass_fields(thing: type) -> str:
    written: dict[str, tuple[str, str]] = {}
    for each in reversed(thing.__mro__):
        if dataclasses.is_dataclass(each):
            body = ast.parse(textwrap.dedent(inspect.getsource(each))).body[0]
            assert isinstance(body, ast.ClassDef)
            for line in body.body:
                if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
                    default = "" if line.value is None else f" = {_short(line.value)}"
                    written[line.target.id] = (ast.unparse(line.annotation), default)
    fields = [field.name for field in dataclasses.fields(thing) if field.init and field.name in written]
    return "(" + ", ".join(f"{name}: {written[name][0]}{written[name][1]}" for name in fields) + ")"


def _short(value: ast.expr) -> str:
    said = ast.unparse(value)
    return said if "field(" not in said and "setting(" not in said else "..."


def literal_blocks(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Indented blocks of our docstrings are examples and formulas: tell docutils."""
    found: list[str] = []
    inside = section = False
    for index, line in enumerate(lines):
        if line and not line.startswith(" "):
            section, inside = line.rstrip().endswith(":") and " " not in line.strip(), False
        elif line.strip() and not inside and not section and index and not lines[index - 1].strip():
            block = textwrap.dedent("\n".join(lines[index : _end_of_block(lines, index)]))
            found += [f".. code-block:: {_language(block)}", ""]
            inside = True
        found.append(line)
    lines[:] = found


def _end_of_block(lines: list[str], start: int) -> int:
    return next((i for i in range(start, len(lines)) if lines[i] and not lines[i].startswith(" ")), len(lines))


def _language(block: str) -> str:
    try:
        ast.parse(block)
    except SyntaxError:
        return "text"
    return "python" if "delaminate" in block or "import" in block else "text"


# --- source files ---------------------------------------------------------------------------------------------------


def source_of(domain: str, info: dict[str, str]) -> str | None:
    """Where the source of something stands in this site, for `sphinx.ext.linkcode`; the reference lies in api/."""
    import delaminate

    thing: Any = delaminate if info["module"] == "delaminate" else __import__(info["module"], fromlist=["_"])
    for part in info["fullname"].split("."):
        thing = getattr(thing, part, None)
    thing = thing.fget if isinstance(thing, property) else thing
    try:
        path, line = inspect.getsourcefile(inspect.unwrap(thing)), inspect.getsourcelines(thing)[1]
    except (OSError, TypeError):
        return None
    if path is None or not Path(path).is_relative_to(ROOT):
        return None
    return f"../{source_page(Path(path))}.html#L-{line}"


def source_page(path: Path) -> str:
    return "_source/" + path.relative_to(ROOT).with_suffix("").as_posix()


def source_pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """A page for each file of code that pages may link to."""
    style = HtmlFormatter(nowrap=False, lineanchors="L", cssclass="highlight")
    for path in [*PACKAGE.rglob("*.py"), *(ROOT / "examples").glob("*.py"), *(ROOT / "benchmarks").glob("*.py")]:
        title = path.relative_to(ROOT).as_posix()
        code = highlight(path.read_text(encoding="utf-8"), PythonLexer(), style)
        body = f'<div class="source"><h1>{title}</h1>\n{code}</div>'
        yield source_page(path), {"title": title, "body": body}, "page.html"


# --- links ----------------------------------------------------------------------------------------------------------


def read_page(app: Sphinx, docname: str, content: list[str]) -> None:
    """Take borrowed pages from where they stand, and let links out of docs/ lead to what the site has of them."""
    borrowed = BORROWED.get(docname)
    page = DOCS / f"{docname}.md"
    origin = ROOT / borrowed if borrowed else page
    text = origin.read_text(encoding="utf-8") if borrowed else content[0]
    app.env.note_dependency(str(origin))
    content[0] = outside_code(text, lambda part: relinked(part, origin, page))


def outside_code(text: str, change: Callable[[str], str]) -> str:
    """Change a text except its fenced blocks."""
    parts = re.split(r"(^```.*?^```$)", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if part.startswith("```") else change(part) for part in parts)


def relinked(text: str, origin: Path, page: Path) -> str:
    """Rewrite the links of a text that stands in one file and is shown as another."""
    here = {ROOT / file: DOCS / f"{name}.md" for name, file in BORROWED.items()}

    def relative(path: Path) -> str:
        return Path(os.path.relpath(path, page.parent)).as_posix()

    def link(found: re.Match[str]) -> str:
        words, target, anchor = found[1], found[2], found[3] or ""
        path = (origin.parent / target).resolve()
        if "://" in target or not path.exists():
            return found[0]
        path = path.with_suffix(".md") if path.is_dir() and path.with_suffix(".md").exists() else path
        if path in here:
            return f"[{words}]({relative(here[path])}{anchor})"
        if path.is_relative_to(DOCS):
            return f"[{words}]({relative(path)}{anchor})"
        if path.suffix in SHOWN_AS_SOURCE:
            return f'<a class="reference internal" href="{relative(DOCS / source_page(path))}.html">{_html(words)}</a>'
        return words if path.is_dir() else f"[{words}]({relative(path)})"

    def image(found: re.Match[str]) -> str:
        path = (origin.parent / found[2]).resolve()
        return f"![{found[1]}]({relative(path)})" if path.exists() else found[0]

    return LINK.sub(link, IMAGE.sub(image, text))


def _html(words: str) -> str:
    return re.sub(r"`([^`]*)`", r'<code class="docutils literal">\1</code>', words)


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("facts", FactTable)
    app.add_directive("import-graph", ImportGraph)
    app.connect("autodoc-process-signature", written_signature)
    app.connect("autodoc-process-docstring", literal_blocks, priority=400)  # before napoleon
    app.connect("source-read", read_page)
    app.connect("html-collect-pages", source_pages)
    return {"parallel_read_safe": True}
