r"""Where the parameters drift, per step: from the optimiser's own memory, or from copies some steps apart.

With :math:`d_1, d_2` the mean displacements per step over the last window and the one before it, W apart, the relative
growth of a step is :math:`\sigma = \ln(d_1\cdot d_1/(d_1\cdot d_2))/W`.

Source: derived (theory/look_ahead.py).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from seem.copies import unwrap
from seem.errors import InputError
from seem.step_rules import Optimizers, check_optimizers, live_step

FEWEST_STEPS = 2
"""A window of one step is one gradient's noise, and no mean."""
WINDOW = 10
"""Steps between two copies of the parameters: longer windows lag behind, shorter ones are one minibatch's noise."""


@dataclass(frozen=True, eq=False)
class Drift:
    """Mean displacements of the parameters per step.

    Attributes:
        now: d₁ by the id of the parameter.
        before: d₂ likewise, over the window before; None without one.
        window: Steps behind d₁; 0 where it is what the optimiser's memory does at the next step.
        spacing: Steps between the middles of both windows; 0 without a second one.
        source: Where it came from, in words.
    """

    now: Mapping[int, Tensor]
    before: Mapping[int, Tensor] | None
    window: int
    spacing: float
    source: str

    @property
    def acceleration(self) -> float | None:
        """σ; None without a second window, or where the drift turns by a right angle or more."""
        if self.before is None:
            return None
        own = sum((d.double() ** 2).sum().item() for d in self.now.values())
        shared = sum((d.double() * self.before[key].double()).sum().item() for key, d in self.now.items())
        if not (own > 0 and shared > 0 and math.isfinite(own) and math.isfinite(shared)):
            return None
        return math.log(own / shared) / self.spacing


def parameters_of(critics: Any) -> dict[str, Tensor]:
    """The parameters of one critic or several that require gradients, each once, by name.

    Args:
        critics: A module, or a sequence of modules.
    """
    modules = list(critics) if isinstance(critics, (list, tuple, nn.ModuleList)) else [critics]
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for index, module in enumerate(map(unwrap, modules)):
        for name, parameter in module.named_parameters():
            if parameter.requires_grad and id(parameter) not in seen:
                seen.add(id(parameter))
                found[f"{index}.{name}"] = parameter
    return found


class Trail:
    """Copies of critics' parameters at the last three steps that were noted; it never touches the critics.

    Args:
        critics: A module, or a sequence of modules.

    Example:
        >>> critic = nn.Linear(1, 1, bias=False)
        >>> trail = Trail(critic)
        >>> for step in (0, 10, 20):
        ...     trail.note(step)
        ...     critic.weight.data += 1.0 if step == 0 else 2.0
        >>> trail.drift().window, round(trail.drift().acceleration, 4)
        (10, 0.0693)
    """

    def __init__(self, critics: Any) -> None:
        self.parameters = parameters_of(critics)
        self.notes: list[tuple[int, dict[int, Tensor]]] = []

    def note(self, step: int) -> None:
        """Copy the parameters.

        Args:
            step: Critic steps taken so far; later than at the last note.

        Raises:
            InputError: When it is not.
        """
        if self.notes and step <= self.notes[-1][0]:
            raise InputError(f"step {step} is not after step {self.notes[-1][0]}: note each step once, in order")
        taken = {id(p): p.detach().to("cpu", copy=True) for p in self.parameters.values()}
        self.notes = [*self.notes[-2:], (step, taken)]

    def drift(self) -> Drift:
        """The mean displacement between the last two notes, and between the two before them.

        Raises:
            InputError: With fewer than two notes, or fewer than two steps between them.
        """
        if len(self.notes) < 2:
            raise InputError("a drift needs two copies of the parameters: note another step first")
        steps = [step for step, _ in self.notes]
        window, *earlier = (late - early for early, late in zip(steps[-2::-1], steps[:0:-1], strict=False))
        if min(window, *earlier) < FEWEST_STEPS if earlier else window < FEWEST_STEPS:
            raise InputError("a drift over fewer than two steps is one step's noise: note steps further apart")
        means = [
            {key: (late[key] - early[key]) / steps_apart for key in late}
            for (_, early), (_, late), steps_apart in zip(
                self.notes[-2::-1], self.notes[:0:-1], (window, *earlier), strict=False
            )
        ]
        spacing = (window + earlier[0]) / 2 if earlier else 0.0
        return Drift(means[0], means[1] if earlier else None, window, spacing, f"the last {window} steps")


def drift_of_optimizer(optimizers: Optimizers, critics: Any) -> Drift:
    """What the memory of live optimisers, and their decoupled decay, do to the critics at the next step.

    Args:
        optimizers: One that remembers, or several: Adam and its kin, or momentum.
        critics: A module, or a sequence of modules.

    Raises:
        InputError: On an optimiser without state or memory, or a parameter that none holds.
    """
    check_optimizers(optimizers)
    named = parameters_of(critics)
    live = live_step(optimizers, named)
    if not live.rule.memory:
        raise InputError(
            f"{live.rule.name} without momentum remembers no drift: note the parameters some steps apart with a Trail"
        )
    now = {
        id(parameter): -live.rule.through * live.drift[id(parameter)]
        - live.rule.shrink * parameter.detach().to("cpu", torch.float64)
        for parameter in named.values()
    }
    return Drift(now, None, 0, 0.0, f"the memory of {live.rule.name}")
