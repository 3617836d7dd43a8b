r"""One step of a live torch optimiser, frozen as it stands: what it remembers, and how it scales each parameter.

With the gradient g of the loss and a diagonal D that holds the learning rate, the rules read here are all

.. math:: b \leftarrow \beta b + \kappa g, \qquad \theta \leftarrow (1-\omega)\theta - s_k D(\nu g + \xi b).

| rule | β | κ | ν | ξ | D |
|---|---|---|---|---|---|
| SGD | momentum | 1 - dampening | 0 | 1 | lr |
| SGD, Nesterov | momentum | 1 | 1 | β | lr |
| Adam, AdamW, AMSGrad | β₁ | 1 - β₁ | 0 | 1 | lr / ((1 - β₁^{t+1})(√v̂ + ε)) |
| RMSprop, centred or not | momentum | 1 | 0 | 1 | lr / (√v + ε) |

v̂ is the bias-corrected second moment (of AMSGrad its maximum); it is v̂ that is frozen, not v, so that step k has Adam's
correction :math:`s_k = (1-\beta_1^{t+1})/(1-\beta_1^{t+1+k})`, else 1. ω = lr·decay where decay is decoupled (AdamW). A
decay inside SGD's gradient pulls by lr·decay; under a preconditioner it leaves the span of DJᵀ and has no reduction.

Source: derived (theory/preconditioned_step.py, theory/optimiser_thresholds.py); the rules are torch's.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from seem.errors import InputError

Optimizers = Any
"""One live torch optimiser, or a sequence of them."""
KNOWN = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop)
COUPLED = (
    "weight decay inside {}'s preconditioned gradient leaves the span of DJᵀ: its step has no reduction to the rows; "
    "decouple it (AdamW) to have one"
)
DIFFER = "the optimiser's parameter groups differ in {}: their step has no reduction to the rows"


@dataclass(frozen=True)
class StepRule:
    """The scalars of a step; see the module.

    Attributes:
        name: The optimiser's class.
        memory: β, in [0, 1).
        inflow: κ.
        direct: ν.
        through: ξ.
        shrink: ω.
        pull: lr·decay of a decay in the gradient, where D is one number; else 0.
        taken: t, the steps taken, where the rule has a bias correction; None elsewhere.
        obstacle: Why a step has no reduction to the rows, or None.
    """

    name: str
    memory: float = 0.0
    inflow: float = 1.0
    direct: float = 0.0
    through: float = 1.0
    shrink: float = 0.0
    pull: float = 0.0
    taken: int | None = None
    obstacle: str | None = None

    @property
    def numerator(self) -> tuple[float, float]:
        """(n₁, n₀) of n(z) = n₁z + n₀: a mode x of a step has (z - 1 + ω)(z - β) = x n(z)."""
        return self.direct + self.through * self.inflow, -self.direct * self.memory

    def correction(self, step: int) -> float:
        """s_k.

        Args:
            step: k, from 0 on.
        """
        if self.taken is None:
            return 1.0
        return (1 - self.memory ** (self.taken + 1)) / (1 - self.memory ** (self.taken + 1 + step))


@dataclass(frozen=True)
class LiveStep:
    """A rule with its numbers by parameter, float64 copies on the CPU.

    Attributes:
        rule: The scalars.
        scales: D by the id of the parameter.
        drift: What the memory alone would subtract at the next step, D b, by the id of the parameter.
        resting: Numbers of parameters whose second moment is 0: they have never had a gradient and count as at rest.
        others: Whether the optimisers hold parameters beyond those asked for.
    """

    rule: StepRule
    scales: Mapping[int, Tensor]
    drift: Mapping[int, Tensor]
    resting: int
    others: bool


def listed(optimizers: Optimizers) -> list[torch.optim.Optimizer]:
    """One optimiser or several as a list."""
    return list(optimizers) if isinstance(optimizers, (list, tuple)) else [optimizers]


def held(optimizers: Optimizers) -> dict[int, tuple[torch.optim.Optimizer, dict[str, Any]]]:
    """Every parameter's optimiser and group, by its id."""
    return {
        id(parameter): (optimizer, group)
        for optimizer in listed(optimizers)
        for group in optimizer.param_groups
        for parameter in group["params"]
    }


