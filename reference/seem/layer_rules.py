"""The known ways of using a parameter: what the gradient of each row is made of.

A rule takes the collector, the function and its arguments, and gives the output with the shares of the parameters; it
raises `Unknown` where the arguments are not of the known form.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from seem.uses import Collector, Key, Made, Pair, Unknown, by_rows, sum_to


def _affine(
    keys: tuple[int | None, int | None], weight: Callable[[Tensor], Pair | Tensor], bias: Callable[[Tensor], Tensor]
) -> Callable[[Tensor], dict[Key, Pair | Tensor]]:
    def shares(delta: Tensor) -> dict[Key, Pair | Tensor]:
        made: dict[Key, Pair | Tensor] = {}
        if keys[0] is not None:
            made[keys[0]] = weight(delta)
        if keys[1] is not None:
            made[keys[1]] = bias(delta)
        return made

    return shares


def _linear(collector: Collector, func: Any, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Made:
    if collector.key(input) is not None or weight.ndim != 2:
        raise Unknown
    held, keys = by_rows(collector.hold(input), 1, collector.rows), (collector.key(weight), collector.key(bias))
    made = func(input, weight, bias)
    if None not in keys and keys[0] not in collector.derived:
        # A column of ones adds the bias inside the product, which costs less than a product of its own.
        held, keys = functional.pad(held, (0, 1), value=1.0), (keys[0], None)
    shares = _affine(
        keys,
        lambda delta: Pair(by_rows(delta, 1, collector.rows), held),
        lambda delta: by_rows(delta, 1, collector.rows).sum(1),
    )
    return made, shares, [held]


def _matmul(collector: Collector, func: Any, input: Tensor, other: Tensor) -> Made:
    if other.ndim == 3:
        return _bmm(collector, func, input, other)
    if collector.key(input) is not None or other.ndim != 2 or input.ndim < 2:
        raise Unknown
    held = by_rows(collector.hold(input), 1, collector.rows)
    # The weight lies as (in, out): its gradient rows are h ⊗ δ.
    shares = _affine(
        (collector.key(other), None), lambda delta: Pair(held, by_rows(delta, 1, collector.rows)), lambda delta: delta
    )
    return func(input, other), shares, [held]


def _stacked(
    collector: Collector, input: Tensor, weight: Tensor
) -> tuple[Callable[[Tensor], dict[Key, Pair | Tensor]], Tensor]:
    """Shares of a stack of matrices (N, in, out), applied to (M, in) or (N, M, in): a slice a network."""
    if collector.key(input) is not None or weight.ndim != 3 or input.shape[-2] != collector.rows or input.ndim > 3:
        raise Unknown
    held, key = collector.hold(input), collector.key(weight)

    def shares(delta: Tensor) -> dict[Key, Pair | Tensor]:
        made: dict[Key, Pair | Tensor] = {}
        for index in range(len(weight)):
            if key is not None and delta[index].any():  # another critic's slice has no share, not one of zeros
                rows = held if held.ndim == 2 else held[index if len(held) > 1 else 0]
                made[key, index] = Pair(rows[:, None], delta[index][:, None])
        return made

    return shares, held


def _bmm(collector: Collector, func: Any, input: Tensor, mat2: Tensor) -> Made:
    shares, held = _stacked(collector, input, mat2)
    return func(input, mat2), shares, [held]


def _baddbmm(collector: Collector, func: Any, input: Tensor, batch1: Tensor, batch2: Tensor) -> Made:
    shares, held = _stacked(collector, batch1, batch2)
    key, rows = collector.key(input), 1

    def both(delta: Tensor) -> dict[Key, Pair | Tensor]:
        made = shares(delta)
        if key is not None:
            made[key] = sum_to(delta, input.shape, rows)
        return made

    return func(input, batch1, batch2), both, [held]


def _conv(
    collector: Collector,
    func: Any,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Made:
    dimensions = weight.ndim - 2
    if collector.key(input) is not None or dimensions not in (1, 2) or input.ndim != weight.ndim:
        raise Unknown
    made = func(input, weight, bias, stride, padding, dilation, groups)

    def pair(value: Any, before: int) -> tuple[int, int]:
        values = (value,) if isinstance(value, int) else tuple(value)
        values = values * dimensions if len(values) == 1 else values
        return (before, values[0]) if dimensions == 1 else (values[0], values[1])

    image, kernel = collector.hold(input), weight if dimensions == 2 else weight[:, :, None]
    image = image if dimensions == 2 else image[:, :, None]
    if padding == "same":
        spans = [d * (k - 1) for d, k in zip(pair(dilation, 1), kernel.shape[2:], strict=True)]
        image = functional.pad(image, [n for span in reversed(spans) for n in (span // 2, span - span // 2)])
    pads = (0, 0) if isinstance(padding, str) else pair(padding, 0)
    held = image

    def split(delta: Tensor) -> tuple[Tensor, Tensor]:
        patches = functional.unfold(held, kernel.shape[2:], pair(dilation, 1), pads, pair(stride, 1)).mT
        tokens = by_rows(patches, 2, collector.rows).flatten(1, 2)
        return by_rows(delta.flatten(2).mT, 2, collector.rows).flatten(1, 2), tokens

    def weight_share(delta: Tensor) -> Pair | Tensor:
        deltas, tokens = split(delta)
        if groups == 1:
            return Pair(deltas, tokens)
        parts = zip(deltas.chunk(groups, 2), tokens.chunk(groups, 2), strict=True)
        return torch.cat([Pair(d, t).rows() for d, t in parts], 1)

    def bias_share(delta: Tensor) -> Tensor:
        return by_rows(delta.flatten(2).sum(2), 1, collector.rows).sum(1)

    return made, _affine((collector.key(weight), collector.key(bias)), weight_share, bias_share), [held]


def _embedding(
    collector: Collector,
    func: Any,
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Made:
    if max_norm is not None or scale_grad_by_freq:
        raise Unknown
    made = func(input, weight, padding_idx, None, norm_type, False, sparse)
    ids = by_rows(collector.hold(input), 0, collector.rows)
    skipped = None if padding_idx is None else padding_idx % len(weight)

    def share(delta: Tensor) -> Pair | Tensor:
        deltas = by_rows(delta, 1, collector.rows)
        if skipped is not None:
            deltas = deltas * (ids != skipped)[..., None]
        return Pair(functional.one_hot(ids, len(weight)).to(deltas), deltas)

    return made, _affine((collector.key(weight), None), share, lambda delta: delta), [ids]


def _norm(standardise: Callable[..., Tensor], channel_first: bool) -> Callable[..., Made]:
    """The rule of a normalisation; ``standardise`` gives x̂ from the call's own arguments."""

    def rule(collector: Collector, func: Any, input: Tensor, *args: Any, **kwargs: Any) -> Made:
        if collector.key(input) is not None:
            raise Unknown
        made = func(input, *args, **kwargs)
        plain, weight, bias = standardise(collector.hold(input), *args, **kwargs)

        def rows(tensor: Tensor) -> Tensor:
            if channel_first:
                flat = tensor.flatten(2) if tensor.ndim > 2 else tensor
                grouped = by_rows(flat, min(tensor.ndim - 1, 2), collector.rows)
                return grouped.sum((1, 3)) if tensor.ndim > 2 else grouped.sum(1)
            width = (weight if weight is not None else bias).ndim
            return by_rows(tensor, width, collector.rows).sum(1).flatten(1)

        keys = collector.key(weight), collector.key(bias)
        return made, _affine(keys, lambda delta: rows(delta * plain), rows), [plain]

    return rule


