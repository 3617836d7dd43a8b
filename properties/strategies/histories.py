"""Strategies for synthetic histories of readings: exact rays, growth, decay, overshoot; what is valid, never how often.

Every reading is consistent: it is that of a normal matrix A with the given eigenvalues and of a u in its leading mode.
Rates and modes are in units of a step, ηλ.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument

from properties.strategies.networks import powers_of_two
from seem.spectrum import CriticReading

LOG_MAX = {
    "float32": math.log(2.0 - 2.0**-23) + 127 * math.log(2.0),
    "float64": math.log(2.0 - 2.0**-52) + 1023 * math.log(2.0),
}
"""Logarithm of the largest finite number of a dtype."""
LONGEST = 300
"""Steps of a ray that may be read; later ones repeat earlier ones at other rates."""
FASTEST = 3.0
"""Largest rate at which a ray starts: it crashes within some five steps."""


def reading(step: int, *modes: complex, step_size: float = 1.0, **changes) -> CriticReading:
    """The reading of a critic whose A is normal and has given eigenvalues, u in its leading mode.

    Args:
        step: Critic steps taken.
        modes: ηλ of every real eigenvalue and of one, with positive imaginary part, of each complex pair.
        step_size: η.
        changes: Fields that get another value.

    Raises:
        InvalidArgument: Without a mode, or with a negative imaginary part.
    """
    if not modes or any(mode.imag < 0 for mode in modes):
        raise InvalidArgument(f"modes {modes} are impossible: pass one or more, of a complex pair the upper one")
    pairs = [mode.conjugate() for mode in modes if mode.imag]
    ordered = sorted((*modes, *pairs), key=lambda mode: (-mode.real, -mode.imag))
    leading, trailing = ordered[0], ordered[-1]
    norm = math.sqrt(sum(abs(mode) ** 2 for mode in ordered)) / step_size
    plain = CriticReading(
        step=step,
        critic=0,
        rows=len(ordered),
        step_size=step_size,
        leading=leading.real / step_size,
        leading_imaginary=leading.imag / step_size,
        second=ordered[min(2 if leading.imag else 1, len(ordered) - 1)].real / step_size,
        trailing=trailing.real / step_size,
        normalised=leading.real / step_size / norm if norm else 0.0,
        numerical_abscissa=leading.real / step_size,
        rayleigh=leading.real / step_size,
        growth=abs(1 + leading),
        excitation_gain=max((abs(1 + mode) for mode in ordered if mode.real > 0), default=1.0),
        overshoot_gain=max((abs(1 + mode) for mode in ordered if mode.real <= 0), default=1.0),
        alignment=1.0,
        reciprocal_condition=min(map(abs, ordered)) / (max(map(abs, ordered)) or 1.0),
        gradient_norm=1.0,
        kernel_norm=norm,
        td_norm=1.0,
        mean_abs_q=1.0,
        max_abs_q=1.0,
        parameter_norm=1.0,
    )
    return replace(plain, **changes)


def ray_scales(depth: int, rate: float) -> Iterator[float]:
    """Scale of the parameters after 0, 1, 2, … steps of gradient descent on the ray, as long as it is finite.

    From scale 1 a step is a ← a + (x/L)a^(2L-1), x = ηλ at scale 1; the rate at scale a is x·a^(2L-2), Q ∝ a^L.

    Args:
        depth: Number L of weight matrices.
        rate: x, of either sign.
    """
    scale = 1.0
    while math.isfinite(scale):
        yield scale
        try:
            scale += rate / depth * scale ** (2 * depth - 1)
        except OverflowError:
            return


def steps_of_ray(depth: int, rate: float, log_room: float) -> int:
    """Steps until Q has grown by e^log_room on the ray, counted one by one.

    Args:
        depth: Number L of weight matrices.
        rate: x = ηλ at the start, growing: positive, or below -2L.
        log_room: Logarithm of the growth of Q, at most 709 for L = 1.
    """
    steps = 0
    for steps, scale in enumerate(ray_scales(depth, rate)):
        if depth * math.log(abs(scale)) >= log_room:
            return steps
    return steps + 1


@dataclass(frozen=True)
class Ray:
    """A critic on the self-similar ray of gradient descent, read at some of its steps.

    Attributes:
        depth: Number L of weight matrices.
        rate: ηλ at step 0, positive.
        steps: Steps at which it is read, rising, before its crash.
        size: Largest |Q| at step 0, 1 or more.
        step_size: η.
    """

    depth: int
    rate: float
    steps: tuple[int, ...]
    size: float = 1.0
    step_size: float = 1.0

    def crash(self, dtype: str = "float64", slack: float = 0.0) -> int:
        """The first step at which Q leaves the range of a dtype, or e^-slack of it."""
        return steps_of_ray(self.depth, self.rate, LOG_MAX[dtype] - math.log(self.size) - slack)

    def history(self) -> list[CriticReading]:
        """One reading per step of ``steps``; besides the ray's mode there is a slower, decaying one."""
        scales = list(islice(ray_scales(self.depth, self.rate), self.steps[-1] + 1))
        made = []
        for step in self.steps:
            rate = self.rate * scales[step] ** (2 * self.depth - 2)
            q = self.size * scales[step] ** self.depth
            # |1 - x/(1+x)| < 1: the second mode never overshoots.
            modes = (rate, -rate / (1 + rate))
            made.append(reading(step, *modes, step_size=self.step_size, max_abs_q=q, mean_abs_q=q / 2))
        return made


