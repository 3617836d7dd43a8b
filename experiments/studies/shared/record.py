"""One layout for what every study leaves: runs.jsonl, results.json with its hash, and figures."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from studies.shared.runs import KeptRun

from seem.config import versions
from seem.datasets import Dataset
from seem.errors import InputError
from seem.files import read_bytes
from seem.records import canonical_json, digest, parse_json, read_lines, write_atomically

RUNS, RESULTS, BEGUN = "runs.jsonl", "results.json", "declaration.json"
RECORDED = Path(__file__).parents[2] / "recorded"
LOCAL = ("out", "execution", "data_dir", "strict")
"""Options that say where and how a study runs, not what it is."""
NAMING = ("env", "data", "dataset")
"""Options that name data, which are told by their hashes."""


def begin(out: Path, study: str, declaration: str) -> None:
    """Say in an output folder which study it is of, by which declaration.

    Args:
        out: The folder.
        study: Name of the study.
        declaration: Hash of its declaration.

    Raises:
        InputError: When the folder holds another study, or runs of another declaration.
    """
    path, content = out / BEGUN, {"study": study, "sha256": declaration}
    if path.exists() and parse_json(read_bytes(path).decode()) != content:
        raise InputError(f"{out} holds a study of another declaration: choose another --out, or delete it")
    write_atomically(path, canonical_json(content) + "\n")


def write_results(
    out: Path,
    study: str,
    declared: dict[str, str],
    options: Any,
    datasets: Sequence[Dataset],
    verdicts: Sequence[dict[str, str]],
) -> dict[str, Any]:
    """Write what was concluded, with the hash of the runs that it rests on.

    Args:
        out: The study's folder, which holds the kept runs.
        study: Name of the study.
        declared: Hash of its declaration, and when that was written.
        options: Its command line, a dataclass.
        datasets: The data.
        verdicts: As JSON objects.

    Returns:
        What was written.
    """
    asked = {name: value for name, value in asdict(options).items() if name not in LOCAL}
    content = {
        "study": study,
        "declaration": declared,
        "options": asked,
        "data": {dataset.name: dataset.sha256 for dataset in datasets},
        "versions": versions(),
        "verdicts": list(verdicts),
        "runs_sha256": digest(read_bytes(out / RUNS)),
    }
    text = canonical_json(content)
    write_atomically(out / RESULTS, text + "\n")
    return parse_json(text)


def read_results(folder: Path) -> tuple[dict[str, Any], list[KeptRun]]:
    """The results and kept runs of a finished study, its hash checked.

    Raises:
        InputError: When a file is missing, the runs were changed after the results were written, or the record names
            no declaration.
    """
    try:
        results = parse_json((folder / RESULTS).read_text(encoding="utf-8"))
        content = (folder / RUNS).read_bytes()
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} holds no finished study ({error}): repeat its command") from error
    if not isinstance(results, dict) or not {"study", "options", "data", "verdicts", "runs_sha256"} <= results.keys():
        raise InputError(f"{folder / RESULTS} is no record of a study: repeat its command")
    if not isinstance(results.get("declaration"), dict) or "sha256" not in results["declaration"]:
        raise InputError(f"{folder / RESULTS} names no declaration: repeat the study's command, which writes it")
    if digest(content) != results["runs_sha256"]:
        raise InputError(f"{folder / RUNS} changed after the run: restore it or repeat the study's command")
    return results, read_lines(folder / RUNS)


def identity(results: dict[str, Any]) -> str:
    """What has to be equal for two results to speak of the same runs: study, declaration, options and data."""
    options = {name: value for name, value in results["options"].items() if name not in (*LOCAL, *NAMING)}
    return canonical_json([results["study"], results["declaration"]["sha256"], options, results["data"]])


def find_record(results: dict[str, Any], recorded: Path = RECORDED) -> tuple[str, dict[str, Any]] | None:
    """The recorded study that was made by the same declaration and options on the same data, if there is one.

    Args:
        results: What `write_results` wrote.
        recorded: Where recorded studies are.

    Returns:
        Its folder's name and its results.
    """
    for path in sorted(recorded.glob(f"**/{RESULTS}")):
        found = parse_json(read_bytes(path).decode())
        if "declaration" in found and identity(found) == identity(results):
            return path.parent.relative_to(recorded).as_posix(), found
    return None
