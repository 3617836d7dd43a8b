"""The recorded studies: their seals, and the verdicts that follow from what was kept, judged anew."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from studies.shared.declaration import WRITTEN
from studies.shared.record import RECORDED, RESULTS, read_results
from studies.shared.registry import find_study
from studies.shared.runs import KeptRun
from studies.shared.study import Study
from studies.shared.verdicts import as_json

from seem.errors import InputError
from seem.records import canonical_json, digest, parse_json, write_atomically

SEALS = "SHA256SUMS"
"""Of every recorded file, in the form that `sha256sum --check` reads."""
ORDER = ("refuted", "open", "verified")
DIFFERS = "; made by another declaration than the present one"


def recorded_folders(recorded: Path = RECORDED) -> list[str]:
    """Names of all recorded studies."""
    return sorted(path.name for path in recorded.iterdir() if path.is_dir())


def recorded_verdicts(folder: Path) -> list[dict[str, Any]]:
    """Sentence, verdict and evidence of everything a recorded study concludes, judged anew from what was kept.

    A study that has a record per data set is refuted where one of them refutes. A record that was made by another
    declaration than the present one says so in the evidence of its verdicts.

    Raises:
        InputError: When there is no record, or when what was written does not follow from what was kept.
    """
    parts = {path.parent.name: judge_again(path.parent) for path in records(folder)}
    return next(iter(parts.values())) if len(parts) == 1 else merge(parts)


def records(folder: Path) -> list[Path]:
    """The results of a study, one file per data set.

    Raises:
        InputError: When there is none.
    """
    found = sorted(path for depth in ("", "*/") for path in folder.glob(depth + RESULTS))
    if not found:
        raise InputError(f"{folder} holds no record: repeat the study's command and record it")
    return found


def recorded_versions(name: str) -> dict[str, str]:
    """Versions of the libraries that a recorded study was made with."""
    return parse_json(records(RECORDED / name)[0].read_text(encoding="utf-8"))["versions"]


def judge_again(folder: Path) -> list[dict[str, Any]]:
    """The verdicts that follow from one record.

    Args:
        folder: It holds results.json and runs.jsonl, and where they were kept the runs' own folders.

    Raises:
        InputError: When a run was changed or is missing, or what was written does not follow from the runs.
    """
    results, runs = read_results(folder)
    study = find_study(results["study"])
    _check_rows(folder, study, runs)
    verdicts = as_json(study.judge(runs))
    if verdicts != results["verdicts"]:
        raise InputError(
            f"the verdicts in {folder / RESULTS} do not follow from its runs: restore it or record it anew"
        )
    if results["declaration"]["sha256"] == study.declared["sha256"]:
        return verdicts
    return [verdict | {"evidence": verdict["evidence"] + DIFFERS} for verdict in verdicts]


def _check_rows(folder: Path, study: Study, runs: list[KeptRun]) -> None:
    if study.again is None or not (folder / "runs").is_dir():
        return
    for run in runs:
        outcome = folder / "runs" / run["folder"] / "outcome.json"
        if not outcome.exists() or digest(outcome.read_bytes()) != run["outcome_sha256"]:
            raise InputError(f"{outcome} is missing or was changed after the run: restore it")
    if canonical_json(study.again(folder / "runs", runs)) != canonical_json(runs):
        raise InputError(f"the rows of {folder} do not follow from its runs: restore them")


def provenance(folder: Path) -> str:
    """When the declaration of a recorded study was written, and what its verdicts are judged from, in words."""
    told = {}
    for path in records(folder):
        results, _ = read_results(path.parent)
        study, declaration = find_study(results["study"]), results["declaration"]
        basis = "the runs that were kept"
        if study.again is not None:
            whole = (path.parent / "runs").is_dir()
            basis = "the readings of its runs" if whole else "rows kept of its runs, whose readings are not recorded"
        when = f"{declaration['written']} ({declaration['date']})"
        declared = f"Declared {when}" if declaration["written"] == WRITTEN[0] else f"Its declaration was written {when}"
        told[f"{declared}; judged from {basis}."] = None
    return " ".join(told)


def merge(parts: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The verdicts of a study that has a record per data set: refuted where one of them refutes."""
    merged = []
    for sentence in dict.fromkeys(judged["sentence"] for verdicts in parts.values() for judged in verdicts):
        found = {part: v for part, verdicts in parts.items() for v in verdicts if v["sentence"] == sentence}
        words = [judged["verdict"] for judged in found.values()]
        verdict = next(word for word in ("refuted", "verified", "open") if word in words)
        counts = ", ".join(f"{words.count(word)} {word}" for word in ORDER if word in words)
        refuting = [f"; {part}: {v['evidence']}" for part, v in found.items() if v["verdict"] == "refuted"]
        evidence = f"of {len(found)} data sets {counts}{''.join(refuting)}"
        merged.append({"sentence": sentence, "verdict": verdict, "evidence": evidence})
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
