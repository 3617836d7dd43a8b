"""What float32 kernel blocks changed in recorded readings: a declared sample of runs, read in float64 beside.

Trainings in float32 were recorded with readings from float32 blocks. Here declared ones are trained again, to a
declared step, and read in both dtypes at every reading; nothing else differs.
"""

import tempfile
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from studies.shared.record import RECORDED, RUNS
from studies.shared.study import Study, parse
from studies.training import discount, normalisation, surge

from seem.config import versions
from seem.datasets import load
from seem.datasets.dataset import EMBEDDED
from seem.errors import InputError
from seem.locks import write_alone
from seem.records import canonical_json, digest, read_lines
from seem.training import Run, read_agent

FOLDER = RECORDED / "float64-readings"
SAMPLE, READINGS = "sample.toml", "readings.json"
DATA = EMBEDDED / "hopper-medium.hdf5"
STUDIES: dict[str, Study[Any]] = {module.STUDY.name: module.STUDY for module in (discount, normalisation, surge)}


@dataclass(frozen=True)
class Float64Options:
    """Command line.

    Attributes:
        out: Folder to write to; it holds the declared sample.
    """

    out: Path = FOLDER


class ReadTwice(Run):
    """A training whose readings are taken in float64 too."""

    pairs: list[tuple[float, float]]

    def _readings(self) -> dict[str, Any]:
        line = super()._readings()
        exact, _ = read_agent(self.agent, self.rows, self.step, torch.float64)
        for own, other in zip(line["critics"], exact, strict=True):
            if own is not None and other is not None:
                self.pairs.append((own.leading, other.leading))
        return line


def read_again(declared: dict[str, Any], until: int) -> dict[str, Any]:
    """Train one declared run to a step and compare its readings.

    Args:
        declared: ``record``, ``arm`` and ``seed``.
        until: Critic steps.

    Returns:
        What was compared: number of readings, relative differences of the leading eigenvalue, sign changes, and the
        largest relative difference between the float32 readings and the recorded ones, which is rounding where this
        machine computes as the one that recorded.

    Raises:
        InputError: When the record has no such run, or its readings stand at other steps.
    """
    study = STUDIES[declared["record"]]
    plan = study.plan(parse(study, ["--data", str(DATA)]))
    found = [run for run in plan.tasks if (run.arm, run.config.seed) == (declared["arm"], declared["seed"])]
    if not found:
        raise InputError(f"{declared} names no run of its record: correct {SAMPLE}")
    dataset = load(found[0].data)
    (kept,) = [
        line
        for line in read_lines(RECORDED / declared["record"] / RUNS)
        if (line["arm"], line["seed"], line["data"]) == (declared["arm"], declared["seed"], dataset.name)
    ]
    with tempfile.TemporaryDirectory() as folder:
        run = ReadTwice(replace(found[0].config, budget=until), dataset, Path(folder), torch.device("cpu"), "")
        run.pairs = []
        run.go(float("inf"), None)
        lines = read_lines(Path(folder) / "readings.jsonl")
    own, exact = np.array(run.pairs).T
    largest = [max(critic["leading"] for critic in line["critics"]) for line in lines]
    recorded = [value for step, value in zip(kept["read_at"], kept["series"]["leading"], strict=True) if step < until]
    if [line["step"] for line in lines] != [step for step in kept["read_at"] if step < until]:
        raise InputError(f"{declared} is read at other steps than its record: run it on the machine that recorded it")
    change = np.abs(own - exact) / np.abs(exact)
    return declared | {
        "data": dataset.name,
        "data_sha256": dataset.sha256,
        "readings": len(change),
        "median_change": float(np.median(change)),
        "largest_change": float(change.max()),
        "sign_changes": int((np.sign(own) != np.sign(exact)).sum()),
        "from_record": float(np.max(np.abs(np.array(largest) / np.array(recorded) - 1))),
    }


def read_sample(options: Float64Options) -> int:
    """Read the declared sample again and write what changed, beside its declaration and with its hash."""
    path = options.out / SAMPLE
    content = path.read_bytes() if path.is_file() else (FOLDER / SAMPLE).read_bytes()
    sample = tomllib.loads(content.decode())
    runs = [read_again(declared, sample["until"]) for declared in sample["run"]]
    told = {
        "sample_sha256": digest(content),
        "runs": runs,
        "readings": sum(run["readings"] for run in runs),
        "largest_change": max(run["largest_change"] for run in runs),
        "sign_changes": sum(run["sign_changes"] for run in runs),
        "versions": versions(),
    }
    options.out.mkdir(parents=True, exist_ok=True)
    write_alone(options.out / READINGS, canonical_json(told) + "\n")
    console = Console()
    for run in runs:
        console.print(
            f"{run['record']}, {run['arm']}, seed {run['seed']}: {run['readings']} readings, leading eigenvalue off by "
            f"{run['median_change']:.2g} (median), {run['largest_change']:.2g} (largest), "
            f"{run['sign_changes']} sign changes",
            soft_wrap=True,
        )
    return 0
