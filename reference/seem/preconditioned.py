r"""From critics, their live optimiser and their live targets to the blocks of one linearised step.

D is a diagonal by parameter, so that :math:`K = JDJ^\top` has no factors by layer: gradients of all rows are formed,
some parameters at a time. J* is of the targets' own parameters at X*, weighted as the backup weighs their values.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from seem.dynamics import Training, column
from seem.errors import InputError
from seem.gradients import CHUNK_NUMBERS, Rows, chunks
from seem.joint import Backup, backup_weights, flat
from seem.ntk import Kernel
from seem.step_rules import LiveStep, descent, live_step
from seem.subject import Subject
from seem.trees import Tree
from seem.under_optimiser import UnderOptimiser

RESTING = "{} parameters have never had a gradient and count as at rest"


def under_optimiser(
    kernel: Kernel,
    target: Subject | None,
    training: Training,
    *,
    values_next: Float[Tensor, "N M"],
    error: Float[Tensor, "N M"] | None,
    discounts: Float[Tensor, " M"],
    backup: Backup,
    step: int,
) -> UnderOptimiser:
    """The linearised step of critics in training.

    Args:
        kernel: The critics' copies with their rows, of the parameters that are trained.
        target: Copies of the target critics, their parameters named as the critics'; None where they are the critics'.
        training: Loss, optimiser and targets.
        values_next: Q(X*) of the critics that give the backup.
        error: u, or None.
        discounts: γ(1-d) by row.
        backup: See `seem.read`.
        step: Critic steps taken so far.

    Raises:
        InputError: When the optimiser or the targets cannot be read.
    """
    subject, count = kernel.subject, len(kernel.values)
    if target is None and not training.copied:
        raise InputError(
            "the targets are not copied at every step: pass target_critics, whose distance from the critics counts"
        )
    live = _live(subject, training)
    if live.others and training.clip_norm is not None:
        raise InputError(
            "the gradient's norm is clipped over parameters that are not the critics': pass an optimiser that holds "
            "the critics' alone"
        )
    share = backup_weights(values_next, backup)
    sums = _Sums(subject, target or subject, live, share)
    for names in groups(subject, count, kernel.values.shape[1]):
        here = _rows(subject, kernel.x, names, count)
        there = _rows(target or subject, kernel.x_next, names, count)
        for name in names:
            sums.add(name, here[name], there[name])
    sums.check(kernel.blocks.gram)
    every = discounts.repeat(count).numpy()

    def masked(values: Tensor) -> np.ndarray:
        """Γ times what the backup gives, for every critic."""
        made = values.repeat(count, *[1] * (values.ndim - 1)).numpy()
        return every[:, None] * made if made.ndim > 1 else every * made

    rows = kernel.values.shape[1]
    weights = np.ones(rows)
    if training.row_weights is not None:
        weights = column(training.row_weights, rows, "row_weights").numpy()
    return UnderOptimiser(
        rule=live.rule,
        kernel=sums.kernel.numpy(),
        bootstrap=masked(sums.bootstrap),
        plain=flat(kernel.blocks.gram.to("cpu", torch.float64)).numpy(),
        error=None if error is None else error.flatten().numpy(),
        memory=(sums.vectors["memory"].flatten().numpy(), masked(sums.vectors["memory_next"])),
        lag=masked(sums.vectors["lag"]),
        parameters=(sums.vectors["parameters"].flatten().numpy(), masked(sums.vectors["parameters_next"])),
        share=training.gradient_scale(rows),
        weights=np.tile(weights, count),
        knee=training.huber_knee,
        clip_norm=training.clip_norm,
        rate=training.target_rate,
        interval=training.target_interval,
        step=step,
        notes=(RESTING.format(live.resting),) if live.resting else (),
    )


def _live(subject: Subject, training: Training) -> LiveStep:
    missing = [name for name in subject.parameters if name not in subject.originals]
    if missing:
        raise InputError(f"{missing[0]} is made anew at each copy: pass a critic whose parameters are its own")
    if subject.unheld:
        raise InputError(
            f"{subject.unheld[0]} requires gradients but no optimiser given holds it: pass every optimiser of the "
            "critics, or requires_grad_(False) on what rests"
        )
    if training.optimizer is not None:
        return live_step(training.optimizer, subject.originals)
    if training.lr is None:
        raise InputError("the optimiser is unknown: pass the live optimizer, or lr of plain gradient descent")
    return descent(training.lr, subject.originals.values())


def matched(target: Subject, subject: Subject) -> Subject:
    """The target's copies with the parameters that the critics' have, by the critics' names.

    Args:
        target: Copies of the target critics.
        subject: Copies of the critics.

    Raises:
        InputError: When one is missing or has another shape.
    """
    several = len(subject.modules) > 1
    named = {
        f"{index}.{name}" if several else name: parameter
        for index, module in enumerate(target.modules)
        for name, parameter in module.named_parameters(remove_duplicate=False)
    }
    for name, parameter in subject.parameters.items():
        if name not in named:
            raise InputError(f"the target critics have no {name}: pass copies of the critics as target_critics")
        if named[name].shape != parameter.shape:
            raise InputError(
                f"the target critics' {name} has shape {tuple(named[name].shape)}, the critics' "
                f"{tuple(parameter.shape)}: pass copies of the critics as target_critics"
            )
    own: dict[str, torch.nn.Parameter] = {name: named[name] for name in subject.parameters}
    for parameter in own.values():
        parameter.requires_grad_()
    return replace(target, parameters=own)


def groups(subject: Subject, critics: int, rows: int) -> Iterator[list[str]]:
    """Names of parameters, so many at a time that the gradients of all rows fit (or one, if it does not)."""
    names: list[str] = []
    held = 0
    for name, parameter in subject.parameters.items():
        size = critics * rows * parameter.numel()
        if names and held + size > CHUNK_NUMBERS:
            yield names
            names, held = [], 0
        names.append(name)
        held += size
    yield names


def _rows(subject: Subject, arguments: tuple[Tree, ...], names: list[str], critics: int) -> Rows:
    parts = list(chunks(subject, arguments, names, critics))
    return {name: torch.cat([part[name] for part in parts], 1).to("cpu", torch.float64) for name in names}


class _Sums:
    """Blocks and vectors, added up over the parameters."""

    def __init__(self, subject: Subject, target: Subject, live: LiveStep, share: Tensor) -> None:
        count, rows = share.shape
        self.subject, self.target, self.live, self.share = subject, target, live, share
        self.blocks = torch.zeros(count, rows, count, rows, dtype=torch.float64)
        self.bootstraps = torch.zeros(rows, count, rows, dtype=torch.float64)
        self.squares = torch.zeros(count, rows, dtype=torch.float64)
        names = ("memory", "parameters", "lag", "memory_next", "parameters_next")
        self.vectors = {name: torch.zeros(count, rows, dtype=torch.float64) for name in names[:2]}
        self.vectors |= {name: torch.zeros(rows, dtype=torch.float64) for name in names[2:]}

    def add(self, name: str, here: Float[Tensor, "N M p"], there: Float[Tensor, "N M p"]) -> None:
        """The share of one parameter.

        Args:
            name: Of the parameter.
            here: The critics' gradients at X.
            there: The targets' at X*.
        """
        key = id(self.subject.originals[name])
        scale, memory = self.live.scales[key].flatten(), self.live.drift[key].flatten()
        weight, lagging = (
            side.parameters[name].detach().to("cpu", torch.float64).flatten() for side in (self.subject, self.target)
        )
        backed = torch.einsum("km,kmp->mp", self.share, there)
        self.vectors["memory_next"] += backed @ memory
        self.vectors["parameters_next"] += backed @ weight
        self.vectors["lag"] += backed @ (lagging - weight)
        for i in (i for i in range(len(here)) if here[i].any()):  # a twin's parameters move one critic only
            self.vectors["memory"][i] += here[i] @ memory
            self.vectors["parameters"][i] += here[i] @ weight
            self.squares[i] += here[i].square().sum(1)
            scaled = here[i] * scale
            self.bootstraps[:, i] += backed @ scaled.T
            for j in (j for j in range(len(here)) if here[j].any()):
                self.blocks[i, :, j] += scaled @ here[j].T

    def check(self, gram: Float[Tensor, "N N M M"]) -> None:
        """Hold the gradients' lengths against those of the reading's blocks.

        Raises:
            InputError: When they differ.
        """
        lengths = torch.einsum("iiaa->ia", gram).to("cpu", torch.float64)
        slack = 1e-9 if gram.dtype == torch.float64 else 1e-3
        if not ((self.squares - lengths).abs() <= slack * lengths.max().clamp_min(1e-300)).all():
            raise InputError("the critic's gradients differ from call to call: read one that is deterministic")

    @property
    def kernel(self) -> Float[Tensor, "n n"]:
        """K, symmetric to the last bit."""
        made = self.blocks.flatten(2).flatten(0, 1)
        return (made + made.T) / 2

    @property
    def bootstrap(self) -> Float[Tensor, "M n"]:
        """K* of the backup."""
        return self.bootstraps.flatten(1)