def descent(lr: float, parameters: Iterable[Tensor]) -> LiveStep:
    """Plain gradient descent of one learning rate.

    Raises:
        InputError: When nothing would move.
    """
    _check_rate(lr)
    own = list(parameters)
    scales = {id(p): torch.full(p.shape, lr, dtype=torch.float64) for p in own}
    return LiveStep(StepRule("SGD"), scales, {key: torch.zeros_like(d) for key, d in scales.items()}, 0, False)


def live_step(optimizers: Optimizers, parameters: Mapping[str, Tensor]) -> LiveStep:
    """Read the state of live optimisers, which stay as they are.

    Args:
        optimizers: One, or several that together hold the parameters.
        parameters: The trained parameters by name.

    Raises:
        InputError: On an optimiser without state yet, impossible numbers, or a parameter that none holds.
    """
    owners = held(optimizers)
    rules: list[StepRule] = []
    scales: dict[int, Tensor] = {}
    drift: dict[int, Tensor] = {}
    resting = 0
    for name, parameter in parameters.items():
        if id(parameter) not in owners:
            raise InputError(f"no optimiser given holds {name}: pass every optimiser of the critics")
        optimizer, group = owners[id(parameter)]
        rule, scale, moved = _read(optimizer, group, parameter, name)
        rules.append(rule)
        scales[id(parameter)], drift[id(parameter)] = scale, moved
        resting += int((scale == 0).sum())
    return LiveStep(_common(rules), scales, drift, resting, len(owners) > len(scales))


def check_optimizers(optimizers: object) -> None:
    """Refuse what is no optimiser of a known step, or one with numbers that no training has.

    Raises:
        InputError: Naming what to pass instead.
    """
    several = listed(optimizers)
    if not several:
        raise InputError("optimizer is empty: pass the live torch optimiser, or lr without one")
    for one in several:
        if not isinstance(one, torch.optim.Optimizer):
            raise InputError(f"optimizer is a {type(one).__name__}: pass the live torch optimiser, or lr without one")
        if type(one) not in KNOWN:
            names = ", ".join(kind.__name__ for kind in KNOWN)
            raise InputError(
                f"the step of {type(one).__name__} is unknown here: pass torch.optim's {names}, or leave optimizer out "
                "to read SEEM alone"
            )
        for group in one.param_groups:
            _check_group(type(one).__name__, group)


def _check_group(kind: str, group: Mapping[str, Any]) -> None:
    _check_rate(float(group["lr"]))
    for index, beta in zip("₁₂", group.get("betas", ()), strict=False):
        _beta(beta, f"β{index}")
    for name in ("momentum", "alpha"):
        _beta(group.get(name, 0.0), name)
    if group.get("maximize"):
        raise InputError(f"{kind} has maximize: pass an optimiser that minimises the critics' loss")


def _check_rate(lr: float) -> None:
    if not (math.isfinite(lr) and lr > 0):
        raise InputError(f"lr {lr:g} moves nothing: pass an optimiser with a positive learning rate")


def _read(
    optimizer: torch.optim.Optimizer, group: dict[str, Any], parameter: Tensor, name: str
) -> tuple[StepRule, Tensor, Tensor]:
    """Rule, D and D b of one parameter."""
    kind = type(optimizer).__name__
    _check_group(kind, group)  # schedules and people change it after the training was described
    state = optimizer.state.get(parameter, {})
    if isinstance(optimizer, torch.optim.SGD):
        return _sgd(kind, group, state, parameter, name)
    if isinstance(optimizer, torch.optim.RMSprop):
        return _rmsprop(kind, group, state, parameter, name)
    return _adam(kind, group, state, parameter, name)


