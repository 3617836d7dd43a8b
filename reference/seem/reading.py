r"""One reading, of anybody's critics: right or refused, and never harmful.

`read` is the one way in: it copies the critics, takes the kernel blocks of all of them in float64, and gives a
`Reading`. Of several critics that learn from one backup of their values ``leading`` is of the joint matrix
(`seem.joint`), and every critic's own value stands beside it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seem.arrays import blocks_of_arrays
from seem.batches import batch_of
from seem.blocks import Look, look_at
from seem.dynamics import Training, check_discount, column
from seem.enclosure import Enclosure
from seem.errors import InputError
from seem.isolation import untouched
from seem.joint import Backup, backup_weights, flat, next_growth
from seem.leading import leading_eigenvalue
from seem.rates import motion
from seem.reading_result import OVERFLOWED, UNCERTIFIED, Parts, Reading
from seem.trees import Outputs

Critics = Any
"""One module, a sequence of modules, or None for arrays."""
OWN_LEFT_OUT = "each critic's own eigenvalue is left out where the cost is bounded"
Solver = Callable[[NDArray[np.float64], bool], Enclosure | None]
"""From A and whether ‖u‖ is growing to what the leading eigenvalue lies between; None where that cost too much."""
OF_EIGENVALUES = (
    *("leading", "leading_imaginary", "own", "certificate", "normalised"),
    *("rate", "excitation_gain", "overshoot_gain"),
)
NOT_ASKED = "the optimiser's step was not linearised: read with with_optimiser=True"
NO_ERROR = "there is no TD error: give rewards, targets or td_error"


def read(
    critics: Critics,
    batch: Any,
    *,
    training: Training,
    policy: Any = None,
    next_actions: Any = None,
    target_critics: Critics = None,
    backup: Backup = "min",
    outputs: Outputs = None,
    step: int = 0,
    dtype: torch.dtype | None = torch.float64,
    with_optimiser: bool = False,
    solver: Solver | None = None,
) -> Reading:
    """Read critics in training, without touching them.

    Args:
        critics: One module or several, with one or several values per row; they may share parts. Each takes (s, a), or
            both side by side where its forward has one argument. None with ``batch`` as `blocks_of_arrays` wants it.
        batch: M transitions: a mapping, named tuple or object with observations, actions, rewards, next_observations,
            terminals (never time-outs), discounts by row, targets; or the raw form with x, x_next, td_error. Tensors
            or arrays, (M,) or (M, 1), of any dtype. Or a mapping with ``gram`` and ``gram_next``, or with gradients
            by row ``gradients`` and ``gradients_next``, as arrays of other frameworks.
        training: Loss, optimiser and targets.
        policy: Gives π(s'), also where the batch has next actions: a module (it is copied) or a function of s'.
        next_actions: π(s') outright; without it and ``policy`` the batch's own.
        target_critics: Whose values the targets are made of; without them the critics' own.
        backup: What the critics learn from, of all their values (N, M): "min", "mean", or a function to (M,).
        outputs: Picks the critics' values from what a module returns: a function, or the index of the one critic.
        step: Critic steps taken so far.
        dtype: Of the copies; None keeps the critics' own.
        with_optimiser: Also linearise the step of the live optimiser, with the live targets (`seem.under_optimiser`):
            dear, as it takes explicit gradients of all rows, M·P numbers of each critic and its target.
        solver: How the leading eigenvalue is found, for a bounded cost (`seem.bounded`); without one it is always
            certified, by all eigenvalues where that takes them.

    Returns:
        The reading; after an overflow its numbers are None.

    Raises:
        InputError: When something is impossible or missing; one sentence that names the remedy. Nothing is touched.

    Example:
        >>> import torch
        >>> critic = torch.nn.Linear(1, 1, bias=False)
        >>> rows = {"x": torch.ones(1, 1), "x_next": 3 * torch.ones(1, 1), "td_error": torch.ones(1)}
        >>> reading = read(critic, rows, training=Training(discount=0.99, lr=0.5))
        >>> round(reading.leading, 6), round(reading.growth, 6), round(reading.critical_discount, 6)
        (1.97, 2.97, 0.333333)
    """
    if policy is not None and next_actions is not None:
        raise InputError("both policy and next_actions are given: pass the one that the targets are made of")
    with untouched():
        if critics is None:
            if with_optimiser:
                raise InputError("arrays hold no optimiser's state: read the critics themselves, or without it")
            look = blocks_of_arrays(batch, training)
        else:
            look = look_at(
                critics,
                batch_of(batch, next_actions),
                training,
                policy=policy,
                target_critics=target_critics,
                backup=backup,
                outputs=outputs,
                dtype=dtype,
                step=step,
                with_optimiser=with_optimiser,
            )
        return reading_of(look, training, backup=backup, step=step, solver=solver)


def reading_of(look: Look, training: Training, *, backup: Backup, step: int, solver: Solver | None = None) -> Reading:
    """A reading from what was looked at.

    Args:
        look: Blocks, values and errors.
        training: Loss, optimiser and targets.
        backup: See `read`.
        step: Critic steps taken so far.
        solver: See `read`.
    """
    rows, count = look.rows, len(look.values)
    reasons = dict(look.reasons)
    if look.under_optimiser is None:
        reasons["under_optimiser"] = NOT_ASKED
    share = backup_weights(look.values_next, backup)
    discounts = column(training.discount, rows, "discount") if look.discounts is None else look.discounts
    check_discount(discounts)
    gram, following = look.gram, torch.einsum("ka,kjab->jab", share, look.gram_next)
    mask = 1 - look.terminals
    bootstrap = flat((mask[None, :, None] * following)[None].expand(count, -1, -1, -1))
    joint = flat(gram)
    weights = torch.ones(rows, dtype=torch.float64)
    if training.row_weights is not None:
        weights = column(training.row_weights, rows, "row_weights")
    full = discounts.repeat(count)[:, None] * bootstrap - joint
    roots = weights.sqrt().repeat(count)
    matrix = full * weights.repeat(count)[None]
    own = tuple((discounts * mask)[:, None] * look.gram_next[i, i] - gram[i, i] for i in range(count))
    error = look.error
    sizes = [matrix.norm(), joint.norm(), *([] if error is None else [error.norm()])]
    same = (discounts == discounts[0]).all()
    step_size = training.step_size(rows)
    shared: dict[str, Any] = {
        "step": step,
        "rows": rows,
        "step_size": step_size,
        "dtype": look.dtype,
        "way": look.way,
        "successors": look.successors,
        "notes": look.notes,
        "mean_abs_q": look.values.abs().mean().item() if look.values.numel() else None,
        "max_abs_q": look.values.abs().max().item() if look.values.numel() else None,
        "alignment": look.alignment,
        "parameter_norm": look.parameter_norm,
    }
    if not torch.isfinite(torch.stack(sizes)).all():
        names = ("leading", "leading_imaginary", "own", "certificate", "normalised", "rayleigh", "growth", "td_norm")
        names = (*names, "under_optimiser")
        gone = dict.fromkeys(names)
        return Reading(**shared, **gone, reasons=dict.fromkeys(names, OVERFLOWED), parts=None)
    _note_what_does_not_hold(reasons, training, error)
    rayleigh = growth = None
    if error is not None and "growth" not in reasons and step_size is not None:
        growth = next_growth(full if training.copied else -joint, error, training, step_size)
    if error is not None and "rayleigh" not in reasons:
        rayleigh = motion(matrix, error.flatten(), 0.0)[0]
    if solver is None:
        bounds = _certified(matrix)
    else:
        grows = error is not None and (motion(matrix, error.flatten(), 0.0)[0] > 0 if growth is None else growth > 1)
        bounds = solver(matrix.numpy(), grows)
    leading = None if bounds is None else bounds.leading
    value = None if leading is None else leading.value.real
    lone = None if value is None else (value,)
    if count > 1:
        each = [_certified(part * weights[None]).low for part in own] if solver is None else None
        lone = None if each is None else tuple(each)
    if leading is None:
        reasons = {**dict.fromkeys(OF_EIGENVALUES, UNCERTIFIED), **reasons}
    elif lone is None:
        reasons["own"] = OWN_LEFT_OUT
    size = max(matrix.norm().item(), torch.finfo(torch.float64).tiny)
    return Reading(
        **shared,
        leading=value,
        leading_imaginary=None if leading is None else leading.value.imag,
        own=lone,
        certificate=leading,
        bounds=bounds,
        under_optimiser=look.under_optimiser,
        normalised=None if value is None else value / size,
        rayleigh=rayleigh,
        growth=growth,
        td_norm=None if error is None else error.norm().item(),
        reasons=reasons,
        parts=Parts(
            matrix,
            roots[:, None] * joint * roots,
            roots[:, None] * bootstrap * roots,
            tuple(part * weights[None] for part in own),
            tuple(gram[i, i] for i in range(count)),
            error,
            look.values,
            discounts[0].item() if same else None,
        ),
    )


def _certified(matrix: Tensor) -> Enclosure:
    """The leading eigenvalue, whatever it costs."""
    leading = leading_eigenvalue(matrix.numpy())
    return Enclosure(leading.value.real, leading.value.real, leading)


def _note_what_does_not_hold(reasons: dict[str, str], training: Training, error: Tensor | None) -> None:
    """Fill in why fields are None."""
    plain = training.why_not_plain()
    if plain is not None:
        unknown = plain == "no learning rate was given"
        names = ("step_size", "rate", "growth", "excitation_gain", "overshoot_gain")
        reasons.update(dict.fromkeys(names, plain))
        if not unknown:
            reasons.update(dict.fromkeys(("rayleigh", "largest_step_size"), plain))
    if not training.copied:
        held = "targets are not copied at every step: an eigenvalue of A is not the growth of a step"
        names = ("rate", "excitation_gain", "overshoot_gain", "largest_step_size", "rayleigh")
        for name in names if training.targets == "frozen" else (*names, "growth"):
            reasons.setdefault(name, held)
    if error is None:
        for name in ("rayleigh", "growth", "td_norm", "alignment", "critics"):
            reasons.setdefault(name, NO_ERROR)
    elif training.huber_knee is not None and (error.abs() > training.huber_knee).any():
        knee = "some rows are past the Huber knee, where the pull no longer grows with u"
        for name in ("rate", "excitation_gain", "overshoot_gain", "largest_step_size", "rayleigh"):
            reasons.setdefault(name, knee)