def _layer(x: Tensor, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    return functional.layer_norm(x, normalized_shape, None, None, eps), weight, bias


def _rms(x: Tensor, normalized_shape: Any, weight: Any = None, eps: float | None = None) -> Any:
    return functional.rms_norm(x, normalized_shape, None, eps), weight, None


def _group(x: Tensor, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    return functional.group_norm(x, num_groups, None, None, eps), weight, bias


def _batch(
    x: Tensor,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    if training:
        raise Unknown
    return functional.batch_norm(x, running_mean, running_var, None, None, False, 0.0, eps), weight, bias


def _sum(collector: Collector, func: Any, input: Any, other: Any) -> Made:
    made = func(input, other)
    parameter, _, at = _broadcast(collector, made, input, other)
    return made, lambda delta: {id(parameter): sum_to(delta, parameter.shape, at)}, []


def _product(collector: Collector, func: Any, input: Any, other: Any) -> Made:
    made = func(input, other)
    parameter, data, at = _broadcast(collector, made, input, other)
    held = collector.hold(data) if isinstance(data, Tensor) else made.new_tensor(data)
    return made, lambda delta: {id(parameter): sum_to(delta * held, parameter.shape, at)}, [held]


def _broadcast(collector: Collector, made: Tensor, input: Any, other: Any) -> tuple[Tensor, Any, int]:
    """The parameter, what it meets, and the dimension of the rows."""
    parameter, data = (input, other) if collector.key(input) is not None else (other, input)
    if collector.key(data) is not None or collector.rows not in made.shape:
        raise Unknown
    at = made.shape.index(collector.rows)
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
