"""How Sphinx builds these pages: `./run docs`."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "_ext"))

from site_source import source_of as linkcode_resolve  # noqa: E402, F401

import delaminate  # noqa: E402

project = "Delaminate"
author = "The Delaminate developers"
copyright = f"2026, {author}"
version = release = delaminate.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.linkcode",
    "site_source",
]
root_doc = "index"
exclude_patterns = ["_build"]
default_role = "py:obj"
highlight_language = "none"
suppress_warnings = ["myst.header"]  # pages begin sections where they need them

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # signatures are shown as they are written
autoclass_content = "class"
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Attributes", "params_style")]
napoleon_use_rtype = False
python_maximum_signature_line_length = 90
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = f"Delaminate {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}
