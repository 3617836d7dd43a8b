"""Multi-head attention out of linear maps and a softmax, as ``torch.nn.functional`` defines it."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def attention(  # noqa: PLR0913 - the arguments are torch's
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Any]:
    """What `torch.nn.functional.multi_head_attention_forward` computes, in operations that can be watched.

    Args:
        query: Shape (L, M, E), the rows second, as the function takes it; unbatched (L, E) too.
        key: Likewise (S, M, E).
        value: Likewise (S, M, E).

    Returns:
        The attention's output, and its weights when asked for.

    Raises:
        NotImplementedError: On the function's rarer options.
    """
    rare = (bias_k, bias_v, static_k, static_v, True if add_zero_attn else None)
    if any(part is not None for part in rare) or (training and dropout_p > 0) or query.ndim != 3:
        raise NotImplementedError("attention with added keys, dropout or without rows")
    biases = (None,) * 3 if in_proj_bias is None else in_proj_bias.chunk(3)
    if use_separate_proj_weight:
        weights = (q_proj_weight, k_proj_weight, v_proj_weight)
    else:
        assert in_proj_weight is not None
        weights = in_proj_weight.chunk(3)
    if query is key and key is value and not use_separate_proj_weight:
        assert in_proj_weight is not None
        parts = functional.linear(query, in_proj_weight, in_proj_bias).chunk(3, -1)
    else:
        triples = zip((query, key, value), weights, biases, strict=True)
        parts = tuple(functional.linear(x, w, b) for x, w, b in triples)  # type: ignore[arg-type]
    # (length, rows, width) becomes (rows, heads, length, width of a head).
    q, k, v = (part.unflatten(-1, (num_heads, -1)).permute(1, 2, 0, 3) for part in parts)
    scores = q @ k.mT / q.shape[-1] ** 0.5
    for mask, shape in ((attn_mask, None), (key_padding_mask, (len(k), 1, 1, -1))):
        if mask is None:
            continue
        wide = mask.reshape(shape) if shape else mask
        if wide.ndim == 3:
            wide = wide.reshape(len(q), num_heads, *wide.shape[1:])
        scores = scores.masked_fill(wide, float("-inf")) if wide.dtype == torch.bool else scores + wide
    chances = scores.softmax(-1)
    mixed = (chances @ v).permute(2, 0, 1, 3).flatten(2)
    made = functional.linear(mixed, out_proj_weight, out_proj_bias)
    if not need_weights:
        return made, None
    return made, chances.mean(1) if average_attn_weights else chances
