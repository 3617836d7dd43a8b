"""Whether a critic's rows have values of their own: they may depend neither on each other nor on chance."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from seem.errors import InputError
from seem.subject import FAILURES, Subject
from seem.trees import Outputs, Tree, leaves, map_tree, row_axis

CHECKED_ROWS = 3
"""Rows whose values are compared with those of the row alone, at every reading."""


def check_rows(subject: Subject, arguments: tuple[Tree, ...], values: Tensor) -> None:
    """Refuse rows that depend on each other or on chance.

    Args:
        subject: The critics.
        arguments: Of the M rows, as `Subject.arguments` gives them.
        values: What they gave before, shape (N, M).

    Raises:
        InputError: When another evaluation differs, or a row alone has another value than in the batch.
    """
    with torch.no_grad():
        again, room = evaluated(subject, arguments), _room(values)
        if not torch.equal(values, again) and not ((values - again).abs() <= room)[values.isfinite()].all():
            raise InputError(
                "the critic gives other values at each call (dropout in training mode, noise, or a state that moves): "
                "call critic.eval(), or pass a critic without randomness"
            )
        rows = values.shape[1]
        for row in chosen_rows(rows):
            single = _alone(subject, arguments, row, rows)
            expected = values[:, row]
            if not ((single - expected).abs() <= room)[expected.isfinite()].all():
                raise InputError(
                    f"the critic couples the rows of a batch: row {row} gives {expected[0].item():.6g} in the batch "
                    f"and {single[0].item():.6g} without it, so it has no gradient of its own: call critic.eval(), or "
                    "read a critic whose rows do not meet"
                )


def _alone(subject: Subject, arguments: tuple[Tree, ...], row: int, rows: int) -> Tensor:
    """The values of one row alone, or of the only row beside another."""
    single = map_tree(lambda tensor: tensor[row : row + 1], arguments)
    if rows == 1:
        single = map_tree(lambda tensor: torch.cat((tensor, _other(tensor))), arguments)
    try:
        return evaluated(subject, single)[:, 0]
    except InputError as error:
        raise InputError(
            f"the critic cannot be evaluated on one row alone, so its rows have no gradients of their own: {error}"
        ) from error


def _other(tensor: Tensor) -> Tensor:
    return (tensor * 3 + 1) if tensor.is_floating_point() else tensor


def _room(values: Tensor) -> Tensor:
    """Rounding that another batch size may bring: well above float64's, well below what chance or coupling do."""
    finite = values.detach()[values.isfinite()]
    scale = finite.abs().mean() if finite.numel() else values.new_ones(())
    return scale * (1e-9 if values.dtype == torch.float64 else 1e-4) + torch.finfo(values.dtype).tiny


def chosen_rows(rows: int) -> list[int]:
    """A few rows, first and last among them."""
    return sorted({0, rows // 2, rows - 1})[:CHECKED_ROWS]


def evaluated(subject: Subject, arguments: tuple[Tree, ...]) -> Tensor:
    """`Subject.values`, with a failure of the forward as one sentence.

    Raises:
        InputError: When the module fails, or does not give one number per row and critic.
    """
    try:
        return subject.values(arguments)
    except InputError:
        raise
    except FAILURES as error:
        what = " ".join(str(error).split())[:200]
        raise InputError(
            f"the critic fails on the rows with {type(error).__name__} ({what}): check their shapes and dtypes, "
            "and how many arguments it takes"
        ) from error


def readable(
    modules: nn.Module | Sequence[nn.Module],
    x: Tree,
    *,
    dtype: torch.dtype | None,
    outputs: Outputs = None,
    trained: set[int] | None = None,
) -> tuple[Subject, tuple[Tree, ...], Tensor]:
    """Copies that can be evaluated on these rows, in the dtype asked for where the critics compute in it.

    Args:
        modules: One critic or several.
        x: Rows, as `Subject.arguments` takes them.
        dtype: Of the copies; None keeps the critics' own.
        outputs: See `Subject`.
        trained: See `Subject.of`.

    Returns:
        The copies, their arguments, and the critics' values on them, shape (N, M), detached.

    Raises:
        InputError: When they cannot be read, fail on the rows, or when rows depend on each other or on chance.
    """
    subject = Subject.of(modules, dtype=dtype, outputs=outputs, trained=trained)
    first: InputError | None = None
    # A forward may make tensors of torch's default dtype (an LSTM's zero state), or cast to its own.
    for attempt in (subject, replace(subject, promoted=True), None):
        if attempt is None:
            attempt = Subject.of(modules, outputs=outputs, trained=trained)
            if attempt.dtype == subject.dtype:
                break
            attempt = replace(attempt, notes=(*attempt.notes, f"the critic computes in {attempt.dtype} only"))
        arguments = attempt.arguments(x)
        try:
            with torch.no_grad():
                values = evaluated(attempt, arguments)
        except InputError as error:
            first = first or error
            if error.__cause__ is None:
                raise
            continue
        if len(values) > 1 or attempt.outputs is not None:
            rows = values.shape[1]
            with torch.no_grad():
                parts = attempt.parts(attempt.modules[0], arguments)
                picked = callable(attempt.outputs)
                whole = leaves(attempt.returned(attempt.modules[0], arguments)) if picked else parts
            axes = tuple(row_axis(part, rows) for part in parts)
            attempt = replace(attempt, axes=axes, heads=sum(part.numel() for part in whole) // rows)
        check_rows(attempt, arguments, values)
        return attempt, arguments, values
    assert first is not None
    raise first
