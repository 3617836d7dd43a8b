"""FINDINGS.md: what the paper says, what was measured, and the verdict, from the recorded runs alone.

What is refuted comes first. The texts are in findings.toml, every number comes from the records.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studies.shared.markdown import in_markdown
from studies.shared.record import RECORDED
from studies.shared.recorded import ORDER, provenance, recorded_folders, recorded_verdicts

from seem.errors import InputError
from seem.records import write_atomically

FOLDER = RECORDED.parent
TEXTS, PAGE = FOLDER / "findings.toml", FOLDER / "FINDINGS.md"

COUNTED = """Counted are sentences of recorded studies, one for every record that judges it. The ledger counts claims:
most of its claims rest on tests and have no sentence here, one claim can rest on several of these sentences, and its
premises count too, so that the two counts are not one."""


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
        verdicts: Sentence, verdict and evidence of everything that was judged, as recorded.
        provenance: When its declaration was written, and what its verdicts are judged from.
    """

    folder: str
    title: str
    says: str
    command: str
    took: str
    figures: tuple[str, ...]
    verdicts: tuple[dict[str, Any], ...]
    provenance: str


@dataclass(frozen=True)
class FindingsOptions:
    """Command line.

    Attributes:
        out: The page.
    """

    out: Path = PAGE


def read_findings() -> list[Finding]:
    """All studies that findings.toml names, with their recorded verdicts.

    Raises:
        InputError: When a recorded study is missing, or one is recorded and not named.
    """
    found = []
    for text in tomllib.loads(TEXTS.read_text(encoding="utf-8"))["study"]:
        folder = RECORDED / text["folder"]
        judged = {"verdicts": tuple(recorded_verdicts(folder)), "provenance": provenance(folder)}
        found.append(Finding(**(text | {"figures": tuple(text["figures"])} | judged)))
    if unnamed := set(recorded_folders()) - {finding.folder for finding in found}:
        raise InputError(f"{min(unnamed)} is recorded but findings.toml does not name it: add its text")
    return found


def page(findings: list[Finding]) -> str:
    """The page as Markdown."""
    counts = {verdict: sum(v["verdict"] == verdict for f in findings for v in f.verdicts) for verdict in ORDER}
    summary = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    lines = ["# Findings", "", f"Generated from the recorded runs by `python experiments/findings.py`: {summary}.", ""]
    lines += [COUNTED, ""]
    lines += ["## Refuted", ""]
    lines += [
        f"- **{in_markdown(v['sentence'])}** ({f.title}): {in_markdown(v['evidence'])}."
        for f in findings
        for v in f.verdicts
        if _refuted(v)
    ]
    for finding in findings:
        lines += ["", f"## {finding.title}", "", finding.says.strip(), ""]
        lines += [f"`{finding.command}` ({finding.took}; records in `recorded/{finding.folder}/`)", ""]
        lines += [finding.provenance, "", "| sentence | verdict | measured |", "|---|---|---|"]
        for judged in sorted(finding.verdicts, key=lambda judged: ORDER.index(judged["verdict"])):
            verdict = f"**{judged['verdict']}**" if _refuted(judged) else judged["verdict"]
            lines.append(f"| {in_markdown(judged['sentence'])} | {verdict} | {in_markdown(judged['evidence'])} |")
        for name in finding.figures:
            lines += ["", f"![{finding.title}](recorded/{finding.folder}/{name})"]
    return "\n".join(lines) + "\n"


def _refuted(judged: dict[str, Any]) -> bool:
    return judged["verdict"] == "refuted"


def write_findings(options: FindingsOptions) -> int:
    """Write the page.

    Returns:
        The exit status.
    """
    write_atomically(options.out, page(read_findings()))
    print(f"written: {options.out}")
    return 0
