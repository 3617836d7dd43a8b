"""Somebody's critics made readable without touching them.

A `Subject` holds private copies. A reading evaluates only these; parameters, buffers, gradients, modes, hooks and
random generators of the originals stay as they are, also when it raises or is interrupted.
"""

import random
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedTensorMixin
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.overrides import TorchFunctionMode

from seem.copies import private_copy, unwrap
from seem.errors import InputError
from seem.factors import check_rows_are_apart

Tree = Any
"""Arguments of a module: tensors in tuples, lists and dictionaries; rows come first in every tensor."""
Outputs = Callable[[Any], Any] | int | None
CHECKED_ROWS = 3
"""Rows whose values and gradients are compared with those of the row alone, at every reading."""
FAILURES = (RuntimeError, ValueError, TypeError, IndexError, AttributeError, KeyError, NotImplementedError, ArithmeticError)
"""What the forward of a foreign module raises on rows that it does not take."""
FSDP = {"FullyShardedDataParallel", "FSDPModule"}


def map_tree(change: Callable[[Tensor], Tensor], tree: Tree) -> Tree:
    """The tree with every tensor changed."""
    if isinstance(tree, Tensor):
        return change(tree)
    if isinstance(tree, dict):
        return {key: map_tree(change, item) for key, item in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(map_tree(change, item) for item in tree))
    if isinstance(tree, (tuple, list)):
        return type(tree)(map_tree(change, item) for item in tree)
    return tree


def leaves(tree: Tree) -> list[Tensor]:
    """The tensors of a tree, in order."""
    if isinstance(tree, Tensor):
        return [tree]
    if isinstance(tree, dict):
        tree = tree.values()
    elif not isinstance(tree, (tuple, list)):
        return []
    return [tensor for item in tree for tensor in leaves(item)]


@contextmanager
def untouched() -> Iterator[None]:
    """Gradients on, autocast and inference mode off; all random generators restored, whatever happens."""
    with ExitStack() as stack:
        stack.callback(torch.random.set_rng_state, torch.random.get_rng_state())
        stack.callback(np.random.set_state, np.random.get_state())  # noqa: NPY002 - somebody else's generator
        stack.callback(random.setstate, random.getstate())
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            stack.callback(torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all())
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")  # what a forward warns of, it has warned of in training
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if "torch._dynamo" in sys.modules:  # only then can something be compiled
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        yield


class Promoted(TorchFunctionMode):
    """A forward computes in one dtype throughout, where it casts its rows or makes tensors in a narrower one.

    Args:
        dtype: The dtype.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def _widened(self, value: Any) -> Any:
        narrow = isinstance(value, torch.dtype) and value.is_floating_point and value.itemsize < self.dtype.itemsize
        return self.dtype if narrow else value

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call with every narrower dtype replaced, and widen the result."""
        kwargs = {key: self._widened(value) for key, value in (kwargs or {}).items()}
        args = tuple(self._widened(value) for value in args)
        if func in (Tensor.float, Tensor.half, Tensor.bfloat16):
            return args[0].to(self.dtype)
        made = func(*args, **kwargs)
        if isinstance(made, Tensor) and made.is_floating_point() and self._widened(made.dtype) != made.dtype:
            return made.to(self.dtype)
        return made


def check_modules(modules: Sequence[nn.Module]) -> None:
    """Refuse modules that no reading is of.

    Raises:
        InputError: Naming what stands in the way, and the remedy.
    """
    for whole in modules:
        if not isinstance(whole, nn.Module):
            raise InputError(f"a critic is a torch module, this one is a {type(whole).__name__}: pass the module itself")
        check_rows_are_apart(whole)
        for module in whole.modules():
            if FSDP & {base.__name__ for base in type(module).__mro__}:
                raise InputError("a sharded critic (FSDP) has no gradients of its own here: read an unsharded copy")
        for name, tensor in (*whole.named_parameters(), *whole.named_buffers()):
            if isinstance(tensor, UninitializedTensorMixin):
                raise InputError(f"{name} has no shape yet (a lazy module): call the critic once on a batch first")
            if tensor.is_meta:
                raise InputError(f"{name} lies on the meta device and has no values: load the weights first")
            if type(tensor).__name__ == "DTensor":
                raise InputError(f"{name} is sharded (DTensor): read an unsharded copy of the critic")
            if tensor.is_complex():
                raise InputError(f"{name} is complex, and the kernel here is of real parameters: split it in two")
        if not any(parameter.requires_grad for parameter in whole.parameters()):
            raise InputError("the critic has no trainable parameter: set requires_grad on what is trained")


