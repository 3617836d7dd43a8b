"""The documentation builds without a warning, holds what it should, and loads nothing from elsewhere."""

import json
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
from studies.shared.findings import read_findings

import seem
from claims.plugin import LEDGER

DOCS = Path(__file__).parent
SECTIONS = """Abstract
Check-list
How delivered
Hardware dependencies
Software dependencies
Data sets
Installation
Experiment workflow
Evaluation and expected results
Customisation
Notes""".splitlines()


def test_the_pages(tmp_path):
    """One test, because every worker that runs a part of it would build the pages."""
    for name in ("furo", "myst_parser"):
        pytest.importorskip(name)
    site = tmp_path / "html"
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-d", tmp_path / "doctrees"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    done = subprocess.run([*command, DOCS, site], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    every_theorem_has_its_page(site)
    formulas_of_docstrings_are_drawn(site)
    nothing_is_loaded_from_elsewhere(site)
    findings_come_with_their_figures(site)
    the_appendix_says_what_to_expect(site)
    every_claim_leads_into_the_report(site)


def every_theorem_has_its_page(site: Path) -> None:
    """With its formulas and its source."""
    modules = [path.stem for path in (DOCS.parent / "theory").glob("*.py") if "\nDERIVATIONS = (" in path.read_text()]
    assert len(modules) > 10
    for name in modules:
        text = (site / "_generated" / "derivations" / f"{name}.html").read_text(encoding="utf-8")
        assert "<math" in text
        assert "Source: " in text


def formulas_of_docstrings_are_drawn(site: Path) -> None:
    """No role and no stand-in is left."""
    for page in (site / "api").glob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert ":math:" not in text
        assert "\ue000" not in text
    assert "<math" in (site / "api" / "readings.html").read_text(encoding="utf-8")


def nothing_is_loaded_from_elsewhere(site: Path) -> None:
    """Scripts, figures and styles lie beside the pages."""
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|img|iframe)[^>]*src="([^"]*)"|<link[^>]*href="([^"]*)"', text)
        names = [name for pair in loaded for name in pair if not name.startswith("data:")]
        assert not [name for name in names if "//" in name], page.name


def findings_come_with_their_figures(site: Path) -> None:
    """All that FINDINGS.md shows."""
    text = (site / "findings.html").read_text(encoding="utf-8")
    figures = re.findall(r'<img[^>]*src="([^"]*)"', text)
    assert len(figures) >= (DOCS.parent / "experiments" / "FINDINGS.md").read_text(encoding="utf-8").count("![")
    assert all((site / name).is_file() for name in figures)


def the_appendix_says_what_to_expect(site: Path) -> None:
    """The table that is made from the records, with a line per study."""
    text = (site / "artifact.html").read_text(encoding="utf-8")
    assert "expected verdicts" in text
    for finding in read_findings():
        assert f"{finding.folder}/" in text


def every_claim_leads_into_the_report(site: Path) -> None:
    """By its id, and to its derivation where it has one."""
    text, report = ((site / name).read_text(encoding="utf-8") for name in ("claims.html", "report.html"))
    names = re.findall(r'href="report.html#([^"]+)"', text)
    claims = {claim["id"]: claim for claim in json.loads((DOCS.parent / LEDGER).read_text(encoding="utf-8"))["claims"]}
    assert sorted(names) == sorted(claims)
    assert all(f'id="{name}"' in report for name in names)
    derived = {claim["derivation"] for claim in claims.values()} - {""}
    assert derived == set(re.findall(r'href="_generated/derivations/(\w+)\.html"[^>]*><span[^>]*>\1<', text))


def test_the_appendix_has_the_sections_that_reviewers_look_for():
    written = re.findall(r"^## (.*)$", (DOCS / "artifact.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert written == SECTIONS


def test_every_module_is_described_once():
    pages = "\n".join(path.read_text() for path in sorted((DOCS / "api").glob("*.md")))
    described = re.findall(r"^\.\. automodule:: (\S+)$", pages, re.MULTILINE)
    modules = {module.name for module in pkgutil.walk_packages(seem.__path__, "seem.")}
    assert sorted(described) == sorted(modules - {"seem.__main__"} | {"seem"})
