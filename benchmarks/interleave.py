"""Timing of several ways to the same thing, interleaved in one run, so that only ratios are trusted."""

import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from peers import SCRIPTS
from peers.pipe import Peer


@dataclass(frozen=True)
class Timing:
    """Seconds of one way, round by round.

    Attributes:
        name: Which way.
        seconds: One number a round.
    """

    name: str
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median over the rounds, in seconds."""
        return float(np.median(self.seconds))

    def ratio(self, other: "Timing") -> tuple[float, float, float]:
        """How many times longer another way takes: median and quartiles of the rounds' own ratios."""
        ratios = np.array(other.seconds) / np.array(self.seconds)
        low, middle, high = np.percentile(ratios, (25, 50, 75))
        return float(middle), float(low), float(high)


def interleave(ways: Mapping[str, Callable[[], float | None]], rounds: int) -> dict[str, Timing]:
    """Time every way once a round, after one round that does not count.

    Args:
        ways: What to time; a way that times itself (in another process) returns its seconds.
        rounds: Rounds that count.

    Returns:
        One timing a way.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            started = time.perf_counter()
            own = way()
            taken = time.perf_counter() - started if own is None else own
            if number:
                seconds[name].append(taken)
    return {name: Timing(name, tuple(values)) for name, values in seconds.items()}


class TimedPeer(Peer):
    """Another library in an interpreter of its own; it times itself, without the pipe.

    Args:
        python: Its interpreter.
        script: File name under reference/peers.
        settings: What the script is told first, one JSON object.
    """

    def __init__(self, python: Path, script: str, settings: dict[str, Any]) -> None:
        super().__init__(python, SCRIPTS / script, settings)

    def __call__(self) -> float:
        """Seconds of one repetition."""
        return float(self.ask({"run": True})["seconds"])


def peak_memory(script: str, *arguments: str) -> tuple[float, str]:
    """Peak resident memory of a fresh process.

    Args:
        script: Python code that does the work.
        arguments: Its ``sys.argv[1:]``.

    Returns:
        The peak in MiB, and what the code printed.
    """
    # Not getrusage: its maximum is inherited from the process that starts this one.
    code = f"{script}\nprint(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1])"
    command = [sys.executable, "-c", code, *arguments]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - this interpreter
    *printed, peak = finished.stdout.splitlines()
    return float(peak) / 1024, "\n".join(printed)


def untimed(way: Callable[[], object]) -> Callable[[], None]:
    """A way whose result is dropped, so that `interleave` times it."""

    def run() -> None:
        way()

    return run