def _sgd(
    kind: str, group: dict[str, Any], state: Mapping[str, Any], parameter: Tensor, name: str
) -> tuple[StepRule, Tensor, Tensor]:
    lr, beta = float(group["lr"]), float(group["momentum"])
    scale = torch.full(parameter.shape, lr, dtype=torch.float64)
    pull = lr * float(group["weight_decay"])
    if beta == 0:
        return StepRule(kind, pull=pull), scale, torch.zeros_like(scale)
    drift = lr * _state(state, "momentum_buffer", kind, name)
    if group["nesterov"]:
        return StepRule(kind, beta, 1.0, 1.0, beta, pull=pull), scale, drift
    return StepRule(kind, beta, 1.0 - float(group["dampening"]), pull=pull), scale, drift


def _adam(
    kind: str, group: dict[str, Any], state: Mapping[str, Any], parameter: Tensor, name: str
) -> tuple[StepRule, Tensor, Tensor]:
    first, second = map(float, group["betas"])
    moment = _state(state, "exp_avg", kind, name)
    taken = int(_state(state, "step", kind, name))
    square = _state(state, "max_exp_avg_sq" if group["amsgrad"] else "exp_avg_sq", kind, name)
    lr, decay = float(group["lr"]), float(group["weight_decay"])
    root = (square / (1 - second**taken)).sqrt() + group["eps"]
    scale = torch.where(square > 0, lr / (1 - first ** (taken + 1)) / root, 0.0)
    decoupled = bool(group.get("decoupled_weight_decay", kind == "AdamW"))
    rule = StepRule(
        kind,
        first,
        1 - first,
        shrink=lr * decay if decoupled else 0.0,
        taken=taken,
        obstacle=None if decoupled or not decay else COUPLED.format(kind),
    )
    return rule, scale, scale * moment


def _rmsprop(
    kind: str, group: dict[str, Any], state: Mapping[str, Any], parameter: Tensor, name: str
) -> tuple[StepRule, Tensor, Tensor]:
    beta, lr = float(group["momentum"]), float(group["lr"])
    square = _state(state, "square_avg", kind, name)
    variance = square - _state(state, "grad_avg", kind, name).square() if group["centered"] else square
    # A centred variance may round below zero, where torch's own step is NaN.
    scale = torch.where(square > 0, lr / (variance.clamp_min(0).sqrt() + group["eps"]), 0.0)
    # The buffer holds preconditioned gradients already.
    drift = lr * _state(state, "momentum_buffer", kind, name) if beta else torch.zeros_like(scale)
    obstacle = COUPLED.format(kind) if group["weight_decay"] else None
    return StepRule(kind, beta, obstacle=obstacle), scale, drift


def _beta(value: Any, name: str) -> None:
    if not 0 <= float(value) < 1:
        raise InputError(f"{name} {float(value):g} is impossible: pass an optimiser with {name} in [0, 1)")


def _state(state: Mapping[str, Any], key: str, kind: str, name: str) -> Tensor:
    found = state.get(key)
    if found is None or (key == "step" and float(found) < 1):
        raise InputError(f"{kind} has no state for {name} yet: take a step with it first, then read")
    return torch.as_tensor(found).detach().to("cpu", torch.float64).clone()


def _common(rules: Sequence[StepRule]) -> StepRule:
    """The rule of all parameters; where they differ one with an obstacle."""
    first = rules[0]
    obstacle = next((rule.obstacle for rule in rules if rule.obstacle), None)
    names = {
        "name": "their optimiser",
        "memory": "momentum",
        "inflow": "dampening",
        "direct": "Nesterov's momentum",
        "shrink": "lr times weight decay",
        "pull": "lr times weight decay",
        "taken": "steps taken",
    }
    for field, words in names.items():
        if obstacle is None and len({getattr(rule, field) for rule in rules}) > 1:
            obstacle = DIFFER.format(words)
    return replace(first, obstacle=obstacle)
