"""Write FINDINGS.md: what the paper says, what was measured, and the verdict, from the recorded runs alone.

    python experiments/findings.py

Refuted claims come first. The texts are in findings.toml, every number comes from the records.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from seem.errors import InputError, run_command
from seem.records import parse_json, write_atomically

FOLDER = Path(__file__).parent
RECORDED, TEXTS, PAGE = FOLDER / "recorded", FOLDER / "findings.toml", FOLDER / "FINDINGS.md"
RECORD_NAMES = ("results.json", "summary.json")
ORDER = ("refuted", "open", "verified")


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
        records = sorted(path for name in RECORD_NAMES for path in folder.rglob(name) if "runs" not in path.parts)
        if not records:
            raise InputError(f"{folder} holds no record: run `{text['command']}` and copy it there")
        parts = {path.parent.name: parse_json(path.read_text(encoding="utf-8"))["claims"] for path in records}
        claims = next(iter(parts.values())) if len(parts) == 1 else merge(parts)
        found.append(Finding(**(text | {"figures": tuple(text["figures"]), "claims": tuple(claims)})))
    named = {finding.folder for finding in found}
    for path in sorted(RECORDED.glob("*/results.json")):
        if path.parent.name not in named:
            raise InputError(f"{path.parent.name} is recorded but findings.toml does not name it: add its text")
    return found


def merge(parts: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The claims of a study that has a record a data set: refuted where one of them refutes it."""
    merged = []
    for name in dict.fromkeys(claim["name"] for claims in parts.values() for claim in claims):
        found = {part: claim for part, claims in parts.items() for claim in claims if claim["name"] == name}
        verdicts = [claim["verdict"] for claim in found.values()]
        verdict = next(verdict for verdict in ("refuted", "verified", "open") if verdict in verdicts)
        counts = ", ".join(f"{verdicts.count(word)} {word}" for word in ORDER if word in verdicts)
        refuting = "".join(f"; {part}: {claim['evidence']}" for part, claim in found.items() if _refuted(claim))
        merged.append({"name": name, "verdict": verdict, "evidence": f"of {len(found)} data sets {counts}{refuting}"})
    return merged


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
