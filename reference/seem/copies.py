"""A private copy of somebody's modules, which a reading may evaluate without touching them.

Shared submodules and tied tensors stay shared; functions that a module carries (hooks, a replaced ``forward``) get
copies of what they have closed over, so that a hook which counts or collects does so in the copy.
"""

import copy
import functools
import types
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

_DROPPED = {"_compiled_call_impl": None}
"""What ``Module.compile`` leaves behind belongs to the original."""
_BACKWARD = ("_backward_hooks", "_backward_pre_hooks", "_is_full_backward_hook", "_non_full_backward_hooks")
"""Hooks on gradients see the training, not the derivative of the critic."""
_LIBRARIES = ("torch", "numpy", "functools", "builtins")
_CONTAINERS = (dict, list, set)


def unwrap(module: nn.Module) -> nn.Module:
    """The module inside ``torch.compile``, DataParallel and DistributedDataParallel."""
    wrappers = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    while True:
        if isinstance(module, wrappers):
            module = module.module
        elif "_orig_mod" in module._modules:
            module = cast(nn.Module, module._modules["_orig_mod"])
        else:
            return module


class Copier:
    """Copies modules, one object for one object.

    Args:
        convert: What becomes of a tensor that is no parameter or buffer of other dtype: a new, detached one.
    """

    def __init__(self, convert: Callable[[Tensor], Tensor]) -> None:
        self.convert = convert
        self.memo: dict[int, Any] = {}
        self.alive: list[object] = []

    def copy(self, value: Any) -> Any:
        """The copy of anything that a module may hold."""
        if id(value) in self.memo:
            return self.memo[id(value)]
        if value is None or isinstance(value, (bool, int, float, complex, str, bytes, type, torch.dtype, torch.device)):
            return value
        self.alive.append(value)  # its id stands for it in the memo
        if isinstance(value, nn.Module):
            return self._module(unwrap(value), value)
        if isinstance(value, Tensor):
            return self._keep(value, self._tensor(value))
        if isinstance(value, _CONTAINERS):
            return self._container(value)
        if type(value) is tuple:
            return self._keep(value, tuple(self.copy(item) for item in value))
        if isinstance(value, types.FunctionType):
            return self._function(value)
        if isinstance(value, types.MethodType):
            return self._keep(value, types.MethodType(self.copy(value.__func__), self.copy(value.__self__)))
        if isinstance(value, functools.partial):
            made = functools.partial(self.copy(value.func), *map(self.copy, value.args), **self.copy(value.keywords))
            return self._keep(value, made)
        return self._keep(value, self._other(value))

    def _keep(self, value: object, made: Any) -> Any:
        self.memo[id(value)] = made
        return made

    def _tensor(self, value: Tensor) -> Tensor:
        made = self.convert(value)
        return nn.Parameter(made, value.requires_grad) if isinstance(value, nn.Parameter) else made

    def _container(self, value: Any) -> Any:
        """A dict, list or set of the same type; what a subclass keeps beside its items is copied too."""
        try:
            made = copy.copy(value)
            made.clear()
        except Exception:
            return self._keep(value, self._other(value))
        self.memo[id(value)] = made
        if isinstance(value, dict):
            made.update((self.copy(key), self.copy(item)) for key, item in value.items())
        elif isinstance(value, list):
            made.extend(self.copy(item) for item in value)
        else:
            made.update(self.copy(item) for item in value)
        return made

    def _function(self, value: types.FunctionType) -> Any:
        """A function with copies of what it has closed over, and of the mutable globals that it names."""
        if (value.__module__ or "").split(".")[0] in _LIBRARIES:
            return value
        names = value.__code__.co_names
        mutable = {n: value.__globals__[n] for n in names if type(value.__globals__.get(n)) in (*_CONTAINERS,)}
        if not value.__closure__ and not mutable and not value.__defaults__:
            return value
        cells = tuple(types.CellType() for _ in value.__closure__ or ())
        spread = {**value.__globals__, **self.copy(mutable)} if mutable else value.__globals__
        made = types.FunctionType(value.__code__, spread, value.__name__, None, cells)
        self.memo[id(value)] = made  # before its cells: they may hold itself
        made.__kwdefaults__, made.__defaults__ = value.__kwdefaults__, self.copy(value.__defaults__)
        made.__dict__.update(value.__dict__)
        for cell, old in zip(cells, value.__closure__ or (), strict=True):
            try:
                cell.cell_contents = self.copy(old.cell_contents)
            except ValueError:  # an empty cell
                continue
        return made

    def _other(self, value: Any) -> Any:
        """Generators by their state; else ``copy.deepcopy``; what nothing can copy (a lock, a file) is shared."""
        if isinstance(value, torch.Generator):
            return value.clone_state()
        if isinstance(value, np.ndarray) and value.dtype != object:
            return value.copy()
        try:
            return copy.deepcopy(value, self.memo)
        except Exception:
            return value

    def _module(self, module: nn.Module, name: nn.Module) -> nn.Module:
        if id(module) in self.memo:
            return self._keep(name, self.memo[id(module)])
        own = hasattr(type(module), "__deepcopy__") and not parametrize.is_parametrized(module)
        if own or isinstance(module, torch.jit.ScriptModule):
            for tensor in (*module.parameters(), *module.buffers()):
                self.copy(tensor)
            return self._keep(name, self._keep(module, copy.deepcopy(module, self.memo)))
        made = type(module).__new__(type(module))
        self.memo[id(module)] = self.memo[id(name)] = made
        made.__dict__ = {key: self._entry(key, item) for key, item in module.__dict__.items() if key not in _DROPPED}
        return made

    def _entry(self, key: str, item: Any) -> Any:
        if key in _BACKWARD:
            return type(item)() if isinstance(item, dict) else None
        return self.copy(item)


def private_copy(modules: Sequence[nn.Module], dtype: torch.dtype | None, device: torch.device) -> list[nn.Module]:
    """Copies of modules, with what they share shared by the copies.

    Args:
        modules: Any modules, wrapped or not.
        dtype: Of the copies' floating tensors; None leaves each its own.
        device: Where the copies lie.

    Returns:
        One module each, unwrapped, in the originals' modes; no tensor is shared with them.
    """

    def convert(tensor: Tensor) -> Tensor:
        target = dtype if tensor.is_floating_point() else None
        # A clone keeps the memory format; `to` alone may return the original.
        return tensor.detach().clone().to(device=device, dtype=target)

    copier = Copier(convert)
    copies = [copier.copy(module) for module in modules]
    for module in copies:
        tensors = (*module.parameters(), *module.buffers())
        if dtype is not None and any(t.is_floating_point() and t.dtype != dtype for t in tensors):
            module.to(dtype)  # modules that copy themselves, as scripted ones
    return copies
