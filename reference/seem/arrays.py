"""Readings out of arrays: kernel blocks, or gradients by row, of critics of another framework."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from seem.batches import NAMES, NO_TERMINALS, by_own_names, discounts_of, tensors, terminals_of
from seem.blocks import Look
from seem.dynamics import Training
from seem.errors import InputError

KNOWN = ("terminals", "masks", "discounts", "intervals")
"""Parts of any batch that have a meaning here too."""
PARTS = frozenset(
    {"gram", "gram_next", "gradients", "gradients_next", "values", "values_next", "td_error", "terminals", "discounts"}
)
"""Parts of a look at arrays."""


def blocks_of_arrays(given: Any, training: Training) -> Look:
    """A look out of arrays, for critics of another framework.

    Args:
        given: A mapping with ``td_error`` (M,) or (N, M); either ``gram`` and ``gram_next``: (M, M), (N, M, M) for
            critics that share no parameter, or (N, N, M, M), or ``gradients`` and ``gradients_next``: (M, P),
            (N, M, P) over one vector of parameters, or a list of (M, P_i) for critics that share none; optional
            ``terminals``, ``discounts`` or ``intervals`` as in any batch, and ``values`` and ``values_next`` (needed
            for several critics).
        training: How they are trained.

    Raises:
        InputError: When a part is missing or has another shape.
    """
    if not isinstance(given, Mapping):
        raise InputError("without critics the batch is a mapping with gram and gram_next, or with gradients")
    known = by_own_names(given.get)
    unknown = set(given) - PARTS - {name for own in KNOWN for name in NAMES[own]}
    if unknown:
        raise InputError(f"{min(map(str, unknown))} is no part of a look at arrays: pass {', '.join(sorted(PARTS))}")
    if "gram" in given:
        gram, following = (_square(given, name) for name in ("gram", "gram_next"))
    else:
        rows, rows_next = (_gradient_rows(given, name) for name in ("gradients", "gradients_next"))
        gram, following = _dots(rows, rows), _dots(rows_next, rows)
    if gram.shape != following.shape:
        raise InputError(f"gram has shape {tuple(gram.shape)} and gram_next {tuple(following.shape)}: pass equal ones")
    count, rows = gram.shape[0], gram.shape[2]
    training.pull(torch.ones(rows, dtype=torch.float64))

    def table(name: str) -> Tensor | None:
        if given.get(name) is None:
            return None
        values = tensors(given[name], name).to("cpu", torch.float64)
        if values.numel() != count * rows:
            raise InputError(f"{name} has shape {tuple(values.shape)} for {count} critics of {rows} rows")
        return values.reshape(count, rows)

    values, following_values, error = table("values"), table("values_next"), table("td_error")
    if following_values is None:
        if count > 1:
            raise InputError("values_next is missing: which critic is the smallest at X* decides the backup")
        following_values = torch.zeros(count, rows, dtype=torch.float64)
    columns = {name: tensors(known[name], name) for name in KNOWN if name in known}
    terminals = terminals_of(columns, rows)
    reasons: dict[str, str] = {}
    outside = "the parameters are not here: the blocks came as arrays"
    reasons |= dict.fromkeys(("alignment", "parameter_norm"), outside)
    if values is None:
        reasons |= dict.fromkeys(("mean_abs_q", "max_abs_q"), "values were not given")
    return Look(
        rows=rows,
        gram=gram,
        gram_next=following,
        values=torch.empty(count, 0, dtype=torch.float64) if values is None else values,
        values_next=following_values,
        error=error,
        terminals=torch.zeros(rows, dtype=torch.float64) if terminals is None else terminals,
        discounts=discounts_of(columns.get("discounts"), columns.get("intervals"), training.discount, rows),
        alignment=None,
        parameter_norm=None,
        dtype="float64",
        way="arrays",
        successors="arrays",
        reasons=reasons,
        notes=() if terminals is not None else (NO_TERMINALS,),
    )


def _square(given: Mapping[str, Any], name: str) -> Float[Tensor, "N N M M"]:
    if given.get(name) is None:
        raise InputError(f"{name} is missing: pass gram and gram_next, or gradients and gradients_next")
    blocks = tensors(given[name], name).to("cpu", torch.float64)
    rows = blocks.shape[-1] if blocks.ndim else 0
    if blocks.ndim not in (2, 3, 4) or blocks.shape[-2] != rows or rows == 0:
        raise InputError(f"{name} has shape {tuple(blocks.shape)}: pass (M, M), (N, M, M) or (N, N, M, M)")
    if blocks.ndim == 4:
        return blocks
    apart = blocks.reshape(-1, rows, rows)
    made = blocks.new_zeros(len(apart), len(apart), rows, rows)
    made[range(len(apart)), range(len(apart))] = apart
    return made


def _gradient_rows(given: Mapping[str, Any], name: str) -> Float[Tensor, "N M P"]:
    if given.get(name) is None:
        raise InputError(f"{name} is missing: pass gradients and gradients_next, or gram and gram_next")
    several = given[name]
    if isinstance(several, (list, tuple)):
        parts = [tensors(part, name).to("cpu", torch.float64).flatten(1) for part in several]
        numbers, made, start = sum(part.shape[1] for part in parts), [], 0
        for part in parts:
            wide = part.new_zeros(len(part), numbers)
            wide[:, start : start + part.shape[1]] = part
            made.append(wide)
            start += part.shape[1]
        return torch.stack(made)
    rows = tensors(several, name).to("cpu", torch.float64)
    if rows.ndim not in (2, 3):
        raise InputError(f"{name} has shape {tuple(rows.shape)}: pass (M, P), (N, M, P) or a list of (M, P)")
    return rows if rows.ndim == 3 else rows[None]


def _dots(rows: Tensor, columns: Tensor) -> Float[Tensor, "N N M M"]:
    return torch.einsum("iap,jbp->ijab", rows, columns)
