r"""Factors of per-row gradients of any module: one forward pass, and one backward pass a critic.

Every call that uses a parameter in a known way is watched (linear maps, convolutions, embeddings, normalisations, sums
and products with a parameter). Its input h and the derivative δ of a critic's value by its output are all that the
kernel needs: with one token a row :math:`(\delta\delta'^\top)\circ(hh'^\top)`, with more the sum over pairs of tokens,
or the row's own gradient :math:`\sum_t \delta_t h_t^\top` where that is smaller. A parameter that is computed from
others (weight norm, a slice) is pulled back to them. What is used in no known way is named `loose`, and its per-row
gradients are taken by `seem.gradients`.

Source: the layerwise identity is Novak et al. 2022 (2206.08720).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from seem.attention import attention
from seem.errors import InputError
from seem.subject import Subject, Tree, leaves


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
    """One watched call.

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
    reduced = [d for d in range(tensor.ndim) if d != at and (d < extra or (shape[d - extra] == 1 and tensor.shape[d] != 1))]
    summed = tensor.sum(reduced, keepdim=True) if reduced else tensor
    return summed.movedim(at, 0).flatten(1)


class Watch(TorchFunctionMode):
    """Watches one forward pass.

    Args:
        parameters: What is trained.
        rows: M.
        copying: Hand out copies of outputs and inputs, for modules that write into them.
    """

    def __init__(self, parameters: list[Tensor], rows: int, *, copying: bool) -> None:
        super().__init__()
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
        rule = RULES.get(getattr(func, "__name__", ""))
        try:
            if rule is None:
                raise Unknown
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


Made = tuple[Tensor, Callable[[Tensor], dict[Key, Pair | Tensor]], list[Tensor]]


def _affine(keys: tuple[int | None, int | None], weight: Callable[[Tensor], Pair | Tensor],
            bias: Callable[[Tensor], Tensor]) -> Callable[[Tensor], dict[Key, Pair | Tensor]]:
    def shares(delta: Tensor) -> dict[Key, Pair | Tensor]:
        made: dict[Key, Pair | Tensor] = {}
        if keys[0] is not None:
            made[keys[0]] = weight(delta)
        if keys[1] is not None:
            made[keys[1]] = bias(delta)
        return made

    return shares


