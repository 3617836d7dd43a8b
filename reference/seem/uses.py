"""Collecting which calls of a forward pass use a parameter, and how."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from seem.attention import attention
from seem.trees import leaves

Key = int | tuple[int, int]
"""A parameter by its id, or a slice of a stack of them."""


class Unknown(Exception):  # noqa: N818 - a way out, not an error
    """A parameter is used in a way that has no factors."""


@dataclass(frozen=True)
class Pair:
    """Gradient rows Σ_t δ_t ⊗ h_t of a matrix.

    Attributes:
        deltas: δ, shape (M, T, out).
        inputs: h, shape (M, T, in).
    """

    deltas: Tensor
    inputs: Tensor

    def rows(self) -> Tensor:
        """The gradients themselves, shape (M, out·in)."""
        if self.deltas.shape[1] == 1:
            return (self.deltas.mT * self.inputs).flatten(1)
        return (self.deltas.mT @ self.inputs).flatten(1)


@dataclass
class Use:
    """One collected call.

    Attributes:
        output: y, tracked.
        version: Of y when it was made: a later write in place changes whose derivative δ is.
        shares: Makes the share of each parameter, by its key, out of δ.
        saved: Inputs that the shares need, with their versions.
    """

    output: Tensor
    version: int
    shares: Callable[[Tensor], dict[Key, "Pair | Tensor"]]
    saved: list[tuple[Tensor, int]]


def by_rows(tensor: Tensor, features: int, rows: int) -> Tensor:
    """A tensor (…, features…) as (rows, tokens, features…), wherever the rows stand.

    Raises:
        Unknown: When no dimension holds the rows.
    """
    lead = tensor.shape[: tensor.ndim - features]
    rest = tensor.shape[tensor.ndim - features :]
    if rows in lead:
        return tensor.movedim(lead.index(rows), 0).reshape(rows, -1, *rest)
    if lead and lead[0] % rows == 0 and lead[0]:
        return tensor.reshape(rows, -1, *rest)  # tokens merged behind their row
    raise Unknown


def sum_to(tensor: Tensor, shape: torch.Size, at: int) -> Tensor:
    """Sum over what a parameter of this shape was broadcast over, row by row: (M, numbers).

    Raises:
        Unknown: When the parameter has a dimension along the rows.
    """
    extra = tensor.ndim - len(shape)
    if extra < 0 or (at >= extra and shape[at - extra] != 1):
        raise Unknown
    reduced = [
        d for d in range(tensor.ndim) if d != at and (d < extra or (shape[d - extra] == 1 and tensor.shape[d] != 1))
    ]
    summed = tensor.sum(reduced, keepdim=True) if reduced else tensor
    return summed.movedim(at, 0).flatten(1)


Made = tuple[Tensor, Callable[[Tensor], dict[Key, Pair | Tensor]], list[Tensor]]
"""What a rule gives: the output, the shares by δ, and the inputs that they need."""
Rule = Callable[..., Made]


def _no_rule(*args: Any, **kwargs: Any) -> Made:
    raise Unknown


class Collector(TorchFunctionMode):
    """Collects the uses of parameters in one forward pass.

    Args:
        parameters: What is trained.
        rows: M.
        rules: What is known, by the name of the called function.
        copying: Hand out copies of outputs and inputs, for modules that write into them.
    """

    def __init__(self, parameters: Sequence[Tensor], rows: int, rules: Mapping[str, Rule], *, copying: bool) -> None:
        super().__init__()
        self.rules = rules
        self.rows, self.copying = rows, copying
        self.known = {id(parameter): parameter for parameter in parameters}
        self.derived: dict[int, tuple[Tensor, list[int]]] = {}
        self.uses: list[Use] = []
        self.loose: set[int] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call, and note a use of a parameter."""
        kwargs = kwargs or {}
        if func is functional.multi_head_attention_forward:
            with self:
                return attention(*args, **kwargs)
        tensors = leaves((args, list(kwargs.values())))
        found = [tensor for tensor in tensors if id(tensor) in self.known]
        if not found or not torch.is_grad_enabled():
            return func(*args, **kwargs)
        rule = self.rules.get(getattr(func, "__name__", ""), _no_rule)
        try:
            made, shares, saved = rule(self, func, *args, **kwargs)
        except (Unknown, TypeError):
            return self._unknown(func, args, kwargs, tensors, found)
        self.uses.append(Use(made, made._version, shares, [(tensor, tensor._version) for tensor in saved]))
        return made.clone() if self.copying else made

    def _unknown(self, func: Any, args: Any, kwargs: Any, tensors: list[Tensor], found: list[Tensor]) -> Any:
        made = func(*args, **kwargs)
        if not any(tensor.requires_grad for tensor in leaves(made)):
            return made  # a size, a norm for the log: not part of the value
        free_of_data = all(
            id(tensor) in self.known or (not tensor.requires_grad and tensor.shape[:1] != (self.rows,))
            for tensor in tensors
        )
        if free_of_data and isinstance(made, Tensor):
            self.derived[id(made)] = made, [id(tensor) for tensor in found]
            self.known[id(made)] = made
        else:
            self.loose.update(id(tensor) for tensor in found)
        return made

    def key(self, tensor: Any) -> int | None:
        """Of a parameter that is trained, or is computed from such."""
        return id(tensor) if isinstance(tensor, Tensor) and id(tensor) in self.known else None

    def changed(self) -> bool:
        """Whether something was written over that the factors need."""
        pairs = [(use.output, use.version) for use in self.uses]
        return any(tensor._version != version for tensor, version in (*pairs, *(p for u in self.uses for p in u.saved)))

    def hold(self, tensor: Tensor) -> Tensor:
        """An input that a share needs."""
        return tensor.detach().clone() if self.copying else tensor.detach()
