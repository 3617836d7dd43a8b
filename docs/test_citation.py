"""CITATION.cff follows the Citation File Format 1.2.0 and agrees with the package, the changelog and the pages."""

import re
import tomllib
from pathlib import Path

import pytest

import seem

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).resolve().parent.parent
REQUIRED = {"cff-version", "message", "title", "authors"}
KEYS = REQUIRED | {"abstract", "commit", "contact", "date-released", "doi", "identifiers", "keywords", "license"}
KEYS |= {"license-url", "preferred-citation", "references", "repository", "repository-artifact", "repository-code"}
KEYS |= {"type", "url", "version"}
PERSON = {"family-names", "given-names", "name-particle", "name-suffix", "affiliation", "email", "orcid", "alias"}
PERSON |= {"address", "city", "country", "fax", "post-code", "region", "tel", "website"}
IDENTIFIERS = {"doi", "url", "swh", "other"}


@pytest.fixture(scope="module")
def citation():
    return yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))


def check_authors(authors):
    """People have family or given names, entities a name; the two do not mix."""
    assert authors
    for author in authors:
        assert "name" in author or author.keys() & {"family-names", "given-names"}
        assert "name" in author or author.keys() <= PERSON


def test_required_keys(citation):
    assert REQUIRED <= citation.keys() <= KEYS
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] in ("software", "dataset")
    assert all(isinstance(citation[key], str) and citation[key] for key in ("message", "title", "version", "license"))
    assert len(set(citation["keywords"])) == len(citation["keywords"])
    check_authors(citation["authors"])


def test_references(citation):
    for reference in citation["references"]:
        assert {"authors", "title", "type"} <= reference.keys()
        assert isinstance(reference["year"], int)
        assert isinstance(reference["conference"]["name"], str)
        check_authors(reference["authors"])
        for identifier in reference["identifiers"]:
            assert identifier["type"] in IDENTIFIERS
            assert isinstance(identifier["value"], str)


def test_version_and_licence_are_the_packages(citation):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert citation["version"] == seem.__version__
    assert citation["license"] == project["license"]
    assert [author["name"] for author in citation["authors"]] == [author["name"] for author in project["authors"]]


def test_changelog_has_the_version():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert seem.__version__ in re.findall(r"^## (\S+)", changelog, re.MULTILINE)


def test_bibtex_says_the_same(citation):
    page = (ROOT / "docs" / "cite.md").read_text(encoding="utf-8")
    plain = re.sub(r"[{}]", "", page)
    paper = citation["references"][0]
    for said in (citation["title"], paper["title"], f"version = {citation['version']}", str(paper["year"])):
        assert said in plain
    assert " and ".join(f"{a['family-names']}, {a['given-names']}" for a in paper["authors"]) in plain
    assert paper["identifiers"][0]["value"] in plain
