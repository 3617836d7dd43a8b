"""Somebody's critics made readable without touching them.

A `Subject` holds private copies. A reading evaluates only these; parameters, buffers, gradients, modes, hooks and
random generators of the originals stay as they are, also when it raises or is interrupted.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.spectral_norm import SpectralNorm

from seem.copies import private_copy, unwrap
from seem.errors import InputError
from seem.factors import check_rows_are_apart
from seem.isolation import Promoted, untouched
from seem.trees import Outputs, Tree, leaves, map_tree, output_parts, row_axis

FAILURES = (
    RuntimeError,
    ValueError,
    TypeError,
    IndexError,
    AttributeError,
    KeyError,
    NotImplementedError,
    ArithmeticError,
)
"""What the forward of a foreign module raises on rows that it does not take."""
FSDP = {"FullyShardedDataParallel", "FSDPModule"}


def check_modules(modules: Sequence[Any]) -> None:
    """Refuse modules that no reading is of.

    Raises:
        InputError: Naming what stands in the way, and the remedy.
    """
    for whole in modules:
        if not isinstance(whole, nn.Module):
            raise InputError(
                f"a critic is a torch module, this one is a {type(whole).__name__}: pass the module itself"
            )
        check_rows_are_apart(whole)
        for module in whole.modules():
            if isinstance(module, torch.jit.ScriptModule):
                raise InputError(
                    "a compiled TorchScript critic shows no gradients of its rows: pass what it was made of"
                )
            if FSDP & {base.__name__ for base in type(module).__mro__}:
                raise InputError("a sharded critic (FSDP) has no gradients of its own here: read an unsharded copy")
        for name, tensor in (*whole.named_parameters(), *whole.named_buffers()):
            if is_lazy(tensor):
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
        originals: The originals of ``parameters``, by the same names.
        unheld: Names of parameters that require gradients, but were not among the trained ones.
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
    originals: Mapping[str, Tensor] = field(default_factory=dict)
    unheld: tuple[str, ...] = ()

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
        originals: dict[str, Tensor] = {}
        unheld: list[str] = []
        seen: set[int] = set()
        for index, (module, original) in enumerate(zip(copies, map(unwrap, given), strict=True)):
            before = dict(original.named_parameters(remove_duplicate=False))
            for name, parameter in module.named_parameters(remove_duplicate=False):
                if trained is not None and name in before and id(before[name]) not in trained:
                    unheld.extend([name] if before[name].requires_grad else [])
                    parameter.requires_grad_(False)
                if parameter.requires_grad and id(parameter) not in seen:
                    seen.add(id(parameter))
                    label = f"{index}.{name}" if len(copies) > 1 else name
                    parameters[label] = parameter
                    originals |= {label: before[name]} if name in before else {}
        if not parameters:
            raise InputError("the optimiser trains none of the critic's parameters: pass the critic's own optimiser")
        held = {"originals": originals, "unheld": tuple(unheld)}
        return cls(tuple(copies), parameters, target, device, outputs, tuple(notes), **held)  # type: ignore[arg-type]

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
            InputError: When a module fails on the rows, or does not give one number per row and critic.
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
        return output_parts(self.returned(module, arguments), self.outputs)

    def returned(self, module: nn.Module, arguments: tuple[Tree, ...]) -> Tree:
        """What one module returns."""
        with Promoted(self.dtype) if self.promoted else nullcontext():
            return module(*arguments)

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
