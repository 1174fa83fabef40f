"""The site: Sphinx, with pages in Markdown (MyST) and formulas as MathML. `make docs` builds it."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

from mpifl import __version__  # noqa: E402  # of the checkout or the environment

project = "mpifl"
author = "The mpifl authors"
copyright = "The mpifl authors, MIT licence"
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "mathml",
    "method_links",
    "notebooks",
    "options_page",
    "plain_docstrings",
    "unlisted",
]
source_suffix = {".md": "markdown"}
exclude_patterns = ["extensions", "pictures/*.py"]

myst_enable_extensions = ["attrs_block", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3  # README and pages link to headings, as GitHub names them

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
default_role = "code"
smartquotes = False  # --out stays --out

html_theme = "furo"
html_title = f"mpifl {version}"
html_math_renderer = "mathml"
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}
html_static_path = ["style"]
html_css_files = ["site.css"]
copybutton_exclude = ".linenos, .gp, .go"
