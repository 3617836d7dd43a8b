r"""How a critic is trained: the loss, the optimiser and the targets, which are part of what a reading answers.

A reading's units: the loss is ``loss_scale`` times the mean over M rows of :math:`w_m u_m^2`, so that a step of plain
gradient descent is :math:`\theta \leftarrow \theta - \eta\,\Phi(X)^\top W u` with :math:`\eta = 2\,lr\,scale/M`. With a
Huber knee the loss is torch's ``huber_loss``, :math:`\eta = lr\,scale/M`, and u is clipped. Several critics learn from
the sum of their losses. Under another optimiser whatever counts in steps is None, with the reason beside it.

Source: derived (theory/td_iteration.py).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from seem.checks import check_integer, check_number
from seem.errors import InputError
from seem.step_rules import Optimizers, check_optimizers, listed

Targets = str | float
"""\"copied\", \"frozen\" or a rate τ."""
Numbers = Any
"""One number, or one per row: a float, a tensor, an array or a list."""


@dataclass(frozen=True)
class Training:
    """How the critics are trained.

    Attributes:
        discount: γ in [0, 1]: one number, or one per row (γ^k for n-step returns), shape (M,) or (M, 1).
        lr: Learning rate of plain gradient descent; None when it is not known, or ``optimizer`` is given.
        optimizer: The live torch optimiser, or several that together hold the critics' parameters; never changed. Their
            parameters are the ones that count.
        loss_scale: What the mean-squared loss is multiplied by: .5 for half of it, 1/N for a mean over N critics too.
        row_weights: w, one per row, as importance weights; None weighs all alike.
        huber_knee: Where torch's Huber loss turns linear; None for the squared loss.
        targets: "copied" at every step, "frozen" between rare copies, or the rate τ in (0, 1) of averaged ones.
        target_interval: Steps from one change of the targets to the next: they change after the steps that it divides.
        clip_norm: What ``clip_grad_norm_`` holds the norm of all the optimiser's gradients to; None without clipping.

    Raises:
        InputError: On values that no training has, or an optimiser whose step is unknown (`seem.step_rules`).

    Example:
        >>> Training(discount=0.99, lr=3e-4).step_size(rows=256)
        2.34375e-06
    """

    discount: Numbers
    lr: float | None = None
    optimizer: Optimizers | None = None
    loss_scale: float = 1.0
    row_weights: Numbers = None
    huber_knee: float | None = None
    targets: Targets = "copied"
    target_interval: int = 1
    clip_norm: float | int | None = None

    def __post_init__(self) -> None:
        check_discount(self.discount)
        if self.lr is not None and self.optimizer is not None:
            raise InputError("lr and optimizer are both given: pass the live optimizer alone")
        if self.lr is not None:
            check_learning_rate(self.lr)
        if not (math.isfinite(self.loss_scale) and self.loss_scale > 0):
            raise InputError(f"loss_scale {self.loss_scale} is impossible: pass a positive number")
        if self.huber_knee is not None and not (math.isfinite(self.huber_knee) and self.huber_knee > 0):
            raise InputError(f"huber_knee {self.huber_knee} is impossible: pass a positive number, or None")
        if self.row_weights is not None:
            weights = torch.as_tensor(self.row_weights)
            check_entries(weights, "row_weights")
            if (weights < 0).any():
                raise InputError("row_weights holds a negative number: pass weights of at least 0")
        if self.optimizer is not None:
            check_optimizers(self.optimizer)
        check_integer("target_interval", self.target_interval, 1)
        if self.clip_norm is not None:
            check_number("clip_norm", self.clip_norm, above=0)
        rate = self.targets
        if isinstance(rate, str):
            if rate not in ("copied", "frozen"):
                raise InputError(f'targets "{rate}" is unknown: pass "copied", "frozen" or a rate τ')
        elif not 0 < rate <= 1:
            raise InputError(f"a target rate of {rate} is impossible: pass τ in (0, 1], or frozen")

    @property
    def copied(self) -> bool:
        """Whether targets are the current critics' own at every step."""
        return (self.targets == "copied" or self.targets == 1) and self.target_interval == 1

    @property
    def target_rate(self) -> float:
        """τ of a change of the targets: 1 where they are copied, 0 where they are frozen."""
        return {"copied": 1.0, "frozen": 0.0}[self.targets] if isinstance(self.targets, str) else self.targets

    def learning_rate(self) -> float | None:
        """The learning rate; of an optimiser only where all its groups have the same."""
        if self.optimizer is None:
            return self.lr
        rates = {float(group["lr"]) for group in self.groups()}
        return rates.pop() if len(rates) == 1 else None

    def groups(self) -> list[dict[str, Any]]:
        """The parameter groups of all optimisers."""
        return [] if self.optimizer is None else [g for one in listed(self.optimizer) for g in one.param_groups]

    def gradient_scale(self, rows: int) -> float:
        """h: the loss's gradient is h Φᵀ W u, with a Huber knee of u clipped.

        Args:
            rows: M.
        """
        return (1 if self.huber_knee else 2) * self.loss_scale / rows

    def step_size(self, rows: int) -> float | None:
        """η of the sum loss per step of plain gradient descent, or None where `why_not_plain` says why."""
        rate = self.learning_rate()
        if rate is None or self.why_not_plain() is not None:
            return None
        return (1 if self.huber_knee else 2) * rate * self.loss_scale / rows

    def why_not_plain(self) -> str | None:
        """Why a step is not one of plain gradient descent with a known size, or None."""
        if self.clip_norm is not None:
            return "the gradient's norm is clipped: the size of a step of plain gradient descent is not known"
        if self.optimizer is None:
            return "no learning rate was given" if self.lr is None else None
        for optimizer in listed(self.optimizer):
            name = type(optimizer).__name__
            if type(optimizer) is not torch.optim.SGD:
                return f"{name} preconditions the step: what holds a step of plain gradient descent says nothing of it"
            for option in ("momentum", "weight_decay", "maximize"):
                if any(group.get(option) for group in optimizer.param_groups):
                    return f"{name} has {option}: a step is not one of plain gradient descent"
        if self.learning_rate() is None:
            return "the optimiser's groups have different learning rates"
        return None

    def trained(self) -> set[int] | None:
        """Ids of the parameters that the optimiser holds; None without one."""
        if self.optimizer is None:
            return None
        return {id(parameter) for group in self.groups() for parameter in group["params"]}

    def pull(self, error: Float[Tensor, "... M"]) -> Float[Tensor, "... M"]:
        """What takes u's place in the semi-gradient: W u, or W times u clipped at the knee."""
        clipped = error if self.huber_knee is None else error.clamp(-self.huber_knee, self.huber_knee)
        return (
            clipped if self.row_weights is None else clipped * column(self.row_weights, error.shape[-1], "row_weights")
        )


