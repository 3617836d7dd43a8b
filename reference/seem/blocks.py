"""What a reading looks at: kernel blocks, values and TD errors, of modules or of arrays of another framework."""

import inspect
import types
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seem.batches import Batch, critic_arguments, discounts_of, tensors
from seem.copies import private_copy, unwrap
from seem.dynamics import Training
from seem.errors import InputError
from seem.heading import heading
from seem.isolation import untouched
from seem.ntk import Kernel, read_kernel
from seem.preconditioned import matched, under_optimiser
from seem.raw_form import check_error
from seem.row_checks import evaluated
from seem.subject import FAILURES, Subject, check_modules
from seem.trees import Outputs, Tree, map_tree
from seem.under_optimiser import UnderOptimiser

STEPS = ("rate", "growth", "rayleigh", "excitation_gain", "overshoot_gain", "largest_step_size")
"""What a reading says of the next step."""


@dataclass(frozen=True)
class Look:
    """Everything of one look; tensors are float64 on the CPU.

    Attributes:
        rows: M.
        gram: G_ij(X, X), shape (N, N, M, M).
        gram_next: G_ij(X*, X), shape (N, N, M, M).
        values: Q(X), shape (N, M); empty rows where arrays came without.
        values_next: Q(X*) of those that give the backup, shape (N, M).
        error: u, shape (N, M), or None.
        terminals: d, shape (M,).
        discounts: γ by row, shape (M,).
        alignment: Of each critic, or None without an error.
        parameter_norm: Of each critic, or None for arrays.
        dtype: Of the copies.
        way: How the blocks were made.
        successors: Where X* came from.
        reasons: Why a field is None.
        notes: What was changed.
        under_optimiser: The linearised step, where it was asked for.
    """

    rows: int
    gram: Float[Tensor, "N N M M"]
    gram_next: Float[Tensor, "N N M M"]
    values: Float[Tensor, "N values"]
    values_next: Float[Tensor, "N M"]
    error: Float[Tensor, "N M"] | None
    terminals: Float[Tensor, " M"]
    discounts: Float[Tensor, " M"]
    alignment: tuple[float, ...] | None
    parameter_norm: tuple[float, ...] | None
    dtype: str
    way: str
    successors: str
    reasons: Mapping[str, str]
    notes: tuple[str, ...]
    under_optimiser: UnderOptimiser | None = None


def look_at(
    critics: Any,
    batch: Batch,
    training: Training,
    *,
    policy: Any,
    target_critics: Any,
    backup: Any,
    outputs: Outputs,
    dtype: torch.dtype | None,
    step: int = 0,
    with_optimiser: bool = False,
) -> Look:
    """Look at modules; the arguments are those of `seem.read`."""
    modules = list(critics) if isinstance(critics, (list, tuple, nn.ModuleList)) else [critics]
    if not modules:
        raise InputError("there is no critic: pass a module, or several")
    check_modules(modules)
    discounts = discounts_of(batch.discounts, batch.intervals, training.discount, batch.rows)
    training.pull(torch.ones(batch.rows, dtype=torch.float64))  # before anything is evaluated
    x, x_next, successors = _inputs(modules[0], batch, policy)
    trained = training.trained()
    kernel = read_kernel(modules, x, x_next, dtype=dtype, outputs=outputs, trained=trained)
    values, following = kernel.values, kernel.values_next
    targets = None
    if target_critics is not None:
        targets, made = _targets(target_critics, kernel, x_next, outputs, dtype)
        if made.shape != following.shape:
            raise InputError(f"there are {len(values)} critics but {len(made)} target critics: pass as many")
        following = made
        successors += ", valued by the target critics"
    numbers = {"values": values, "values_next": following}
    numbers = {name: value.to("cpu", torch.float64) for name, value in numbers.items()}
    error = _error(batch, discounts, backup, **numbers)
    if error is not None:
        check_error(error, kernel)
    linear = None
    if with_optimiser and kernel.blocks.gram.isfinite().all() and kernel.blocks.gram_next.isfinite().all():
        linear = under_optimiser(
            kernel,
            None if targets is None else matched(targets, kernel.subject),
            training,
            values_next=numbers["values_next"],
            error=error,
            discounts=discounts * (1 - batch.terminals),
            backup=backup,
            step=step,
        )
    cosines, norms = heading(kernel, torch.zeros_like(numbers["values"]) if error is None else error)
    return Look(
        rows=batch.rows,
        gram=kernel.blocks.gram.to("cpu", torch.float64),
        gram_next=kernel.blocks.gram_next.to("cpu", torch.float64),
        error=error,
        terminals=batch.terminals,
        discounts=discounts,
        alignment=None if error is None else tuple(cosines),
        parameter_norm=tuple(norms),
        dtype=str(kernel.subject.dtype).removeprefix("torch."),
        way=kernel.blocks.way,
        successors=successors,
        reasons=_changed_by_hooks(modules, trained),
        notes=(*kernel.subject.notes, *batch.notes),
        under_optimiser=linear,
        **numbers,
    )


def _changed_by_hooks(modules: list[nn.Module], trained: set[int] | None) -> dict[str, str]:
    """Why no step can be foretold where a hook changes gradients before the optimiser sees them."""
    for module in modules:
        for name, parameter in unwrap(module).named_parameters():
            counts = parameter.requires_grad and (trained is None or id(parameter) in trained)
            if counts and (parameter._backward_hooks or parameter._post_accumulate_grad_hooks):
                reason = f"a hook changes the gradient of {name}, and the kernel is of gradients without it"
                return dict.fromkeys(STEPS, reason)
    return {}