def rays(
    *,
    depths: tuple[int, int] = (1, 5),
    rates: tuple[float, float] = (1e-4, FASTEST),
    readings: tuple[int, int] = (1, 5),
) -> st.SearchStrategy[Ray]:
    """Critics on the ray; they shrink to one reading of a shallow critic.

    Args:
        depths: Smallest and largest number of weight matrices.
        rates: Smallest and largest ηλ at step 0.
        readings: Smallest and largest number of readings; fewer where the crash leaves no room for them.

    Raises:
        InvalidArgument: When a pair is out of order or out of range.
    """
    _check_pair("depths", depths, 1, 10)
    _check_pair("rates", rates, 1e-9, FASTEST)
    _check_pair("readings", readings, 1, LONGEST // 2)
    return _rays(st.integers(*depths), st.floats(*rates), readings)


@st.composite
def _rays(draw: st.DrawFn, depths, rates, readings: tuple[int, int]) -> Ray:
    depth, rate = draw(depths, label="depth"), draw(rates, label="rate")
    size = 2.0 ** draw(st.integers(0, 16), label="log2 size")
    # Growth below e^55: Q stays within float32, and the square of a rate, of order Q^4, within float64.
    alive = sum(1 for scale in islice(ray_scales(depth, rate), LONGEST) if depth * math.log(scale) < 55)
    fewest, most = (min(number, alive) for number in readings)
    steps = draw(st.lists(st.integers(0, alive - 1), min_size=fewest, max_size=most, unique=True), label="steps")
    return Ray(depth, rate, tuple(sorted(steps)), size, draw(powers_of_two(-12, 4), label="step_size"))


Modes = tuple[complex, ...]


def growing_modes(smallest: float = 1e-3, largest: float = FASTEST) -> st.SearchStrategy[Modes]:
    """Modes of a self-excited critic: one of given rate leads, others decay without overshoot.

    Args:
        smallest: Smallest ηλ of the leading mode, above 0.
        largest: Largest.

    Raises:
        InvalidArgument: When the rates are out of order or not positive.
    """
    _check_pair("rates", (smallest, largest), 5e-324, 1e300)
    return st.tuples(st.floats(smallest, largest), st.floats(-2.0, 0.0))


def decaying_modes() -> st.SearchStrategy[Modes]:
    """Modes of a critic in which nothing grows: real ones in [-2, 0], and pairs inside the circle |1 + ηλ| < 1."""
    # Not on the circle, where rounding decides what grows.
    pair = st.tuples(st.floats(0.0, 0.999), st.floats(0.0, math.pi)).map(
        lambda polar: complex(polar[0] * math.cos(polar[1]) - 1, polar[0] * math.sin(polar[1]))
    )
    return st.lists(st.floats(-2.0, 0.0) | pair, min_size=1, max_size=3).map(tuple)


def overshooting_modes(depth: int, *, beyond: bool) -> st.SearchStrategy[Modes]:
    """Modes of which the most negative one grows fastest, by overshoot.

    Args:
        depth: Number L of weight matrices.
        beyond: Whether it is below -2L, where the parameters grow too, or between -2L and -2.

    Raises:
        InvalidArgument: When there is nothing between -2L and -2.
    """
    if depth < 1 or (depth == 1 and not beyond):
        raise InvalidArgument(f"depth {depth} is impossible: pass 1 or more, and 2 or more for beyond=False")
    trailing = st.floats(-8.0 * depth, -2.02 * depth) if beyond else st.floats(-2.0 * depth, -2.02)
    # A leading mode of ηλ < |ηλ_trailing| - 2 has the smaller gain; here by half of the difference at most.
    return st.tuples(trailing, st.floats(-1.0, 1.0)).map(
        lambda drawn: (drawn[0], drawn[1] * (-drawn[0] - 2) / 2 if drawn[1] > 0 else drawn[1])
    )


def histories(
    modes: st.SearchStrategy[Modes], *, readings: tuple[int, int] = (1, 5), critics: tuple[int, int] = (1, 1)
) -> st.SearchStrategy[list[list[CriticReading]]]:
    """For each critic a history of readings, all critics at the same steps; they shrink to one reading of one critic.

    Args:
        modes: Strategy of the modes of one reading.
        readings: Smallest and largest number of readings.
        critics: Smallest and largest number of critics.

    Raises:
        InvalidArgument: When a pair is out of order or out of range.
    """
    _check_pair("readings", readings, 0, LONGEST)
    _check_pair("critics", critics, 1, 2)
    gaps = st.lists(st.integers(1, 50), min_size=readings[0], max_size=readings[1])
    return _histories(modes, gaps, st.integers(*critics))


@st.composite
def _histories(draw: st.DrawFn, modes, all_gaps, counts) -> list[list[CriticReading]]:
    count, gaps = draw(counts, label="critics"), draw(all_gaps, label="gaps")
    step_size = draw(powers_of_two(-12, 4), label="step_size")

    def one(step: int, critic: int) -> CriticReading:
        size = 2.0 ** draw(st.integers(-20, 20), label="log2 size")
        drawn = draw(modes, label="modes")
        return reading(step, *drawn, step_size=step_size, critic=critic, max_abs_q=size, mean_abs_q=size / 2)

    return [[one(sum(gaps[:i]), critic) for i in range(len(gaps))] for critic in range(count)]


def last_step(histories: Sequence[Sequence[CriticReading]]) -> int:
    """The step of the last reading of any critic; 0 without readings."""
    return max((history[-1].step for history in histories if history), default=0)


def _check_pair(name: str, pair: tuple[float, float], low: float, high: float) -> None:
    if not low <= pair[0] <= pair[1] <= high:
        raise InvalidArgument(f"{name}={pair} is impossible: pass (smallest, largest) within {low:g} and {high:g}")
