"""Pages that the code writes when the documentation is built: derivations, claims, and what to expect of each study."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from studies.shared.findings import Finding, read_findings

from claims.ledger import ROOT
from claims.plugin import LEDGER
from claims.tables import table
from theory import render

ORDER = ("verified", "refuted", "open")
ABOUT = """Of every line sympy reduces left - right to exactly 0, and both sides agree in 50 digits at random points.
Below an inequality stands its difference, whose sign is manifest. In the laws on the ray ℓ = L - 1. Grades: *printed*
(read in the paper), *recalled* (remembered wording of its body), *derived* (this project's)."""


def write_pages(folder: Path) -> None:
    """Write all generated pages.

    Args:
        folder: Where, inside the sources of the documentation; created when missing.
    """
    derivations = folder / "derivations"
    derivations.mkdir(parents=True, exist_ok=True)
    modules = render.modules()
    names = [module.__name__.rpartition(".")[2] for module in modules]
    for chapter, (name, module) in enumerate(zip(names, modules, strict=True), 1):
        write(derivations / f"{name}.md", theorem(chapter, module))
    contents = ["# Derivations", "", ABOUT, "", "```{toctree}", ":maxdepth: 2", "", *names, "```"]
    write(derivations / "index.md", contents)
    write(folder / "expected_results.md", expected(read_findings()))
    write(folder / "claims_table.md", claims(json.loads((ROOT / LEDGER).read_text(encoding="utf-8"))))


def write(path: Path, lines: list[str]) -> None:
    """Write a page, unless it stands there already: Sphinx reads a page again whose time has changed."""
    text = "\n".join(lines) + "\n"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def theorem(chapter: int, module: ModuleType) -> list[str]:
    """The page of one theory module."""
    head, *paragraphs = (module.__doc__ or module.__name__).split("\n\n")
    lines = [f"# {chapter} {markdown(head.rstrip('.'))}", ""]
    for paragraph in paragraphs:
        lines += [markdown(paragraph), ""]
    name = module.__name__.rpartition(".")[2]
    lines += [f"In the code: `theory/{name}.py`; the tests beside it check every step.", ""]
    for index, derivation in enumerate(module.DERIVATIONS, 1):
        number = f"{chapter}.{index}"
        lines += [f"## {number} {markdown(derivation.title)}", ""]
        lines += ["```{raw} html", *render.steps(number, derivation), "```", ""]
    return lines


def markdown(text: str) -> str:
    """A paragraph of a docstring in MyST: its formulas, code and plain words."""
    return "".join(_parts(" ".join(text.split())))


def _parts(text: str) -> Iterator[str]:
    for part in re.split(r"(:math:`[^`]*`|`+[^`]+`+)", text):
        if part.startswith(":math:"):
            yield "{math}" + part.removeprefix(":math:")
        elif part.startswith("`"):
            yield f"`{part.strip('`')}`"
        else:
            yield re.sub(r"([\\*_\[\]<>|#$~{}])", r"\\\1", part)


def claims(ledger: dict[str, Any]) -> list[str]:
    """The table of claims, whose ids lead into the report and whose formulas lead to their derivations."""

    def link(path: str, word: str) -> str:
        derived = path.startswith("theory/") and "test_" not in path
        return f"[{word}](_generated/derivations/{word}.md)" if derived else f"`{path}`"

    page = re.sub(r"\[([^\]]+)\]\(#\1\)", r'<a href="#\1">\1</a>', "\n".join(table(ledger, link)))
    named = r'<a id="([^"]+)"></a>((?:↳ )?)`\1`'
    return [re.sub(named, r'<a id="\1"></a>\2<a href="report.html#\1"><code>\1</code></a>', page)]


def expected(findings: list[Finding]) -> list[str]:
    """The table of commands with their times and verdicts, from the recorded runs."""
    lines = ["| record | command | took | expected verdicts |", "|---|---|---|---|"]
    for finding in findings:
        verdicts = [judged["verdict"] for judged in finding.verdicts]
        counts = ", ".join(f"{verdicts.count(word)} {word}" for word in ORDER if word in verdicts)
        cells = (f"`{finding.folder}/`", f"`{finding.command}`", finding.took, counts)
        lines.append(f"| {' | '.join(cells)} |")
    return lines
