"""What decides a run: its configuration, its key, its device and the versions under it."""

import platform
from dataclasses import dataclass
from importlib import metadata
from typing import Annotated

import tyro

import seem
from seem.agents import AgentConfig, BuiltIn
from seem.checks import check_choice, check_integer, check_number, check_seed, check_steps
from seem.datasets import Dataset
from seem.records import RECORD_FORMAT, canonical_json, digest


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run; its canonical JSON is part of the run's key.

    Attributes:
        agent: Configuration of the agent, which builds it: `seem.agents.td3.TD3Config`, `seem.agents.sac.SACConfig`.
        rows: Number M of transitions that are read, and trained on when ``batch`` is None.
        batch: Rows of a minibatch drawn from the whole data set; None trains on the read rows in full batch.
        normalise_states: Whether states are shifted and scaled first.
        seed: Draws rows, networks, noise and minibatches.
        dtype: "float32" or "float64", of the training; readings are float64.
        budget: Critic steps after which a run that has not crashed is censored.
        reading_interval: Largest number of steps between two readings.
        tightening: Share of the steps to the forecast crash after which the next reading is due.
    """

    agent: Annotated[AgentConfig, tyro.conf.arg(constructor=BuiltIn)]  # type: ignore[arg-type]
    rows: int = 512
    batch: int | None = None
    normalise_states: bool = False
    seed: int = 0
    dtype: str = "float64"
    budget: int = 2000
    reading_interval: int = 20
    tightening: float = 0.15

    def __post_init__(self) -> None:
        check_choice("dtype", self.dtype, ("float32", "float64"))
        check_steps("budget", self.budget)
        check_steps("reading_interval", self.reading_interval)
        for name in ("rows",) if self.batch is None else ("rows", "batch"):
            check_integer(name, getattr(self, name), 1)
        check_seed("seed", self.seed)
        check_number("tightening", self.tightening, above=0, most=1)


def run_key(config: RunConfig, dataset: Dataset, device: str) -> str:
    """SHA-256 of the configuration, the data set's hash, the device and the number of the records' format.

    A release leaves the keys as they are; a change of what a finished run means raises `seem.records.RECORD_FORMAT`.

    Args:
        config: What is run.
        dataset: On which data.
        device: Where; runs on different devices differ in rounding.

    Returns:
        64 hexadecimal digits.
    """
    return digest(canonical_json([config, dataset.sha256, device, RECORD_FORMAT]))


def versions() -> dict[str, str]:
    """Versions that a record needs to be repeated."""
    packages = {name: metadata.version(name) for name in ("torch", "numpy")}
    return {"seem": seem.__version__, "python": platform.python_version(), **packages}
