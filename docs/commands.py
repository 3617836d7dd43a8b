"""What the documentation asks its readers to type: blocks, and the commands in them."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOP = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
"""Pages whose blocks of Python are run elsewhere: by reference/tests/ and by docs/test_contributing.py."""
PAGES = [*TOP, *sorted(p for p in (ROOT / "docs").rglob("*.md") if "_generated" not in p.parts)]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`((?:[\w./]*/)?(?:python3?|pytest|nox|pip|sphinx-build|SEEM_\w+=\S+) [^`]+)`")
PREFIX = ".venv/bin/"


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: its language and its text."""

    language: str
    text: str


@dataclass(frozen=True)
class Command:
    """One command as a reader types it.

    Attributes:
        page: Where it stands, relative to the repository.
        line: As it stands there.
        variables: Environment variables set before it.
        words: The command and its arguments.
    """

    page: str
    line: str
    variables: dict[str, str]
    words: list[str]


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page that are code or output."""
    return [Block(*found) for found in BLOCK.findall(page.read_text(encoding="utf-8"))]


def commands() -> list[Command]:
    """Every command of every page, in blocks of shell and inside lines."""
    found = []
    for page in PAGES:
        lines = [line for block in blocks(page) if block.language == "bash" for line in block.text.splitlines()]
        prose = BLOCK.sub("", page.read_text(encoding="utf-8"))
        lines += [line.replace("\n", " ") for line in INLINE.findall(prose)]
        for line in lines:
            found += [parse(str(page.relative_to(ROOT)), part) for part in line.split("&&") if part.strip()]
    return found


def parse(page: str, line: str) -> Command:
    """One command: variables, words, without a comment and without the folder of the environment."""
    words = shlex.split(line, comments=True)
    variables = {}
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        name, _, value = words.pop(0).partition("=")
        variables[name] = value
    words[:1] = [words[0].removeprefix(PREFIX)]
    return Command(page, line.strip(), variables, words)