def _inputs(critic: nn.Module, batch: Batch, policy: Any) -> tuple[Tree, Tree, str]:
    """X, X* and where X* came from."""
    if batch.x is not None:
        return batch.x, batch.x_next, "x_next given"
    together = takes_one_argument(critic)
    actions, source = batch.next_actions, "next actions given"
    if policy is not None:  # a batch's own next actions may be those that were recorded
        actions, source = _next_actions(policy, batch), "the policy's actions"
    elif actions is None:
        raise InputError("π(s') is unknown: pass policy, or next_actions")
    _check_alike(batch.actions, actions, source)
    x = critic_arguments(batch.observations, batch.actions, together)
    return x, critic_arguments(batch.next_observations, actions, together), source


def _check_alike(actions: Tree, following: Tree, source: str) -> None:
    """Refuse π(s') of another shape than the batch's own actions: the critic was trained on these."""
    if isinstance(actions, Tensor) and isinstance(following, Tensor):
        own, other = (tensor.shape[1:] or torch.Size((1,)) for tensor in (actions, following))
        if own != other:
            raise InputError(
                f"{source} have shape {tuple(following.shape)} and those of the batch {tuple(actions.shape)}: "
                "pass both as the critic takes them"
            )


def takes_one_argument(critic: nn.Module) -> bool:
    """Whether a critic takes (s, a) side by side: its forward has one argument, or a second that is no action."""
    try:
        given = inspect.signature(unwrap(critic).forward).parameters.values()
    except (TypeError, ValueError):
        return False
    if any(p.kind is p.VAR_POSITIONAL for p in given):
        return False
    positional = [p for p in given if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = [p for p in positional if p.default is p.empty]
    return len(needed) < 2 and (len(positional) < 2 or not positional[1].name.startswith("a"))


def _next_actions(policy: Any, batch: Batch) -> Tensor:
    """π(s'), by a copy where the policy is a module or a module's method."""
    with untouched(), torch.no_grad():
        module, call = policy, policy
        if isinstance(policy, types.MethodType) and isinstance(policy.__self__, nn.Module):
            module = policy.__self__
        observations = map_tree(lambda tensor: tensor.clone(), batch.next_observations)
        if isinstance(module, nn.Module):
            parameter = next(module.parameters(), torch.zeros(()))
            copy = private_copy([module], None, parameter.device)[0]
            call = copy if module is policy else types.MethodType(policy.__func__, copy)
            observations = _as(observations, parameter)
        try:
            made = call(observations)
        except FAILURES:
            # A function around a float32 policy does not take float64 rows.
            try:
                made = call(_as(observations, torch.zeros(())))
            except FAILURES as error:
                what = " ".join(str(error).split())[:200]
                raise InputError(f"the policy fails on the next observations ({what}): pass next_actions") from error
    if isinstance(made, (tuple, list, dict)) or (not isinstance(made, Tensor) and not hasattr(made, "__array__")):
        raise InputError(f"the policy returns a {type(made).__name__}: pass a function that returns the actions alone")
    actions = tensors(made, "the policy's actions")
    if actions.ndim == 0 or len(actions) != batch.rows:
        raise InputError(
            f"the policy gives shape {tuple(actions.shape)} for {batch.rows} rows: pass one action per row"
        )
    return actions


def _as(observations: Tree, like: Tensor) -> Tree:
    return map_tree(
        lambda tensor: tensor.to(like.device, like.dtype if tensor.is_floating_point() else None), observations
    )


def _targets(
    targets: Any, kernel: Kernel, x_next: Tree, outputs: Outputs, dtype: torch.dtype | None
) -> tuple[Subject, Tensor]:
    """Copies of the target critics, which may be frozen, and their Q̄(X*)."""
    modules = list(targets) if isinstance(targets, (list, tuple, nn.ModuleList)) else [targets]
    with untouched(), torch.no_grad():
        own = kernel.subject
        copies = private_copy(modules, own.dtype if dtype else None, own.device)
        made = replace(own, modules=tuple(copies), parameters={}, originals={}, notes=())
        return made, evaluated(made, made.arguments(x_next))


def _error(
    batch: Batch, discounts: Tensor, backup: Any, *, values: Tensor, values_next: Tensor
) -> Float[Tensor, "N M"] | None:
    count, rows = values.shape
    if batch.td_error is not None:
        if batch.td_error.ndim == 1 and count == 1:
            return batch.td_error[None]
        if batch.td_error.shape != (count, rows):
            raise InputError(
                f"td_error has shape {tuple(batch.td_error.shape)} for {count} critics of {rows} rows: pass one "
                "error per critic and row"
            )
        return batch.td_error
    if batch.targets is not None:
        return values - batch.targets
    if batch.rewards is None:
        return None
    return values - (batch.rewards + discounts * (1 - batch.terminals) * backed_up(values_next, backup))


def backed_up(values_next: Float[Tensor, "N M"], backup: Any) -> Float[Tensor, " M"]:
    """The value that the critics learn from.

    Raises:
        InputError: When the backup is unknown, or gives no value per row.
    """
    if backup == "min":
        return values_next.amin(0)
    if backup == "mean":
        return values_next.mean(0)
    if not callable(backup):
        raise InputError(f'backup {backup!r} is unknown: pass "min", "mean" or a function of the values (N, M)')
    made = backup(values_next)
    if not isinstance(made, Tensor) or made.shape != values_next.shape[1:]:
        raise InputError("the backup gives no value per row: pass a function of the values (N, M) to (M,)")
    return made
