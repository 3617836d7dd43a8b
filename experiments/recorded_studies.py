"""The recorded studies: their seals, and the claims that follow from what was measured, judged anew."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import studies
import verify_baird
import verify_laws
import verify_ntk_map
import verify_toy_maze
from forecast_errors import plain_cells
from growth_verdicts import judge, summarise
from laws_measurement import Measurement
from training_study import RESULTS, RUNS, read_study
from verdicts import Claim, as_json

from seem.errors import InputError
from seem.records import canonical_json, digest, parse_json, write_atomically

RECORDED = Path(__file__).parent / "recorded"
SEALS = "SHA256SUMS"
"""Of every recorded file, in the form that `sha256sum --check` reads."""
SUMMARY = "summary.json"
ORDER = ("refuted", "open", "verified")
EXAMPLES: dict[str, Callable[[dict[str, Any]], list[Claim]]] = {
    "toy-maze": verify_toy_maze.judge,
    "baird": verify_baird.judge,
    "ntk-map": verify_ntk_map.judge,
}


def recorded_folders(recorded: Path = RECORDED) -> list[str]:
    """Names of all recorded studies."""
    return sorted(path.name for path in recorded.iterdir() if path.is_dir())


def recorded_claims(folder: Path) -> list[dict[str, Any]]:
    """Name, verdict and evidence of every claim of a recorded study, judged anew from what was measured.

    A study that has a record a data set is refuted where one of them refutes.

    Raises:
        InputError: When there is no record, or when what was written does not follow from what was measured.
    """
    parts = {}
    for path in records(folder):
        written = parse_json(path.read_text(encoding="utf-8"))
        parts[path.parent.name] = rejudge(path, written)
        if parts[path.parent.name] != written["claims"]:
            raise InputError(f"the verdicts in {path} do not follow from its numbers: restore it or repeat its command")
    return next(iter(parts.values())) if len(parts) == 1 else merge(parts)


def records(folder: Path) -> list[Path]:
    """The files that hold a study's claims, one a data set.

    Raises:
        InputError: When there is none.
    """
    found = sorted(path for name in (RESULTS, SUMMARY) for depth in ("", "*/") for path in folder.glob(depth + name))
    if not found:
        raise InputError(f"{folder} holds no record: repeat the study's command and record it")
    return found


def recorded_versions(name: str) -> dict[str, str]:
    """Versions of the libraries that a recorded study was made with."""
    return parse_json(records(RECORDED / name)[0].read_text(encoding="utf-8"))["versions"]


def rejudge(path: Path, written: dict[str, Any]) -> list[dict[str, Any]]:
    """The claims that follow from the numbers of one record.

    Args:
        path: A results.json or summary.json.
        written: What it holds.

    Raises:
        InputError: When a run was changed or is missing.
    """
    folder = path.parent
    if path.name == SUMMARY:
        return as_json(judge(growth_rows(folder, written)))
    if (folder / RUNS).exists() or "study" in written:
        results, runs = read_study(folder)
        return as_json(studies.STUDIES[results["study"]].judge(runs))
    if "measurements" in written:
        names = Measurement.__dataclass_fields__
        measured = [{key: value for key, value in row.items() if key in names} for row in written["measurements"]]
        return as_json(verify_laws.judge([Measurement(**row) for row in measured]))
    return as_json(EXAMPLES[folder.name](written["numbers"]))


def growth_rows(folder: Path, summary: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of a growth study: from its kept runs, their hashes checked, where it keeps them.

    Raises:
        InputError: When a run is missing or changed, or the rows do not follow from the runs.
    """
    if not (folder / "runs").is_dir():
        return summary["rows"]
    for name, sha256 in summary["runs_sha256"].items():
        outcome = folder / "runs" / name / "outcome.json"
        if not outcome.exists() or digest(outcome.read_bytes()) != sha256:
            raise InputError(f"{outcome} is missing or was changed after the run: restore it")
    rows = summarise(plain_cells(folder))
    if canonical_json(rows) != canonical_json(summary["rows"]):
        raise InputError(f"the rows of {folder / SUMMARY} do not follow from its runs: restore it")
    return rows


def merge(parts: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The claims of a study that has a record a data set: refuted where one of them refutes it."""
    merged = []
    for name in dict.fromkeys(claim["name"] for claims in parts.values() for claim in claims):
        found = {part: claim for part, claims in parts.items() for claim in claims if claim["name"] == name}
        verdicts = [claim["verdict"] for claim in found.values()]
        verdict = next(verdict for verdict in ("refuted", "verified", "open") if verdict in verdicts)
        counts = ", ".join(f"{verdicts.count(word)} {word}" for word in ORDER if word in verdicts)
        refuting = [f"; {part}: {claim['evidence']}" for part, claim in found.items() if claim["verdict"] == "refuted"]
        evidence = f"of {len(found)} data sets {counts}{''.join(refuting)}"
        merged.append({"name": name, "verdict": verdict, "evidence": evidence})
    return merged


def files(recorded: Path) -> Iterator[Path]:
    """All recorded files, the seals and the readme left out."""
    yield from sorted(path for path in recorded.glob("*/**/*") if path.is_file())


def seal(recorded: Path = RECORDED) -> None:
    """Write the hash of every recorded file."""
    lines = [f"{_sha256(path)}  {path.relative_to(recorded).as_posix()}\n" for path in files(recorded)]
    write_atomically(recorded / SEALS, "".join(lines))


def damage(folder: Path) -> str:
    """What is wrong with a recorded folder: a file that is missing, changed or not sealed; empty when all is well."""
    recorded = folder.parent
    lines = (recorded / SEALS).read_text(encoding="utf-8").splitlines() if (recorded / SEALS).exists() else []
    sealed = {name: sha256 for sha256, name in (line.split("  ", 1) for line in lines)}
    expected = {name for name in sealed if name.startswith(f"{folder.name}/")}
    there = {path.relative_to(recorded).as_posix() for path in folder.rglob("*") if path.is_file()}
    if not expected | there:
        return f"there is no recorded study {folder.name}"
    for name in sorted(expected | there):
        if name not in there:
            return f"{name} is missing"
        if name not in expected:
            return f"{name} is not sealed"
        if _sha256(recorded / name) != sealed[name]:
            return f"{name} was changed after it was sealed"
    return ""


def _sha256(path: Path) -> str:
    return digest(path.read_bytes())
