"""The page holds every derivation and every step, as MathML that a browser can draw."""

import html
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

pytest.importorskip("latex2mathml")

from theory import render

MODULES = render.modules()
DERIVATIONS = [derivation for module in MODULES for derivation in module.DERIVATIONS]
MATHML = render.MATHML


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    out = tmp_path_factory.mktemp("page") / "derivations.html"
    assert render.main(["--out", str(out)]) == 0
    assert list(out.parent.iterdir()) == [out]
    return out.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text):
    """The page's body; all but the void <meta> of its head is XML as well."""
    body = text[text.index("<body>") : text.index("</html>")].replace("&nbsp;", " ")
    return ET.fromstring(body)  # noqa: S314 - our own markup


def test_every_module_is_listed_in_the_readme():
    listed = (Path(render.__file__).parent / "README.md").read_text(encoding="utf-8")
    assert len(MODULES) > 10
    for module in MODULES:
        assert f"`{Path(module.__file__).name}`" in listed


def test_titles_and_sources(text):
    for derivation in DERIVATIONS:
        assert text.count(f" {html.escape(derivation.title)}</") == 2  # contents and heading
        assert html.escape(derivation.source) in text


def test_contents_lead_somewhere(page):
    targets = {element.get("id") for element in page.iter()}
    links = [element.get("href").removeprefix("#") for element in page.iter("a")]
    assert len(links) == len(MODULES) + len(DERIVATIONS)
    assert set(links) <= targets


def test_steps(page):
    items = [item for steps in page.iter("ol") for item in steps]
    steps = [step for derivation in DERIVATIONS for step in derivation.steps]
    for item, step in zip(items, steps, strict=True):
        said = "".join(item.itertext())
        assert step.name in said
        assert step.statement in said
        assert all(assumption in said for assumption in step.assumptions)
        assert any("".join(math.itertext()).strip() for math in item.iter(f"{MATHML}math"))


def test_no_latex_is_left_in_the_formulas(page):
    for math in page.iter(f"{MATHML}math"):
        assert not set("\\$&_") & set("".join(math.itertext()))
        assert math.find(f".//{MATHML}merror") is None


def test_pieces_of_a_line():
    assert render.formula("a + b = -c").count("<math") == 3
    assert render.formula(r"\left(a + b\right) (c - d)").count("<math") == 1
    assert "<munder>" in render.formula(r"\lim_{t \to \infty} t")


def test_nothing_is_loaded(text):
    assert not any(word in text for word in ("src=", "<link", "<script", "url(", "@import"))


def test_bad_path(tmp_path):
    out = tmp_path / "missing" / "page.html"
    run = subprocess.run([sys.executable, render.__file__, "--out", out], capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stderr == f"The page cannot be written to {out}: No such file or directory.\n"


def test_a_folder_is_no_page(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(render, "page", lambda: "")
    assert render.main(["--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
