"""Multi-head attention out of linear maps and a softmax, as ``torch.nn.functional`` defines it."""

import inspect
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

SIGNATURE = inspect.signature(functional.multi_head_attention_forward)


def attention(query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Any]:
    """What `torch.nn.functional.multi_head_attention_forward` computes, in operations whose parameters can be traced.

    Args:
        query: Shape (L, M, E), the rows second, as the function takes it.
        key: Likewise (S, M, E).
        value: Likewise (S, M, E).
        *args: The function's further arguments.
        **kwargs: Likewise, by name.

    Returns:
        The attention's output, and its weights when asked for.

    Raises:
        NotImplementedError: On the function's rarer options.
    """
    bound = SIGNATURE.bind(query, key, value, *args, **kwargs)
    bound.apply_defaults()
    given = SimpleNamespace(**bound.arguments)
    rare = (given.bias_k, given.bias_v, given.static_k, given.static_v, given.add_zero_attn or None)
    if any(part is not None for part in rare) or (given.training and given.dropout_p > 0) or query.ndim != 3:
        raise NotImplementedError("attention with added keys, dropout or without rows")
    weight, bias, heads = given.in_proj_weight, given.in_proj_bias, given.num_heads
    if query is key and key is value and not given.use_separate_proj_weight:
        parts = functional.linear(query, weight, bias).chunk(3, -1)
    else:
        separate = (given.q_proj_weight, given.k_proj_weight, given.v_proj_weight)
        weights = separate if given.use_separate_proj_weight else weight.chunk(3)
        biases = (None,) * 3 if bias is None else bias.chunk(3)
        triples = zip((query, key, value), weights, biases, strict=True)
        parts = tuple(functional.linear(x, w, b) for x, w, b in triples)
    # (length, rows, width) becomes (rows, heads, length, width of a head).
    q, k, v = (part.unflatten(-1, (heads, -1)).permute(1, 2, 0, 3) for part in parts)
    scores = q @ k.mT / q.shape[-1] ** 0.5
    padding = given.key_padding_mask
    for mask in (given.attn_mask, None if padding is None else padding.reshape(len(k), 1, 1, -1)):
        if mask is None:
            continue
        wide = mask.reshape(len(q), heads, *mask.shape[1:]) if mask.ndim == 3 else mask
        scores = scores.masked_fill(wide, float("-inf")) if wide.dtype == torch.bool else scores + wide
    chances = scores.softmax(-1)
    mixed = (chances @ v).permute(2, 0, 1, 3).flatten(2)
    made = functional.linear(mixed, given.out_proj_weight, given.out_proj_bias)
    if not given.need_weights:
        return made, None
    return made, chances.mean(1) if given.average_attn_weights else chances