def check_discount(discount: Numbers) -> None:
    """Refuse a γ outside [0, 1].

    Raises:
        InputError: Naming the row of a γ by row.
    """
    values = torch.as_tensor(discount, dtype=torch.float64)
    check_entries(values, "discount")
    wrong = ((values < 0) | (values > 1)).flatten().nonzero()
    if len(wrong):
        value = values.flatten()[wrong[0, 0]].item()
        where = "" if values.numel() == 1 else f" in row {wrong[0, 0].item()}"
        raise InputError(f"discount {value:g}{where} is impossible: pass γ in [0, 1]")


def check_learning_rate(lr: float) -> None:
    """Refuse a learning rate that is negative or not finite.

    Raises:
        InputError: On such a rate.
    """
    if not (math.isfinite(lr) and lr >= 0):
        raise InputError(f"lr {lr} is impossible: pass a learning rate of at least 0")


def check_entries(values: Tensor, name: str) -> None:
    """Refuse what is not finite, by its place.

    Raises:
        InputError: Such as "rewards[3] is nan".
    """
    if not (values.is_floating_point() or values.is_complex()):
        return
    wrong = (~values.isfinite()).nonzero()
    if len(wrong):
        place = ", ".join(str(index) for index in wrong[0].tolist())
        value = values[tuple(wrong[0])].item()
        raise InputError(f"{name}{f'[{place}]' if place else ''} is {value}: repair or leave out that row")


def check_successors(values: Tensor, name: str) -> None:
    """Refuse single rows of X* that are not finite; where none is finite the policy has diverged, which is a result.

    Raises:
        InputError: As `check_entries` does.
    """
    if values.is_floating_point() and values.flatten(1).isfinite().all(1).any():
        check_entries(values, name)


def column(values: object, rows: int, name: str) -> Float[Tensor, " M"]:
    """One float64 number per row, from (M,), (M, 1) or a scalar.

    Raises:
        InputError: On another shape.
    """
    tensor = values.detach() if isinstance(values, Tensor) else torch.as_tensor(values, dtype=torch.float64)
    if tensor.numel() == 1:
        return tensor.reshape(1).to("cpu", torch.float64).expand(rows)
    if tensor.shape not in ((rows,), (rows, 1)):
        raise InputError(f"{name} has shape {tuple(tensor.shape)}, but there are {rows} rows: pass one number per row")
    return tensor.reshape(rows).to("cpu", torch.float64)


def check_terminals(terminals: Iterable[float] | Tensor) -> None:
    """Refuse terminals that are neither 0 nor 1.

    Raises:
        InputError: Naming the first such row.
    """
    values = torch.as_tensor(terminals).flatten()
    wrong = ((values != 0) & (values != 1)).nonzero()
    if len(wrong):
        row = int(wrong[0, 0])
        raise InputError(f"terminals[{row}] is {values[row].item():g}: pass 1 on true terminals and 0 elsewhere")
