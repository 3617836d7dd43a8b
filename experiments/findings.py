"""Write FINDINGS.md: what the paper says, what was measured, and the verdict, from the recorded runs alone.

    python experiments/findings.py

Refuted claims come first. The texts are in findings.toml, every number comes from the records.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from recorded_studies import ORDER, RECORDED, recorded_claims, recorded_folders

from seem.errors import InputError, run_command
from seem.records import write_atomically

FOLDER = Path(__file__).parent
TEXTS, PAGE = FOLDER / "findings.toml", FOLDER / "FINDINGS.md"


@dataclass(frozen=True)
class Finding:
    """One recorded study with what is said about it.

    Attributes:
        folder: Its folder under recorded/.
        title: Its heading.
        says: What the paper says, with its grade.
        command: What makes the records.
        took: Wall time of that command, and on what.
        figures: Names of its figures.
        claims: Name, verdict and evidence of every claim, as recorded.
    """

    folder: str
    title: str
    says: str
    command: str
    took: str
    figures: tuple[str, ...]
    claims: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Options:
    """Command line.

    Attributes:
        out: The page.
    """

    out: Path = PAGE


def read_findings() -> list[Finding]:
    """All studies that findings.toml names, with their recorded claims.

    Raises:
        InputError: When a recorded study is missing, or one is recorded and not named.
    """
    found = []
    for text in tomllib.loads(TEXTS.read_text(encoding="utf-8"))["study"]:
        folder = RECORDED / text["folder"]
        claims = recorded_claims(folder)
        found.append(Finding(**(text | {"figures": tuple(text["figures"]), "claims": tuple(claims)})))
    if unnamed := set(recorded_folders()) - {finding.folder for finding in found}:
        raise InputError(f"{min(unnamed)} is recorded but findings.toml does not name it: add its text")
    return found


def page(findings: list[Finding]) -> str:
    """The page as Markdown."""
    counts = {verdict: sum(c["verdict"] == verdict for f in findings for c in f.claims) for verdict in ORDER}
    summary = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    lines = ["# Findings", "", f"Generated from the recorded runs by `python experiments/findings.py`: {summary}.", ""]
    lines += ["## Refuted", ""]
    lines += [f"- **{c['name']}** ({f.title}): {c['evidence']}." for f in findings for c in f.claims if _refuted(c)]
    for finding in findings:
        lines += ["", f"## {finding.title}", "", finding.says.strip(), ""]
        lines += [f"`{finding.command}` ({finding.took}; records in `recorded/{finding.folder}/`)", ""]
        lines += ["| claim | verdict | measured |", "|---|---|---|"]
        for claim in sorted(finding.claims, key=lambda claim: ORDER.index(claim["verdict"])):
            verdict = f"**{claim['verdict']}**" if _refuted(claim) else claim["verdict"]
            lines.append(f"| {_cell(claim['name'])} | {verdict} | {_cell(claim['evidence'])} |")
        for name in finding.figures:
            lines += ["", f"![{finding.title}](recorded/{finding.folder}/{name})"]
    return "\n".join(lines) + "\n"


def _refuted(claim: dict[str, Any]) -> bool:
    return claim["verdict"] == "refuted"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main(options: Options) -> int:
    """Write the page.

    Returns:
        The exit status.
    """
    write_atomically(options.out, page(read_findings()))
    print(f"written: {options.out}")
    return 0


if __name__ == "__main__":
    run_command(lambda: main(tyro.cli(Options)))
