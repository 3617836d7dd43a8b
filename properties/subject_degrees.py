"""Which power of its parameters and of its inputs a module's output has, read off the operations that it runs.

One forward pass is followed operation by operation, below Python, so that functional calls are seen as well as
layers. Whatever is not listed here ends the analysis with a reason: an operation is never guessed.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from seem.ntk import Inputs, evaluate

KEEPING = {
    *("t", "view", "_unsafe_view", "reshape", "squeeze", "unsqueeze", "transpose", "permute", "expand", "slice"),
    *("select", "detach", "alias", "clone", "_to_copy", "split", "unbind", "sum", "mean", "neg", "abs", "amin", "amax"),
    *("relu", "leaky_relu"),
}
"""Operations of one tensor that a positive factor passes through."""
MULTIPLYING = {"mm", "bmm", "mv", "dot", "mul"}
ADDING = {"add", "sub", "cat", "stack", "minimum", "maximum"}
STANDARDISING = {"native_layer_norm": "LayerNorm", "native_group_norm": "GroupNorm"}
FLATTENING = {"tanh", "sigmoid"}
"""Smooth and bounded."""
BENDING = {"gelu", "silu", "elu", "softplus", "mish"}
"""Smooth, and linear far out."""


class Degrees(TorchDispatchMode):
    """Degrees of all tensors of one forward pass.

    A parameter that is only added to something takes the degree of what it is added to: so biases are repaired.

    Args:
        module: A module with one output per row.
        x: Inputs, N rows, or a tuple of them.

    Attributes:
        exponents: For each parameter the power of c that it is scaled by.
        degree: The power of c that f then scales by; None when there is none.
        why_no_degree: The reason for that, or None.
        growth: The largest power of ρ in f(ρx), as ρ grows; None when it is not known.
        why_no_growth: The reason for that, or None.
        smooth: The first smooth operation, or None: without one, f is piecewise linear or polynomial.
        standardises: Whether rows are divided by a size of their own.
    """

    def __init__(self, module: nn.Module, x: Inputs) -> None:
        super().__init__()
        self.why_no_degree: str | None = None
        self.why_no_growth: str | None = None
        self.smooth: str | None = None
        self.standardises = False
        # By id: the dispatcher hands over the same objects. Keeping all of them keeps the ids unique.
        self._kept: list[Any] = [module, x]
        self._names = {id(parameter): name for name, parameter in module.named_parameters()}
        self._powers = dict.fromkeys(map(id, tree_leaves(x)), 0)
        self._growths = dict.fromkeys(map(id, tree_leaves(x)), 1)
        self._fixed: dict[str, int] = {}
        with torch.no_grad(), self:
            value = evaluate(module, x)
        if id(value) not in self._powers:
            self.why_no_degree = self.why_no_growth = "its output does not follow from its inputs by tensor operations"
        self.exponents = {name: self._fixed.get(name, 1) for name, _ in module.named_parameters()}
        self.degree = None if self.why_no_degree else self._powers[id(value)]
        self.growth = None if self.why_no_growth else self._growths[id(value)]

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Run an operation and follow its degrees."""
        out = func(*args, **(kwargs or {}))
        operands = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if any(id(tensor) in self._powers or id(tensor) in self._names for tensor in operands):
            self._kept += [args, kwargs, out]
            # relu_ is relu on the tensor itself.
            self._follow(func.overloadpacket.__name__.removesuffix("_"), operands, args, out)
        return out

    def _follow(self, name: str, operands: list[Tensor], args: tuple, out: Any) -> None:
        if name in KEEPING and id(operands[0]) in self._names:
            for result in tree_leaves(out):
                self._names[id(result)] = self._names[id(operands[0])]
            return
        before = self._powers.get(id(operands[0]))
        power, growth = self._power(name, operands, args), self._growth(name, operands)
        if name in FLATTENING | BENDING:
            self.smooth = self.smooth or name
        results = [result for result in tree_leaves(out) if isinstance(result, Tensor)]
        for result in results if name in KEEPING else results[:1]:
            if result is operands[0] and before != power:
                self.why_no_degree = self.why_no_degree or f"{name} changes a tensor in place"
            self._powers[id(result)], self._growths[id(result)] = power, growth

    def _power(self, name: str, operands: list[Tensor], args: tuple) -> int:
        if name in KEEPING:
            return self._of(operands[0])
        if name in MULTIPLYING:
            return sum(map(self._of, operands))
        if name == "div":
            return self._of(operands[0]) - sum(map(self._of, operands[1:]))
        if name == "addmm":
            product = self._of(operands[1]) + self._of(operands[2])
            return self._common("a bias", [operands[0]], [product])
        if name in ADDING:
            # A number beside a tensor, as in x + 1, has degree 0.
            numbers = [0 for value in args[1:2] if isinstance(value, (int, float)) and value and name in ("add", "sub")]
            return self._common(name, operands, numbers)
        if name in STANDARDISING:
            return self._standardised(name, operands, float(args[-1]))
        if name == "_weight_norm_interface":
            self._of(operands[0])  # a direction: its length is divided out
            return self._of(operands[1])
        self.why_no_degree = self.why_no_degree or f"it calls {name}, which has no degree"
        return 0

    def _standardised(self, name: str, operands: list[Tensor], epsilon: float) -> int:
        self.standardises = True
        if epsilon:
            layer = STANDARDISING[name]
            self.why_no_degree = self.why_no_degree or f"it has a {layer} with ε = {epsilon:g}, which has no degree"
        self._of(operands[0])
        # Gain and shift give a degree of 1; without them a standardised row has degree 0.
        return max(map(self._of, operands[1:]), default=0)

    def _of(self, tensor: Tensor) -> int:
        name = self._names.get(id(tensor))
        return self._powers.get(id(tensor), 0) if name is None else self._fixed.setdefault(name, 1)

    def _common(self, name: str, operands: list[Tensor], powers: list[int]) -> int:
        names = [self._names.get(id(tensor)) for tensor in operands]
        free = [name for name in names if name is not None and name not in self._fixed]
        powers = powers + [
            self._of(tensor)
            for tensor, name in zip(operands, names, strict=True)
            if name is None or name in self._fixed
        ]
        if len(set(powers)) > 1:
            parts = " and ".join(map(str, sorted(set(powers))))
            self.why_no_degree = self.why_no_degree or f"{name} joins parts of degrees {parts}"
        power = max(powers, default=1)
        self._fixed |= dict.fromkeys(free, power)
        return power

    def _growth(self, name: str, operands: list[Tensor]) -> int:
        growths = [self._growths.get(id(tensor), 0) for tensor in operands]
        if name in KEEPING | BENDING:
            return growths[0]
        if name in MULTIPLYING:
            return sum(growths)
        if name == "addmm":
            return max(growths[0], growths[1] + growths[2])
        if name in ADDING:
            return max(growths)
        if name in STANDARDISING or name in FLATTENING or not any(growths):
            return 0
        if name == "div" and not any(growths[1:]):
            return growths[0]
        self.why_no_growth = self.why_no_growth or f"it calls {name}, whose growth is not known"
        return 0