@dataclass(frozen=True)
class Subject:
    """Private copies of critics, with what is trained in them.

    Attributes:
        modules: The copies.
        parameters: Trainable parameters of the copies by name, each once.
        dtype: Floating dtype of the copies.
        device: Where they lie.
        outputs: Picks the critics' values from what a module returns: a function, an index, or None.
        notes: What was changed to make them readable, in sentences.
        promoted: Whether a forward must be held to ``dtype`` (see `Promoted`).
        axes: Where the rows stand in the tensors that each module returns, learnt from the batch: one row alone
            would leave it open.
        heads: Critics in the first module, those too that ``outputs`` leaves out.
    """

    modules: tuple[nn.Module, ...]
    parameters: dict[str, nn.Parameter]
    dtype: torch.dtype
    device: torch.device
    outputs: Outputs = None
    notes: tuple[str, ...] = ()
    promoted: bool = False
    axes: tuple[int, ...] | None = None
    heads: int = 1

    @classmethod
    def of(
        cls,
        modules: nn.Module | Sequence[nn.Module],
        *,
        dtype: torch.dtype | None = None,
        outputs: Outputs = None,
        trained: set[int] | None = None,
    ) -> "Subject":
        """Copy critics.

        Args:
            modules: One module or several, which may share parts.
            dtype: Of the copies; None keeps the critics' own, except that half precision becomes float64.
            outputs: See `Subject`.
            trained: Ids of the parameters that count; None counts all that require gradients.

        Raises:
            InputError: When they cannot be read: coupled by BatchNorm, sharded, lazy, on the meta device, untrained.
        """
        given = [modules] if isinstance(modules, nn.Module) else list(modules)
        check_modules(given)
        own = next(p for p in given[0].parameters() if p.requires_grad)
        notes = []
        target = dtype or own.dtype
        if torch.finfo(own.dtype).bits < 32:
            target = dtype or torch.float64
            notes.append(f"the critic's {own.dtype} parameters are read as exact numbers, in {target}")
        device = own.device
        if device.type == "mps" and target == torch.float64:
            device = torch.device("cpu")
            notes.append("mps has no float64: read on the CPU")
        with untouched():
            copies = private_copy([unwrap(module) for module in given], target, device)
            for whole in copies:
                for module in whole.modules():
                    if _moves_a_norm(module):
                        module.training = False
        parameters: dict[str, nn.Parameter] = {}
        seen: set[int] = set()
        for index, (module, original) in enumerate(zip(copies, map(unwrap, given), strict=True)):
            before = dict(original.named_parameters(remove_duplicate=False))
            for name, parameter in module.named_parameters(remove_duplicate=False):
                if trained is not None and name in before and id(before[name]) not in trained:
                    parameter.requires_grad_(False)
                if parameter.requires_grad and id(parameter) not in seen:
                    seen.add(id(parameter))
                    parameters[f"{index}.{name}" if len(copies) > 1 else name] = parameter
        if not parameters:
            raise InputError("the optimiser trains none of the critic's parameters: pass the critic's own optimiser")
        return cls(tuple(copies), parameters, target, device, outputs, tuple(notes))

    def arguments(self, x: Tree) -> tuple[Tree, ...]:
        """Inputs as the copies want them: their device, floating rows of their dtype, nothing shared or tracked."""

        def convert(tensor: Tensor) -> Tensor:
            dtype = self.dtype if tensor.is_floating_point() else None
            moved = tensor.detach().to(device=self.device, dtype=dtype)
            # An inference tensor cannot be saved for a backward pass, and a forward may write into its input.
            return moved.clone() if moved.data_ptr() == tensor.data_ptr() else moved

        with torch.inference_mode(False):
            return map_tree(convert, tuple(x) if isinstance(x, (tuple, list)) else (x,))

    def values(self, arguments: tuple[Tree, ...]) -> Tensor:
        """All critics' values, shape (N, M), tracked.

        Raises:
            InputError: When a module fails on the rows, or does not give one number a row and critic.
        """
        return torch.cat([self.values_of(module, arguments) for module in self.modules])

    def values_of(self, module: nn.Module, arguments: tuple[Tree, ...]) -> Tensor:
        """The values of one module's critics, shape (n, M), tracked."""
        rows = len(leaves(arguments)[0])
        parts = self.parts(module, arguments)
        axes = self.axes or tuple(row_axis(part, rows) for part in parts)
        own = [part.reshape(-1 if axis else 1, rows) for part, axis in zip(parts, axes, strict=True)]
        return self._picked(torch.cat(own).to(self.dtype))

    def parts(self, module: nn.Module, arguments: tuple[Tree, ...]) -> list[Tensor]:
        """The tensors of values that one module returns."""
        with Promoted(self.dtype) if self.promoted else nullcontext():
            return output_parts(module(*arguments), self.outputs)

    def _picked(self, values: Tensor) -> Tensor:
        """The critics that count among those of one module."""
        if not isinstance(self.outputs, int) or isinstance(self.outputs, bool):
            return values
        if not -len(values) <= self.outputs < len(values):
            raise InputError(f"outputs={self.outputs} names no critic: the module has {len(values)}")
        index = self.outputs % len(values)
        return values[index : index + 1]


