"""Every derivation as one HTML page: ``python theory/render.py --out derivations.html``.

The formulas become MathML, which browsers draw by themselves: the page loads nothing.
"""

import argparse
import html
import importlib
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree as ET

import sympy as sp
from latex2mathml.converter import convert

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from theory.derivation import Derivation, Step  # noqa: E402 - a script does not find the package before

MATHML = "{http://www.w3.org/1998/Math/MathML}"
BREAKS = {"=", "≥", ">", "≤", "<", "+", "-", "−"}  # a line may break before them; browsers break no MathML
FOLDED = 900  # characters of LaTeX; a longer formula is folded away
ET.register_namespace("", MATHML[1:-1])

HEAD = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Derivations</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>
:root { color-scheme: light dark; --faint: light-dark(#6b6b6b, #a0a0a0); --rule: #8886 }
body { max-width: 46rem; margin: 0 auto; padding: 1rem 1rem 4rem; font: 1.06rem/1.5 Charter, Georgia, serif }
body { overflow-wrap: anywhere } summary { cursor: pointer } h1, h2, h3 { line-height: 1.2; margin: 2.6rem 0 .5rem }
h2 { border-top: 1px solid var(--rule); padding-top: 1.6rem } h3 { font-size: 1.15rem } nav li { margin: .3rem 0 }
nav ul { padding-left: 1.2rem; list-style: none } nav > ul { padding: 0 } a { color: inherit } .source { margin-top: 0 }
.note, .source, .name, summary { color: var(--faint); font-size: .92rem }
.steps { list-style: none; padding: 0 } .steps > li { margin: 1.5rem 0 } .steps p { margin: .2rem 0 }
.name { font-family: monospace; margin-left: .5rem } mtable { min-width: max-content }
mtd { padding: .15em .5em } .function { padding-left: .17em } .formula math { padding: .35rem 0 }
math { font-family: "STIX Two Math", "Cambria Math", "Latin Modern Math", "STIX Math", math }
.formula { overflow: auto hidden; padding: .45rem 0 .45rem 1.5rem }</style></head>"""
ABOUT = """Of every line sympy reduces left − right to exactly 0, and both sides agree in 50 digits at random points.
Below an inequality stands its difference, whose sign is manifest. In the laws on the ray ℓ&nbsp;=&nbsp;L&nbsp;−&nbsp;1.
Grades: printed (read in the paper), recalled (remembered wording of its body), derived (this project's)."""


def modules() -> list[ModuleType]:
    """The modules that hold derivations, in the order in which the README names them."""
    listed = (HERE / "README.md").read_text(encoding="utf-8")
    found = [
        (listed.find(f"`{path.name}`"), importlib.import_module(f"theory.{path.stem}"))
        for path in sorted(HERE.glob("*.py"))
        if path.name.removeprefix("test_") == path.name and path.stem not in ("conftest", "render")
    ]
    return [module for _, module in sorted(found, key=lambda pair: pair[0]) if getattr(module, "DERIVATIONS", ())]


def formula(latex: str) -> str:
    """LaTeX as MathML, in pieces between which a line may break."""
    root = ET.fromstring(convert(latex, display="block"))  # noqa: S314 - our own markup
    for element in root.iter():
        if element.tag == f"{MATHML}msub" and element[0].text == "lim":
            element.tag = f"{MATHML}munder"
        elif element.tag == f"{MATHML}mi" and len(element.text or "") > 2:
            element.set("class", "function")
    pieces = [ET.Element(f"{MATHML}math", displaystyle="true")]
    depth, previous = 0, "="  # a sign that opens the line belongs to its term
    for item in root[0]:
        sign = item.text if item.tag == f"{MATHML}mo" else None
        depth += (sign == "(") - (sign == ")")
        if sign in BREAKS and depth == 0 and previous not in BREAKS:
            item.attrib.update(form="infix", lspace="0")
            pieces.append(ET.Element(f"{MATHML}math", displaystyle="true"))
        pieces[-1].append(item)
        previous = sign
    return " ".join(ET.tostring(piece, encoding="unicode") for piece in pieces)


def _block(latex: str) -> str:
    fold = "<details><summary>Written out</summary>%s</details>" if len(latex) > FOLDED else "%s"
    return fold % f'<div class="formula">{formula(latex)}</div>'


def _prose(text: str) -> str:
    """A paragraph of a docstring, its ``:math:`` roles as MathML."""
    parts = re.split(r":math:`([^`]*)`", " ".join(text.split()))
    return "".join(
        convert(part) if odd else re.sub("`+([^`]+)`+", r"<code>\1</code>", html.escape(part))
        for part, odd in zip(parts, [False, True] * len(parts), strict=False)
    )


def _step(number: str, step: Step) -> Iterator[str]:
    yield f'<li id="s{number}"><p><b>{number}</b><span class="name">{html.escape(step.name)}</span></p>'
    yield f"<p>{html.escape(step.statement)}</p>"
    if step.assumptions:
        yield f'<p class="note">Assumes: {html.escape("; ".join(step.assumptions))}.</p>'
    yield _block(step.latex())
    if step.witness is not None:
        yield '<p class="note">The difference of the two sides is</p>' + _block(sp.latex(step.witness))
    yield "</li>"


def steps(number: str, derivation: Derivation) -> Iterator[str]:
    """What stands below a derivation's heading, as HTML: its source and its steps."""
    yield f'<p class="source">Source: {html.escape(derivation.source)}.</p><ol class="steps">'
    for index, step in enumerate(derivation.steps, 1):
        yield from _step(f"{number}.{index}", step)
    yield "</ol>"


def parts() -> tuple[list[str], list[str]]:
    """Entries of the table of contents, and the chapters, as HTML; a chapter has the id ``derives-MODULE``."""
    contents, body = [], []
    for chapter, module in enumerate(modules(), 1):
        head, *paragraphs = (module.__doc__ or module.__name__).split("\n\n")
        title = f"{chapter} {_prose(head.rstrip('.'))}"
        anchor = f"derives-{module.__name__.rpartition('.')[2]}"
        contents.append(f'<li><a href="#{anchor}">{title}</a><ul>')
        body.append(f'<h2 id="{anchor}">{title}</h2>')
        body.extend(f"<p>{_prose(paragraph)}</p>" for paragraph in paragraphs)
        for index, derivation in enumerate(module.DERIVATIONS, 1):
            number = f"{chapter}.{index}"
            contents.append(f'<li><a href="#d{number}">{number} {html.escape(derivation.title)}</a></li>')
            body.append(f'<h3 id="d{number}">{number} {html.escape(derivation.title)}</h3>')
            body.extend(steps(number, derivation))
        contents.append("</ul></li>")
    return contents, body


def page() -> str:
    """The whole document."""
    contents, body = parts()
    start = f'{HEAD}<body><h1>Derivations</h1><p>{ABOUT}</p><nav aria-label="Contents"><ul>'
    return "\n".join([start, *contents, "</ul></nav>", *body, "</body></html>\n"])


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="Render the derivations of theory/ as one HTML page.")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the page to write")
    out = parser.parse_args(argv).out
    try:
        with tempfile.TemporaryDirectory(dir=out.parent) as folder:  # beside it, so that the move is atomic
            (Path(folder) / "page").write_text(page(), encoding="utf-8")
            (Path(folder) / "page").replace(out)
    except OSError as error:
        print(f"The page cannot be written to {out}: {error.strerror}.", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
