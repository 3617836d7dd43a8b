"""What the arms of a study of training runs are, and what is kept of every run."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from studies.shared.declaration import SHARED_THRESHOLDS

from seem.agents.sac import SACConfig
from seem.agents.td3 import TD3Config
from seem.config import RunConfig
from seem.datasets import Dataset
from seem.records import RunRecord, canonical_json, digest

KeptRun = dict[str, Any]
"""What is kept of a run: a JSON object, one line of a study's runs.jsonl."""
COLUMNS = (
    "leading",
    "normalised",
    "rayleigh",
    "numerical_abscissa",
    "second",
    "reciprocal_condition",
    "overshoot_gain",
    "alignment",
    "kernel_norm",
    "gradient_norm",
    "td_norm",
    "mean_abs_q",
    "parameter_norm",
)
"""Fields of a Reading whose largest value over the critics is kept at every reading."""
LINE_COLUMNS = ("action_motion", "action_saturation")
"""What a line of readings says about the policy."""
DIGITS = 5
"""Significant digits of a kept series: more than seeds agree on."""
ZERO: float = SHARED_THRESHOLDS["zero"]
"""Share of ‖A‖_F up to which a leading eigenvalue counts as zero."""
RISEN: float = SHARED_THRESHOLDS["risen"]
"""Share of their largest possible value from which on normalised SEEM and Q have risen."""

PAPERS_TD3 = TD3Config(target_rate=1.0)
"""TD3 as in the paper's figures (printed: code): Adam 3e-4, targets copied and the actor moved every second step."""


@dataclass(frozen=True)
class Arm:
    """One arm of a study.

    Attributes:
        name: What tables and figures call it.
        agent: Configuration of its agent; a study that measures in a way of its own has its own kind.
    """

    name: str
    agent: TD3Config | SACConfig | Any


@dataclass(frozen=True)
class Budget:
    """What all runs of a study share.

    Attributes:
        steps: Critic steps after which a run that goes on is censored.
        rows: Transitions M that are read.
        batch: Rows of a minibatch.
        reading_interval: Steps between two readings.
        normalise_states: Whether states are shifted and scaled, as in the paper's figures.
        dtype: Floating dtype of the training; the paper's is float32.
    """

    steps: int
    rows: int
    batch: int | None = 256
    reading_interval: int = 20
    normalise_states: bool = True
    dtype: str = "float32"

    def run(self, arm: Arm, seed: int) -> RunConfig:
        """The configuration of one run."""
        shared = {"rows": self.rows, "batch": self.batch, "budget": self.steps, "dtype": self.dtype}
        shared |= {"reading_interval": self.reading_interval, "normalise_states": self.normalise_states}
        return RunConfig(agent=arm.agent, seed=seed, **shared)


def with_critic(agent: TD3Config, **changes: Any) -> TD3Config:
    """An agent whose critics have another shape."""
    return replace(agent, critic=replace(agent.critic, **changes))


UNBOUNDED = 1e308
"""Bound of values that nothing bounds, so that only an overflow is beyond it."""


def value_bound(dataset: Dataset, discount: float) -> float:
    """The largest |Q| that any policy can have under rewards as large as the data's, `return_bound`."""
    return return_bound(dataset.transitions.rewards.abs().max().item(), discount)


def return_bound(largest: float, discount: float) -> float:
    """The largest possible |return| max|r| / (1 - γ).

    Without any reward, which leaves no scale but 0, and at γ = 1 it is `UNBOUNDED`: any first value would be beyond 0.

    Args:
        largest: max|r|.
        discount: γ.
    """
    return largest / (1 - discount) if largest > 0 and discount < 1 else UNBOUNDED


def keep(record: RunRecord, arm: str, bound: float) -> KeptRun:
    """What is kept of a finished run: a JSON object.

    Args:
        record: The run.
        arm: Its arm's name.
        bound: `value_bound` of its data and discount.

    Returns:
        The arm, data and seed; the crash step or None; the divergence step, the first at which mean |Q| exceeds
        what any policy can have, or None; the mechanism of a crash; and the series of its readings.
    """
    outcome = record.outcome
    q = record.trace["mean_abs_q"].numpy()
    beyond = np.flatnonzero(~(q <= bound))
    lines = [line for line in record.readings if all(line["critics"])]
    series = largest(line["critics"] for line in lines) | {
        name: [short(line[name]) for line in lines] for name in LINE_COLUMNS
    }
    finite = q[np.isfinite(q)]
    return {
        "arm": arm,
        "data": outcome["data"]["name"],
        "label": outcome["data"]["label"],
        "seed": outcome["run"]["seed"],
        "depth": outcome["run"]["agent"]["critic"]["depth"],
        "steps": outcome["steps"],
        "crash_step": outcome["crash_step"],
        "divergence_step": int(beyond[0]) if len(beyond) else None,
        "bound": short(bound),
        "last_q": short(float(finite[-1])) if len(finite) else None,
        "mechanism": outcome["mechanism"],
        "outcome_sha256": digest(canonical_json(outcome)),
        "read_at": [line["step"] for line in lines],
        "series": series,
    }


def largest(readings: Iterable[Sequence[dict[str, Any]]]) -> dict[str, list[float]]:
    """The kept series of readings, given as JSON objects, one sequence of critics a look: the largest critic's."""
    looks = list(readings)
    return {name: [short(max(critic[name] for critic in critics)) for critics in looks] for name in COLUMNS}


def short(value: float) -> float:
    """A number with as many digits as a kept series has."""
    return float(f"{value:.{DIGITS}g}")


def column(run: KeptRun, name: str) -> NDArray[np.float64]:
    """One series of a kept run, shape (readings,)."""
    return np.array(run["series"][name], dtype=np.float64)


def excited(run: KeptRun) -> NDArray[np.bool_]:
    """At which readings SEEM is above zero, by more than rounding, shape (readings,)."""
    return column(run, "normalised") > ZERO


def groups(runs: Iterable[KeptRun], *names: str) -> dict[tuple[Any, ...], list[KeptRun]]:
    """Runs by the values of some of their fields, in the order in which they come."""
    found: dict[tuple[Any, ...], list[KeptRun]] = {}
    for run in runs:
        found.setdefault(tuple(run[name] for name in names), []).append(run)
    return found


def diverged(runs: Sequence[KeptRun]) -> int:
    """How many of the runs left the range that any policy's values have."""
    return sum(run["divergence_step"] is not None for run in runs)


def before_divergence(run: KeptRun) -> int:
    """How many of a run's readings were taken before its divergence; all without one."""
    end = run["divergence_step"]
    return len(run["read_at"]) if end is None else int((np.array(run["read_at"]) < end).sum())


def last_read(run: KeptRun, name: str) -> float:
    """A series' value at the last reading before the divergence, or at the last one; nan without a reading."""
    values = column(run, name)[: before_divergence(run)]
    return float(values[-1]) if len(values) else math.nan


def who(run: KeptRun) -> str:
    """Which run it is, in words."""
    return f"{run['data']} {run['arm']} seed {run['seed']}"
