"""The recorded studies: their seals, and the verdicts that follow from what was kept, judged anew."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from studies.shared.declaration import WRITTEN
from studies.shared.record import RECORDED, RESULTS, read_results
from studies.shared.registry import find_study
from studies.shared.runs import KeptRun
from studies.shared.study import Study, check_distinct
from studies.shared.verdicts import as_json

from seem.errors import InputError
from seem.files import read_bytes
from seem.locks import write_alone
from seem.records import canonical_json, digest, parse_json

SEALS = "SHA256SUMS"
"""Of every recorded file, in the form that `sha256sum --check` reads."""
ORDER = ("refuted", "open", "verified")
DIFFERS = "; made by another declaration than the present one"
ADDED = "; added after a look at these runs"
TOGETHER = "all data sets together: "
"""What the sentences on the runs of several data sets begin with."""


def recorded_folders(recorded: Path = RECORDED) -> list[str]:
    """Names of all recorded studies; what else is sealed there holds no results of a study."""
    found = (path for depth in ("*/", "*/*/") for path in recorded.glob(depth + RESULTS))
    return sorted({path.relative_to(recorded).parts[0] for path in found})


def recorded_verdicts(folder: Path) -> list[dict[str, Any]]:
    """Sentence, verdict and evidence of everything a recorded study concludes, judged anew from what was kept.

    A study that has a record per data set has every sentence twice: of each data set, `merge`, and of the runs of all
    data sets together. A record that was made by another declaration than the present one says so in the evidence of
    its verdicts, and one that a sentence was chosen on does not verify it.

    Raises:
        InputError: When there is no record, or when what was written does not follow from what was kept.
    """
    parts = {path.parent.name: judge_again(path.parent) for path in records(folder)}
    found = next(iter(parts.values())) if len(parts) == 1 else merge(parts) + pooled(folder)
    return [_as_counted(folder, judged) for judged in found]


def pooled(folder: Path) -> list[dict[str, Any]]:
    """The verdicts that follow from the runs of all data sets of a study together."""
    read = [read_results(path.parent) for path in records(folder)]
    study = find_study(read[0][0]["study"])
    rows = [
        row for path, (_, runs) in zip(records(folder), read, strict=True) for row in _rows(path.parent, study, runs)
    ]
    return [verdict | {"sentence": TOGETHER + verdict["sentence"]} for verdict in as_json(study.judge(rows))]


def _as_counted(folder: Path, judged: dict[str, Any]) -> dict[str, Any]:
    """Rule: what was added after a look at some runs counts as verified on other runs only, and says so."""
    declaration = find_study(read_results(records(folder)[0].parent)[0]["study"]).declaration
    looked_at = declaration.looked_at(judged["sentence"].removeprefix(TOGETHER))
    if not looked_at:
        return judged
    if folder.name not in looked_at:
        return judged | {
            "evidence": f"{judged['evidence']}; added after a look at {', '.join(looked_at)}, not at these"
        }
    counts = judged["verdict"] != "verified"
    said = ADDED if counts else f"{ADDED}, so that only others could verify it"
    return judged | {"verdict": judged["verdict"] if counts else "open", "evidence": judged["evidence"] + said}


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
    return parse_json(read_bytes(records(RECORDED / name)[0]).decode())["versions"]


def judge_again(folder: Path) -> list[dict[str, Any]]:
    """The verdicts that follow from one record.

    Args:
        folder: It holds results.json and runs.jsonl, and where they were kept the runs' own folders.

    Raises:
        InputError: When a run was changed or is missing, or what was written does not follow from the runs.
    """
    results, runs = read_results(folder)
    study = find_study(results["study"])
    verdicts = as_json(study.judge(_rows(folder, study, check_distinct(runs))))
    if verdicts != results["verdicts"]:
        raise InputError(
            f"the verdicts in {folder / RESULTS} do not follow from its runs: restore it or record it anew"
        )
    if results["declaration"]["sha256"] == study.declared["sha256"]:
        return verdicts
    return [verdict | {"evidence": verdict["evidence"] + DIFFERS} for verdict in verdicts]


def _rows(folder: Path, study: Study, runs: list[KeptRun]) -> list[KeptRun]:
    """What is judged: the kept rows, or where the runs' own folders were recorded, rows made again from these.

    Rows made again have also what was not kept at the time of the record; the rest must be what was kept.
    """
    if study.again is None or not (folder / "runs").is_dir():
        return runs
    for run in runs:
        outcome = folder / "runs" / run["folder"] / "outcome.json"
        if not outcome.exists() or digest(read_bytes(outcome)) != run["outcome_sha256"]:
            raise InputError(f"{outcome} is missing or was changed after the run: restore it")
    rows = study.again(folder / "runs", runs)
    known = [{name: row.get(name) for name in run} for row, run in zip(rows, runs, strict=True)]
    if canonical_json(known) != canonical_json(runs):
        raise InputError(f"the rows of {folder} do not follow from its runs: restore them")
    return rows


def judge_anew(folder: Path) -> list[str]:
    """Write what the present judges conclude from one record's runs, which stay as they are.

    Args:
        folder: It holds results.json and runs.jsonl.

    Returns:
        One line per verdict that changed.

    Raises:
        InputError: When the runs were declared before they were made, by another declaration than the present one: that
            one cannot be put in its place.
    """
    results, runs = read_results(folder)
    study = find_study(results["study"])
    declared = results["declaration"]
    if declared["written"] == WRITTEN[0] and declared["sha256"] != study.declared["sha256"]:
        raise InputError(f"{folder} was declared before its runs by another declaration: declare and run it anew")
    verdicts = as_json(study.judge(_rows(folder, study, check_distinct(runs))))
    before = {verdict["sentence"]: verdict["verdict"] for verdict in results["verdicts"]}
    content = results | {"declaration": study.declared, "verdicts": verdicts}
    write_alone(folder / RESULTS, canonical_json(content) + "\n")
    now = {verdict["sentence"]: verdict["verdict"] for verdict in verdicts}
    told = [f"{name}: {before.get(name, 'not there')} -> {now.get(name, 'gone')}" for name in before | now]
    return [line for line, name in zip(told, before | now, strict=True) if before.get(name) != now.get(name)]


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
    """The verdicts of a study that has a record per data set.

    Refuted where one of them refutes, verified where every one verifies, else open: a data set without an answer, or
    without the sentence, verifies nothing.
    """
    merged = []
    for sentence in dict.fromkeys(judged["sentence"] for verdicts in parts.values() for judged in verdicts):
        found = {part: v for part, verdicts in parts.items() for v in verdicts if v["sentence"] == sentence}
        words = [judged["verdict"] for judged in found.values()]
        everywhere = len(found) == len(parts) and set(words) == {"verified"}
        verdict = "refuted" if "refuted" in words else "verified" if everywhere else "open"
        counts = ", ".join(f"{words.count(word)} {word}" for word in ORDER if word in words)
        refuting = [f"; {part}: {v['evidence']}" for part, v in found.items() if v["verdict"] == "refuted"]
        evidence = f"of {len(parts)} data sets {counts}{''.join(refuting)}"
        merged.append({"sentence": sentence, "verdict": verdict, "evidence": evidence})
    return merged


def files(recorded: Path) -> Iterator[Path]:
    """All recorded files, the seals and the readme left out."""
    yield from sorted(path for path in recorded.glob("*/**/*") if path.is_file())


def seal(recorded: Path = RECORDED) -> None:
    """Write the hash of every recorded file."""
    lines = [f"{_sha256(path)}  {path.relative_to(recorded).as_posix()}\n" for path in files(recorded)]
    write_alone(recorded / SEALS, "".join(lines))


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