def _linear(watch: Watch, func: Any, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Made:  # noqa: A002
    if watch.key(input) is not None or weight.ndim != 2:
        raise Unknown
    held, keys = by_rows(watch.hold(input), 1, watch.rows), (watch.key(weight), watch.key(bias))
    made = func(input, weight, bias)
    if None not in keys and keys[0] not in watch.derived:
        # A column of ones adds the bias inside the product, which costs less than a product of its own.
        held, keys = functional.pad(held, (0, 1), value=1.0), (keys[0], None)
    shares = _affine(
        keys,
        lambda delta: Pair(by_rows(delta, 1, watch.rows), held),
        lambda delta: by_rows(delta, 1, watch.rows).sum(1),
    )
    return made, shares, [held]


def _matmul(watch: Watch, func: Any, input: Tensor, other: Tensor) -> Made:  # noqa: A002
    if other.ndim == 3:
        return _bmm(watch, func, input, other)
    if watch.key(input) is not None or other.ndim != 2 or input.ndim < 2:
        raise Unknown
    held = by_rows(watch.hold(input), 1, watch.rows)
    # The weight lies as (in, out): its gradient rows are h ⊗ δ.
    shares = _affine(
        (watch.key(other), None), lambda delta: Pair(held, by_rows(delta, 1, watch.rows)), lambda delta: delta
    )
    return func(input, other), shares, [held]


def _stacked(watch: Watch, input: Tensor, weight: Tensor) -> tuple[Callable[[Tensor], dict[Key, Pair | Tensor]], Tensor]:  # noqa: A002
    """Shares of a stack of matrices (N, in, out), applied to (M, in) or (N, M, in): a slice a network."""
    if watch.key(input) is not None or weight.ndim != 3 or input.shape[-2] != watch.rows or input.ndim > 3:
        raise Unknown
    held, key = watch.hold(input), watch.key(weight)

    def shares(delta: Tensor) -> dict[Key, Pair | Tensor]:
        made: dict[Key, Pair | Tensor] = {}
        for index in range(len(weight)):
            if key is not None and delta[index].any():  # another critic's slice has no share, not one of zeros
                rows = held if held.ndim == 2 else held[index if len(held) > 1 else 0]
                made[key, index] = Pair(rows[:, None], delta[index][:, None])
        return made

    return shares, held


def _bmm(watch: Watch, func: Any, input: Tensor, mat2: Tensor) -> Made:  # noqa: A002
    shares, held = _stacked(watch, input, mat2)
    return func(input, mat2), shares, [held]


def _baddbmm(watch: Watch, func: Any, input: Tensor, batch1: Tensor, batch2: Tensor) -> Made:  # noqa: A002
    shares, held = _stacked(watch, batch1, batch2)
    key, rows = watch.key(input), 1

    def both(delta: Tensor) -> dict[Key, Pair | Tensor]:
        made = shares(delta)
        if key is not None:
            made[key] = sum_to(delta, input.shape, rows)
        return made

    return func(input, batch1, batch2), both, [held]


def _conv(watch: Watch, func: Any, input: Tensor, weight: Tensor, bias: Tensor | None = None,  # noqa: A002, PLR0913
          stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1) -> Made:
    dimensions = weight.ndim - 2
    if watch.key(input) is not None or dimensions not in (1, 2) or input.ndim != weight.ndim:
        raise Unknown
    made = func(input, weight, bias, stride, padding, dilation, groups)

    def pair(value: Any, before: int) -> tuple[int, int]:
        values = (value,) if isinstance(value, int) else tuple(value)
        values = values * dimensions if len(values) == 1 else values
        return (before, values[0]) if dimensions == 1 else (values[0], values[1])

    image, kernel = watch.hold(input), weight if dimensions == 2 else weight[:, :, None]
    image = image if dimensions == 2 else image[:, :, None]
    if padding == "same":
        spans = [d * (k - 1) for d, k in zip(pair(dilation, 1), kernel.shape[2:], strict=True)]
        image = functional.pad(image, [n for span in reversed(spans) for n in (span // 2, span - span // 2)])
    pads = (0, 0) if isinstance(padding, str) else pair(padding, 0)
    held = image

    def split(delta: Tensor) -> tuple[Tensor, Tensor]:
        patches = functional.unfold(held, kernel.shape[2:], pair(dilation, 1), pads, pair(stride, 1)).mT
        tokens = by_rows(patches, 2, watch.rows).flatten(1, 2)
        return by_rows(delta.flatten(2).mT, 2, watch.rows).flatten(1, 2), tokens

    def weight_share(delta: Tensor) -> Pair | Tensor:
        deltas, tokens = split(delta)
        if groups == 1:
            return Pair(deltas, tokens)
        parts = zip(deltas.chunk(groups, 2), tokens.chunk(groups, 2), strict=True)
        return torch.cat([Pair(d, t).rows() for d, t in parts], 1)

    def bias_share(delta: Tensor) -> Tensor:
        return by_rows(delta.flatten(2).sum(2), 1, watch.rows).sum(1)

    return made, _affine((watch.key(weight), watch.key(bias)), weight_share, bias_share), [held]


def _embedding(watch: Watch, func: Any, input: Tensor, weight: Tensor, padding_idx: int | None = None,  # noqa: A002, PLR0913
               max_norm: float | None = None, norm_type: float = 2.0, scale_grad_by_freq: bool = False,
               sparse: bool = False) -> Made:
    if max_norm is not None or scale_grad_by_freq:
        raise Unknown
    made = func(input, weight, padding_idx, None, norm_type, False, sparse)
    ids = by_rows(watch.hold(input), 0, watch.rows)
    skipped = None if padding_idx is None else padding_idx % len(weight)

    def share(delta: Tensor) -> Pair | Tensor:
        deltas = by_rows(delta, 1, watch.rows)
        if skipped is not None:
            deltas = deltas * (ids != skipped)[..., None]
        return Pair(functional.one_hot(ids, len(weight)).to(deltas), deltas)

    return made, _affine((watch.key(weight), None), share, lambda delta: delta), [ids]


def _norm(standardise: Callable[..., Tensor], channel_first: bool) -> Callable[..., Made]:
    """The rule of a normalisation; ``standardise`` gives x̂ from the call's own arguments."""

    def rule(watch: Watch, func: Any, input: Tensor, *args: Any, **kwargs: Any) -> Made:  # noqa: A002
        if watch.key(input) is not None:
            raise Unknown
        made = func(input, *args, **kwargs)
        plain, weight, bias = standardise(watch.hold(input), *args, **kwargs)

        def rows(tensor: Tensor) -> Tensor:
            if channel_first:
                grouped = by_rows(tensor.flatten(2), 2, watch.rows) if tensor.ndim > 2 else by_rows(tensor, 1, watch.rows)
                return grouped.sum((1, 3)) if tensor.ndim > 2 else grouped.sum(1)
            width = (weight if weight is not None else bias).ndim
            return by_rows(tensor, width, watch.rows).sum(1).flatten(1)

        keys = watch.key(weight), watch.key(bias)
        return made, _affine(keys, lambda delta: rows(delta * plain), rows), [plain]

    return rule


def _layer(x: Tensor, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    return functional.layer_norm(x, normalized_shape, None, None, eps), weight, bias


def _rms(x: Tensor, normalized_shape: Any, weight: Any = None, eps: float | None = None) -> Any:
    return functional.rms_norm(x, normalized_shape, None, eps), weight, None


def _group(x: Tensor, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    return functional.group_norm(x, num_groups, None, None, eps), weight, bias


def _batch(x: Tensor, running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None,  # noqa: PLR0913
           training: bool = False, momentum: float = 0.1, eps: float = 1e-5) -> Any:
    if training:
        raise Unknown
    return functional.batch_norm(x, running_mean, running_var, None, None, False, 0.0, eps), weight, bias


def _sum(watch: Watch, func: Any, input: Any, other: Any) -> Made:  # noqa: A002
    made = func(input, other)
    parameter, _, at = _broadcast(watch, made, input, other)
    return made, lambda delta: {id(parameter): sum_to(delta, parameter.shape, at)}, []


def _product(watch: Watch, func: Any, input: Any, other: Any) -> Made:  # noqa: A002
    made = func(input, other)
    parameter, data, at = _broadcast(watch, made, input, other)
    held = watch.hold(data) if isinstance(data, Tensor) else made.new_tensor(data)
    return made, lambda delta: {id(parameter): sum_to(delta * held, parameter.shape, at)}, [held]


def _broadcast(watch: Watch, made: Tensor, input: Any, other: Any) -> tuple[Tensor, Any, int]:  # noqa: A002
    """The parameter, what it meets, and the dimension of the rows."""
    parameter, data = (input, other) if watch.key(input) is not None else (other, input)
    if watch.key(data) is not None or watch.rows not in made.shape:
        raise Unknown
    at = made.shape.index(watch.rows)
    sum_to(made.detach(), parameter.shape, at)
    return parameter, data, at


RULES: dict[str, Callable[..., Made]] = {
    "linear": _linear,
    **dict.fromkeys(("matmul", "__matmul__", "mm"), _matmul),
    "bmm": _bmm,
    "baddbmm": _baddbmm,
    **dict.fromkeys(("conv1d", "conv2d"), _conv),
    "embedding": _embedding,
    "layer_norm": _norm(_layer, channel_first=False),
    "rms_norm": _norm(_rms, channel_first=False),
    "group_norm": _norm(_group, channel_first=True),
    "batch_norm": _norm(_batch, channel_first=True),
    **dict.fromkeys(("add", "__add__", "__radd__"), _sum),
    **dict.fromkeys(("mul", "__mul__", "__rmul__"), _product),
}
"""By the name of the function that is called."""

@dataclass
class Factors:
    """What the kernel of N critics over M rows is made of.

    Attributes:
        shares: For each critic its shares by parameter: a `Pair`, or gradient rows (M, numbers).
        loose: Parameters whose gradients have no factors.
    """

    shares: list[dict[Key, Pair | Tensor]]
    loose: set[int] = field(default_factory=set)


def factors(subject: Subject, arguments: tuple[Tree, ...]) -> tuple[Tensor, Factors]:
    """The factors of all critics, by one forward and one backward pass a critic.

    Args:
        subject: The critics.
        arguments: Of M rows.

    Returns:
        The values, shape (N, M), detached, and the factors. Held are, of every watched call, its input and as many
        outputs' derivatives as there are critics.

    Raises:
        InputError: When the critics fail on the rows.
    """
    rows, parameters = len(leaves(arguments)[0]), list(subject.parameters.values())
    for copying in (False, True):
        watch = Watch(parameters, rows, copying=copying)
        with watch:
            values = subject.values(arguments)
        if not watch.changed():
            break
    else:
        raise InputError("the critic writes over its own results: read it through a module that does not")
    made = []
    for critic in range(len(values)):
        total, outputs = values[critic].sum(), [use.output for use in watch.uses]
        tracked = total.requires_grad and outputs
        deltas = torch.autograd.grad(total, outputs, retain_graph=True, allow_unused=True) if tracked else ()
        made.append(_shares(watch, deltas or (None,) * len(outputs)))
    return values.detach(), _pulled_back(watch, Factors(made, watch.loose))


def _shares(watch: Watch, deltas: tuple[Tensor | None, ...]) -> dict[Key, Pair | Tensor]:
    shares: dict[Key, Pair | Tensor] = {}
    for use, delta in zip(watch.uses, deltas, strict=True):
        if delta is None or not delta.any():  # another critic's layer adds nothing
            continue
        for key, share in use.shares(delta).items():
            shares[key] = share if key not in shares else _joined(shares[key], share)
    return shares


def _joined(first: Pair | Tensor, second: Pair | Tensor) -> Pair | Tensor:
    """The share of a parameter that is used twice: further tokens of the same rows, or the sum of the gradients."""
    if isinstance(first, Pair) and isinstance(second, Pair):
        return Pair(torch.cat((first.deltas, second.deltas), 1), torch.cat((first.inputs, second.inputs), 1))
    return _plain(first) + _plain(second)


def _plain(share: Pair | Tensor) -> Tensor:
    return share.rows() if isinstance(share, Pair) else share


def _pulled_back(watch: Watch, found: Factors) -> Factors:
    """Shares of computed parameters become shares of those that they are computed from."""
    origins: dict[int, list[int]] = {}
    for key, (made, sources) in watch.derived.items():
        origins[key] = list(dict.fromkeys(leaf for source in sources for leaf in origins.get(source, [source])))
        if key in found.loose:
            found.loose.update(origins[key])
            continue
        wanted = [watch.known[leaf] for leaf in origins[key]]
        for shares in found.shares:
            if key not in shares:
                continue
            rows = _plain(shares.pop(key)).reshape(-1, *made.shape)
            pulled = torch.autograd.grad(made, wanted, rows, retain_graph=True, allow_unused=True, is_grads_batched=True)
            for leaf, gradient in zip(origins[key], pulled, strict=True):
                if gradient is not None:
                    part = gradient.flatten(1)
                    shares[leaf] = part if leaf not in shares else _plain(shares[leaf]) + part
    return found
