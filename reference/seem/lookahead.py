r"""Looking ahead along the parameters' drift: at which step mean |Q| would leave what can be earned.

Under Adam and its kin the parameters move along a line at constant speed once every coordinate's
:math:`\hat m/(\sqrt{\hat v}+\varepsilon)` is constant; then the *plain crossing*, the k at which the critics at
:math:`\theta + k\,d_1` pass the bound, is exact. While steps still grow by the share σ each it comes late by about
1 + σ(k+W)/2; the *accelerated* time :math:`(\sqrt{1 + 2\sigma s} - 1)/\sigma`, :math:`s = k_b(1 - \sigma W/2)`, undoes
that. Alarms rank by the plain crossing, which is the better signal; the time that is stated is the accelerated one.
Neither says anything unless a mode excites itself.

Source: derived (theory/look_ahead.py).
"""

import math
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seem.batches import critic_arguments, named, tensors
from seem.blocks import takes_one_argument
from seem.checks import check_number
from seem.drift import Drift
from seem.dynamics import Numbers, check_discount, check_entries
from seem.errors import InputError
from seem.gradients import swapped
from seem.isolation import untouched
from seem.row_checks import evaluated
from seem.subject import Subject, check_modules
from seem.trees import Outputs, Tree, leaves

POINTS, BETWEEN = 15, 5
"""Multiples of the drift in the first batched evaluation, and between the two that enclose the bound in the second."""


@dataclass(frozen=True)
class LookAhead:
    """What lies ahead on the line along the drift.

    Attributes:
        step: Critic steps taken before it.
        bound: What mean |Q| must not pass.
        mean_abs_q: Mean |Q| now, over rows and critics.
        crossing: Steps along the line until mean |Q| passes the bound: the signal. Infinity beyond the horizon.
        accelerated: Steps until then with the growth of the steps taken into account; infinity where they shrink too
            fast to get there, None without a second window or where the drift turns.
        acceleration: σ, or None.
        window: Steps behind the drift; 0 from an optimiser's memory.
        horizon: Steps that were looked ahead.
        source: Where the drift came from.
    """

    step: int
    bound: float
    mean_abs_q: float
    crossing: float
    accelerated: float | None
    acceleration: float | None
    window: int
    horizon: float
    source: str


def value_bound(rewards: Numbers, discount: Numbers, *, offset: float | int = 0, scale: float | int = 1) -> float:
    """The largest |Q| that any policy can earn: the least B with |r| + γB ≤ B in every row.

    Args:
        rewards: r, one per row; of n-step returns Σγⁱr.
        discount: γ, one number, or one per row (γⁿ of n-step returns).
        offset: What the critics' training adds to the rewards, before the scale.
        scale: What it multiplies them by.

    Returns:
        max |scale·(r + offset)|/(1 - γ).

    Raises:
        InputError: When nothing is bounded: γ = 1, or rewards that are all 0.

    Example:
        >>> round(value_bound([1.0, -2.0], 0.99), 6)
        200.0
    """
    check_discount(discount)
    values = torch.as_tensor(tensors(rewards, "rewards"), dtype=torch.float64).flatten()
    check_entries(values, "rewards")
    gamma = torch.as_tensor(tensors(discount, "discount"), dtype=torch.float64).flatten()
    if gamma.numel() not in (1, values.numel()) or not values.numel():
        raise InputError(f"there are {values.numel()} rewards and {gamma.numel()} discounts: pass one of each per row")
    bound = ((scale * (values + offset)).abs() / (1 - gamma)).max().item()
    if not (math.isfinite(bound) and bound > 0):
        why = "a discount of 1 bounds no value" if bound else "rewards that are all 0 give no scale"
        raise InputError(f"{why}: pass bound outright")
    return bound


