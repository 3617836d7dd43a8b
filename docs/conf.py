"""Sphinx configuration: the pages are Markdown, the formulas MathML, which browsers draw without loading anything."""

import re
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path[:0] = [str(DOCS), str(ROOT), str(ROOT / "experiments")]

from docutils import nodes
from generate import write_pages
from latex2mathml.converter import convert

import seem
from theory.render import formula

write_pages(DOCS / "_generated")

project, author, project_copyright = "SEEM-verify", "The SEEM-verify authors", "The SEEM-verify authors"
release = version = seem.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "_generated/expected_results.md", "_generated/claims_table.md"]

html_theme = "furo"
html_title = f"SEEM-verify {release}"
html_static_path = ["_static"]
html_extra_path = ["../claims/report.html"]
html_css_files = ["docs.css"]
html_math_renderer = "mathml"
html_show_sphinx = False

smartquotes = False  # --seeds is an option
myst_heading_anchors = 3
default_role = "py:obj"
python_maximum_signature_line_length = 88
autodoc_member_order = "bysource"
autodoc_mock_imports = ["stable_baselines3"]  # installed by its users alone
napoleon_use_ivar = True  # an attribute is described once, by its class
napoleon_attr_annotations = False  # jaxtyping's shapes are no reStructuredText
napoleon_use_rtype = False

COLON = "\ue000"
"""Stands for a colon that napoleon must not see."""


def before_napoleon(app, what, name, obj, options, lines: list[str]) -> None:
    """Docstrings as they are meant: |Q| is an absolute value, no substitution, and words before a colon are no type.

    napoleon takes them for one in the first line of a constant, of a property and of what a function returns.
    """
    text = re.sub(r"(``.+?``|`[^`]*`)|(?<!\\)\|", lambda found: found[1] or r"\|", "\n".join(lines), flags=re.DOTALL)
    lines[:] = text.split("\n")
    for number, line in enumerate(lines):
        first = number == 0 and what in ("data", "attribute", "property")
        if first or (number and lines[number - 1].strip() in ("Returns:", "Yields:")):
            lines[number] = line.replace(":", COLON)


def after_napoleon(app, what, name, obj, options, lines: list[str]) -> None:
    """Colons that were hidden from napoleon."""
    lines[:] = [line.replace(COLON, ":") for line in lines]


def draw_dashes(app, doctree: nodes.document) -> None:
    """The one dash that Sphinx writes itself, between a parameter and what it is."""
    for text in list(doctree.findall(lambda node: isinstance(node, nodes.Text) and node == " -- ")):
        text.parent.replace(text, nodes.Text(" – "))


def inline_math(translator, node: nodes.math) -> None:
    """A formula in a line."""
    translator.body.append(convert(node.astext()))
    raise nodes.SkipNode


def displayed_math(translator, node: nodes.math_block) -> None:
    """A formula on lines of its own, as in the derivations."""
    translator.body.append(f'<div class="formula">{formula(node.astext())}</div>')
    raise nodes.SkipNode


def setup(app) -> None:
    """What Sphinx calls first."""
    app.connect("autodoc-process-docstring", before_napoleon, priority=400)
    app.connect("autodoc-process-docstring", after_napoleon, priority=600)
    app.connect("doctree-read", draw_dashes)
    app.add_html_math_renderer("mathml", (inline_math, None), (displayed_math, None))
