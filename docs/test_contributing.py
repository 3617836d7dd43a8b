"""Every example of CONTRIBUTING.md works: it is applied to a copy of the repository, and its commands are run there.

A block whose first line is a comment with a path is a new file; a block of ``diff`` changes files, each hunk where its
old lines stand, once. A block of ``console`` holds commands, which must end with status 0, and what they must print.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from docs.commands import BLOCK, ROOT

PAGE = ROOT / "CONTRIBUTING.md"
PATH = re.compile(r"# ([\w./-]+\.(?:py|toml))\n")
CODE = 4
"""Files of code that a normalisation or an agent may touch."""


@dataclass(frozen=True)
class Example:
    """One addition, as the page shows it.

    Attributes:
        title: What is added.
        new: Texts of new files, by path.
        changes: Path, old text and new text of each hunk.
        commands: Commands, each with the lines that it must print.
    """

    title: str
    new: dict[str, str]
    changes: list[tuple[str, str, str]]
    commands: list[tuple[str, list[str]]]

    def files(self) -> set[str]:
        """All files that are touched."""
        return {*self.new, *(path for path, _, _ in self.changes)}

    def code(self) -> set[str]:
        """Those that are neither tests nor pages nor claims."""
        names = {name for name in self.files() if name.endswith(".py")}
        return {name for name in names if not Path(name).name.startswith("test_")}

    def apply(self, folder: Path) -> None:
        """Make the addition in a copy of the repository."""
        for name, text in self.new.items():
            assert not (folder / name).exists(), f"{name} is there already"
            (folder / name).write_text(text, encoding="utf-8")
        for name, old, new in self.changes:
            text = (folder / name).read_text(encoding="utf-8")
            found = list(re.finditer(f"^{re.escape(old)}", text, flags=re.MULTILINE))
            assert len(found) == 1, f"{name} does not hold once what is changed:\n{old}"
            (folder / name).write_text(text[: found[0].start()] + new + text[found[0].end() :], encoding="utf-8")


def hunks(diff: str) -> list[tuple[str, str, str]]:
    """Path, old lines and new lines of each hunk of a unified diff without line numbers."""
    found = []
    for part in re.split(r"^--- a/", diff, flags=re.MULTILINE)[1:]:
        (head, *bodies) = re.split(r"^@@\n", part, flags=re.MULTILINE)
        before, after = head.splitlines()
        assert after == f"+++ b/{before}"
        for body in bodies:
            lines = body.splitlines(keepends=True)
            assert {line[0] for line in lines} <= {" ", "-", "+"}, body
            old = "".join(line[1:] for line in lines if line[0] != "+")
            new = "".join(line[1:] for line in lines if line[0] != "-")
            assert old.strip(), "a change needs a line to stand at"
            found.append((before, old, new))
    return found


def sessions(console: str) -> list[tuple[str, list[str]]]:
    """Commands after a dollar, each with the lines below it."""
    found: list[tuple[str, list[str]]] = []
    for line in console.splitlines():
        if line.startswith("$ "):
            found.append((line.removeprefix("$ "), []))
        else:
            found[-1][1].append(line)
    return found


def examples(text: str) -> list[Example]:
    """The sections of the page that show an addition."""
    found = []
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        title, body = section.split("\n", 1)
        new, changes, commands = {}, [], []
        for language, block in BLOCK.findall(body):
            if language == "diff":
                changes += hunks(block)
            elif language == "console":
                commands += sessions(block)
            else:
                path = PATH.match(block)
                assert path, f"a block of {title} does not say which file it is"
                new[path[1]] = block[path.end() :] if path[1].endswith(".py") else block
        found.append(Example(title.strip(), new, changes, commands))
    return found


EXAMPLES = {example.title: example for example in examples(PAGE.read_text(encoding="utf-8"))}


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    """A copy of all tracked files, a repository by itself."""
    folder = tmp_path_factory.mktemp("original") / "copy"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    for name in filter(None, listed.stdout.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    return folder


def shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a copy, with the copy's own packages and without this run's settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "SEEM", "HYPOTHESIS"))}
    own = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}",
        "PYTHONPATH": os.pathsep.join(map(str, (folder / "reference", folder / "experiments", folder))),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = ["bash", "-c", command]
    return subprocess.run(
        command, cwd=folder, env=kept | own, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def test_the_page_has_every_kind():
    kinds = ("normalisation", "agent", "growth law", "claim", "study", "integration", "data format")
    assert sorted(EXAMPLES) == sorted(f"An {kind}" if kind[0] in "aio" else f"A {kind}" for kind in kinds)
    assert all(example.files() and example.commands for example in EXAMPLES.values())


def test_a_copy_runs_its_own_packages(original):
    done = shell("python -c 'import seem, studies; print(seem.__file__, *studies.__path__)'", original)
    assert done.stdout.count(str(original)) == 2, done.stdout


@pytest.mark.parametrize("title", EXAMPLES)
def test_example(title, original, tmp_path):
    example, folder = EXAMPLES[title], tmp_path / "copy"
    shutil.copytree(original, folder, symlinks=True)
    example.apply(folder)
    subprocess.run(["git", "add", "--all"], cwd=folder, check=True)
    for command, lines in example.commands:
        done = shell(command, folder)
        assert done.returncode == 0, f"$ {command}\n{done.stdout}"
        at = 0
        for line in lines:
            at = done.stdout.find(line, at)
            assert at >= 0, f"$ {command}\ndoes not print {line!r}, but\n{done.stdout}"
    if subprocess.run(["which", "ruff"], stdout=subprocess.DEVNULL, check=False).returncode == 0:
        done = shell(f"ruff check {' '.join(name for name in example.files() if name.endswith('.py'))}", folder)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("title", ["A normalisation", "An agent"])
def test_few_files_of_code_are_touched(title):
    assert 1 <= len(EXAMPLES[title].code()) <= CODE, EXAMPLES[title].code()


def test_an_example_that_does_not_fit_is_noticed(original, tmp_path):
    (tmp_path / "file.py").write_text("one\ntwo\ntwo\n")
    for old in ("three\n", "two\n", "ne\n"):
        with pytest.raises(AssertionError, match="does not hold once"):
            Example("", {}, [("file.py", old, "")], []).apply(tmp_path)
    with pytest.raises(AssertionError, match="is there already"):
        Example("", {"file.py": ""}, [], []).apply(tmp_path)
    Example("", {}, [("file.py", "one\n", "zero\n")], []).apply(tmp_path)
    assert (tmp_path / "file.py").read_text() == "zero\ntwo\ntwo\n"