def _moves_a_norm(module: nn.Module) -> bool:
    """Whether a forward in training mode moves the vectors of a spectral norm."""
    hooks = module._forward_pre_hooks.values()
    return isinstance(module, _SpectralNorm) or any(isinstance(hook, SpectralNorm) for hook in hooks)


def output_parts(made: Any, outputs: Outputs) -> list[Tensor]:
    """The tensors in what a module returned, after ``outputs`` where that is a function.

    Raises:
        InputError: When it holds something else.
    """
    if callable(outputs):
        made = outputs(made)
    if isinstance(made, Tensor):
        return [made]
    if isinstance(made, (tuple, list)):
        return [part for item in made for part in output_parts(item, None)]
    raise InputError(f"the critic returns a {type(made).__name__}: pass outputs=lambda made: ... to pick the values")


def row_axis(part: Tensor, rows: int) -> int:
    """Where the rows stand in one tensor of values: 0 in (M,) and (M, 1), 1 in (N, M) and (N, M, 1).

    Raises:
        InputError: On any other shape, as that of a head with several outputs a row.
    """
    flat = part[..., 0] if part.ndim > 1 and part.shape[-1] == 1 else part
    if flat.shape == (rows,) or (flat.ndim == 0 and rows == 1):
        return 0
    several = flat.ndim == 2 and flat.shape[1] == rows and flat.shape[0] != rows
    if several or (rows == 1 and flat.ndim == 1 and part.shape[0] == part.numel()):
        return 1
    raise InputError(
        f"a critic has one output a row, this one gives shape {tuple(part.shape)} for {rows} rows: "
        "pass a one-output network, or outputs= to pick the critics' values"
    )


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
                    f"the critic couples the rows of a batch: row {row} gives {expected[0].item():.6g} in the batch and "
                    f"{single[0].item():.6g} without it, so it has no gradient of its own: call critic.eval(), or read "
                    "a critic whose rows do not meet"
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
        InputError: When the module fails, or does not give one number a row and critic.
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
            axes = tuple(row_axis(part, rows) for part in parts)
            attempt = replace(attempt, axes=axes, heads=sum(part.numel() for part in parts) // rows)
        check_rows(attempt, arguments, values)
        return attempt, arguments, values
    assert first is not None
    raise first
