"""A small ledger, and a small repository around it, for the tests of the ledger's own code."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from claims.ledger import ROOT

LEDGER = """
[[assumption]]
id = "small"
statement = "The numbers are small."

[[deviation]]
topic = "sums"
paper = "by hand"
code = "by machine"
here = "by machine"

[[claim]]
id = "SUM"
statement = "One and one are two."
source = "arithmetic"
grade = "printed"
kind = "exact"
falsifier = "another sum"
supports = ["theory/test_sum.py::test_sum"]

[[claim]]
id = "SUM-LARGE"
statement = "So are larger sums."
source = "arithmetic"
grade = "derived"
kind = "exact"
assumptions = ["small"]
uses = ["SUM"]
falsifier = "another sum"
supports = ["theory/test_sum.py::test_large", "record baird: unstable above 15/17 as η → 0"]

[[claim]]
id = "SUM-ODD"
statement = "Every sum is odd."
source = "a rumour"
grade = "recalled"
kind = "exact"
falsifier = "an even sum"
refutes = ["theory/test_sum.py::test_an_even_sum"]
"""

TESTS = """
import pytest

from properties_of_sums import add


@pytest.mark.claim("SUM")
@pytest.mark.parametrize("one", [1, 1.0])
def test_sum(one):
    assert add(one, 1) == 2


@pytest.mark.claim("SUM-LARGE")
def test_large():
    assert add(100, 1) == 101


@pytest.mark.claim("SUM-ODD")
def test_an_even_sum():
    assert add(1, 3) == 4
"""


class Repository:
    """A repository of one test file, one ledger and one recorded run."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name, content in {
            "claims/claims.toml": LEDGER,
            "theory/test_sum.py": TESTS,
            "properties_of_sums.py": "def add(a, b):\n    return a + b\n",
            "pyproject.toml": '[tool.pytest.ini_options]\npythonpath = ["."]\nmarkers = ["claim(*ids): evidence"]\n',
        }.items():
            self.path(name).parent.mkdir(parents=True, exist_ok=True)
            self.path(name).write_text(content, encoding="utf-8")
        subprocess.run(["git", "init", "--quiet", root], check=True)  # noqa: S603, S607 - whichever git there is
        shutil.copy(ROOT / "claims" / "references.bib", self.path("claims"))
        recorded = ROOT / "experiments" / "recorded"
        shutil.copytree(recorded / "baird", self.path("experiments/recorded/baird"))
        sums = (recorded / "SHA256SUMS").read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in sums if line.split("  ")[1].startswith("baird/")]
        self.path("experiments/recorded/SHA256SUMS").write_text("".join(kept), encoding="utf-8")

    def path(self, name: str) -> Path:
        """A file of it."""
        return self.root / name

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace what stands exactly once in a file."""
        text = self.path(name).read_text(encoding="utf-8")
        assert text.count(old) == 1
        self.path(name).write_text(text.replace(old, new), encoding="utf-8")

    def pytest(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run its tests with the plugin."""
        command = [sys.executable, "-m", "pytest", "-p", "claims.plugin", "-p", "no:cacheprovider", *arguments]
        environment = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
        return subprocess.run(  # noqa: S603 - this interpreter's pytest
            command, cwd=self.root, env=environment, capture_output=True, text=True, check=False
        )


@pytest.fixture
def repository(tmp_path) -> Repository:
    """A small repository with a plugin that is content."""
    return Repository(tmp_path)
