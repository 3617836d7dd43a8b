"""Where the checks of verify_laws start, and what they hand over."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from studies.laws.training import Problem, Trace, approach_ray, make_critic
from studies.shared.declaration import read_declaration

from seem.analysis import growth_rates
from seem.networks import Critic

WARM_UP = 1000
"""Steps of the approach to the ray; the alignment in the window is reported."""
ALLOWED: dict[str, float] = read_declaration("laws").thresholds
"""Largest errors."""
SCATTER = 0.3
"""Scatter of X* around 1.5·X: A is not symmetric, and the law must hold all the same."""


@dataclass(frozen=True)
class Measurement:
    """A predicted and a measured number.

    Attributes:
        law: Which law.
        depth: Number L of weight matrices.
        seed: Seed of the rows and the weights.
        quantity: What was measured.
        predicted: By seem.growth.
        measured: In full discrete training.
        allowed: Largest |measured - predicted|; nan for a number that is shown but not judged.
        window: Where the law was measured, in words.
        alignment: Cosine between -Φᵀu and θ in that window.
        curve: What the law makes a straight line, for the figure; empty for none.
    """

    law: str
    depth: int
    seed: int
    quantity: str
    predicted: float
    measured: float
    allowed: float
    window: str
    alignment: float
    curve: list[float] = field(default_factory=list)

    @property
    def holds(self) -> bool | None:
        """Whether the law survived; None when the number is only shown."""
        if math.isnan(self.allowed):
            return None
        same = self.measured == self.predicted  # both infinite
        return same or abs(self.measured - self.predicted) <= self.allowed


@dataclass(frozen=True)
class Start:
    """An aligned critic with its problem: where the runs of a check begin.

    Attributes:
        depth: Number L of weight matrices.
        seed: Seed of the rows and the weights.
        width: Hidden units.
    """

    depth: int
    seed: int
    width: int

    def fresh(self) -> Critic:
        """The critic at its initialisation."""
        return make_critic(self.seed, self.depth, self.width)

    def on_ray(self, problem: Problem, *, signs: bool = False) -> Critic:
        """The critic after the approach to the ray."""
        return approach_ray(self.fresh(), problem, WARM_UP, signs=signs)

    def measure(
        self,
        law: str,
        quantity: str,
        predicted: float,
        measured: float,
        allowed: float,
        window: str,
        aligned: float,
        **more,
    ) -> Measurement:
        """A measurement of this start."""
        return Measurement(
            law, self.depth, self.seed, quantity, predicted, float(measured), allowed, window, aligned, **more
        )


def descent(lr: float, **options) -> Callable[[list[torch.Tensor]], torch.optim.Optimizer]:
    """Makes torch's SGD."""
    return lambda parameters: torch.optim.SGD(parameters, lr=lr, **options)


def rates_on(trace: Trace, start_rate: float, exponent: float) -> NDArray[np.float64]:
    """X = ηλ along a run on the ray, from its first value and Q."""
    # Capped where a crash has long happened: the power may pass the largest float.
    return start_rate * np.minimum(trace.q / trace.q[0], 1e30) ** exponent


def second_half(trace: Trace) -> slice:
    """The second half of a run's steps."""
    return slice(len(trace.q) // 2, len(trace.q))


def slope_of(values: NDArray[np.float64], window: slice) -> float:
    """Slope a step of a straight line through the values in a window."""
    return float(stats.linregress(np.arange(len(values))[window], values[window]).slope)


def steps_within(values: NDArray[np.float64], low: float, high: float) -> slice:
    """The steps on which rising values first lie between two bounds."""
    above = np.flatnonzero(values >= low)
    beyond = np.flatnonzero(values > high)
    start = int(above[0]) if len(above) else len(values) - 1
    return slice(start, max(int(beyond[0]) if len(beyond) else len(values), start + 1))


def measured_exponent(q: NDArray[np.float64], depth: int, window: slice) -> float:
    """Slope of ln(growth a step) against ln Q; nan when the window is shorter than four steps or Q falls."""
    rates = growth_rates(q, depth)[window]
    if len(rates) < 4 or (rates <= 0).any():
        return math.nan
    return float(stats.linregress(np.log(q[:-1][window]), np.log(rates)).slope)


def curve(values: NDArray[np.float64], points: int = 60) -> list[float]:
    """At most ``points`` values, evenly spaced."""
    return [float(values[i]) for i in np.unique(np.linspace(0, len(values) - 1, points).astype(int))]