def look_ahead(
    critics: Any,
    batch: Any,
    *,
    drift: Drift,
    bound: float | int,
    step: int = 0,
    horizon: float | int = 1000,
    outputs: Outputs = None,
    dtype: torch.dtype | None = None,
) -> LookAhead:
    """Evaluate critics at some twenty multiples of their drift, the last ones between the two that enclose the bound.

    Args:
        critics: One module or several, as of `seem.read`; copies are evaluated.
        batch: Their rows: a mapping or object with observations and actions, or with x.
        drift: Of their parameters, from `seem.drift`.
        bound: What mean |Q| must not pass, as from `value_bound`.
        step: Critic steps taken so far.
        horizon: How many steps to look ahead.
        outputs: See `seem.read`.
        dtype: Of the copies; None keeps the critics' own.

    Raises:
        InputError: When the critics, their rows or the drift do not fit.
    """
    check_number("bound", bound, above=0)
    check_number("horizon", horizon, least=1)
    modules = list(critics) if isinstance(critics, (list, tuple, nn.ModuleList)) else [critics]
    check_modules(modules)
    with untouched():
        subject = Subject.of(modules, dtype=dtype, outputs=outputs)
        arguments = subject.arguments(_rows(modules[0], batch))
        along = _along(subject, drift)

        def sizes(steps: np.ndarray) -> np.ndarray:
            found = _mean_abs_q(subject, arguments, along, torch.from_numpy(steps)).numpy()
            return np.where(np.isfinite(found), found, np.inf)  # what overflows is past any bound

        steps = np.concatenate(([0.0], np.geomspace(1.0, float(horizon), POINTS)))
        seen = sizes(steps)
        crossing = _crossing(steps, seen, bound)
        if math.isfinite(crossing) and crossing > 0:
            last = int(np.argmax(seen >= bound))
            between = np.linspace(steps[last - 1], steps[last], BETWEEN + 2)
            inside = sizes(between[1:-1])
            crossing = _crossing(between, np.concatenate((seen[last - 1 : last], inside, seen[last : last + 1])), bound)
    sigma = drift.acceleration
    return LookAhead(
        step=step,
        bound=float(bound),
        mean_abs_q=float(seen[0]),
        crossing=crossing,
        accelerated=None if sigma is None else accelerated(crossing, sigma, drift.window),
        acceleration=sigma,
        window=drift.window,
        horizon=float(horizon),
        source=drift.source,
    )


def accelerated(crossing: float | int, sigma: float | int, window: float | int) -> float:
    """Steps to a plain crossing when each step is longer than the one before by the share σ.

    Args:
        crossing: k_b, of the line along the mean step of the last window.
        sigma: σ, of either sign.
        window: W.

    Returns:
        (√(1 + 2σs) - 1)/σ with s = k_b(1 - σW/2); k_b for σ → 0; infinity where steps that shrink never get there.
    """
    way = crossing * max(1 - sigma * window / 2, 0.0)
    if not math.isfinite(crossing):
        return math.inf
    inside = 1 + 2 * sigma * way
    # (√(1 + y) - 1)/σ as 2s/(√(1 + y) + 1), which has no cancellation at σ → 0.
    return math.inf if inside < 0 else 2 * way / (math.sqrt(inside) + 1)


def _rows(critic: nn.Module, batch: Any) -> Tree:
    found = named(batch)
    x = tensors(found.get("x"), "x")
    if x is None:
        states, actions = (tensors(found.get(name), name) for name in ("observations", "actions"))
        if states is None or actions is None:
            raise InputError("the batch has no observations and actions: pass both, or x, as a mapping")
        x = critic_arguments(states, actions, takes_one_argument(critic))
    for part in leaves(x):
        if not part.ndim or not len(part):
            raise InputError("the batch has no rows: pass at least one transition")
        check_entries(part, "the batch")
    return x


def _along(subject: Subject, drift: Drift) -> dict[str, tuple[Tensor, Tensor]]:
    """Every parameter with its drift, by name."""
    found: dict[str, tuple[Tensor, Tensor]] = {}
    for name, parameter in subject.parameters.items():
        step = drift.now.get(id(subject.originals.get(name)))
        if step is None:
            raise InputError(f"the drift has no {name}: take it from the critics that are looked at")
        found[name] = parameter.detach(), step.to(parameter)
    return found


def _mean_abs_q(
    subject: Subject, arguments: tuple[Tree, ...], along: dict[str, tuple[Tensor, Tensor]], steps: Tensor
) -> Tensor:
    """Mean |Q| at θ + k·d for every k, in one batched evaluation where the critics allow it."""

    def size(factor: Tensor) -> Tensor:
        moved = {name: start + factor.to(start) * step for name, (start, step) in along.items()}
        with swapped(subject, moved):
            return evaluated(subject, arguments).double().abs().mean()

    with torch.no_grad():
        with suppress(RuntimeError, NotImplementedError, TypeError, InputError):
            return torch.func.vmap(size)(steps.to(subject.device)).cpu()
        return torch.stack([size(factor) for factor in steps.to(subject.device)]).cpu()


def _crossing(steps: np.ndarray, sizes: np.ndarray, bound: float) -> float:
    """The first step at which the sizes pass the bound, by a line between two of them; infinity without one."""
    past = sizes >= bound
    if not past.any():
        return math.inf
    last = int(np.argmax(past))
    if last == 0:
        return float(steps[0])
    low, high = sizes[last - 1], sizes[last]
    share = (bound - low) / (high - low) if np.isfinite(high) else 1.0
    return float(steps[last - 1] + share * (steps[last] - steps[last - 1]))
