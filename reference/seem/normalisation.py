"""Normalisations of a perceptron's hidden layers, all built from torch's own modules.

Two families: modules between a linear layer and its non-linearity (LayerNorm, RMSNorm, GroupNorm,
BatchNorm, LayerScale), and parametrisations of the layer's weights (WeightNorm, spectral norm).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from seem.errors import InputError

NORMALISATIONS = ("none", "layer", "rms", "group", "batch", "weight", "spectral", "scale")
"""Kinds of normalisation; "group" and "scale" take an option, as in "group:8" and "scale:0.1"."""
OPTIONS = {"group": 32.0, "scale": 1.0}
"""Number of groups (the default is of Wu and He 2018, 1803.08494) and initial gain of a LayerScale."""


def parse(text: str) -> tuple[str, float]:
    """Kind and option of a normalisation.

    Args:
        text: One of `NORMALISATIONS`, or "group:G" for G groups, or "scale:S" for an initial gain of S.

    Returns:
        The kind, and its option; 0 for a kind without one.

    Raises:
        InputError: When the kind is unknown, or its option is none.

    Example:
        >>> parse("layer"), parse("group:8"), parse("scale")
        (('layer', 0.0), ('group', 8.0), ('scale', 1.0))
    """
    kind, colon, written = text.partition(":")
    if kind not in NORMALISATIONS:
        raise InputError(f"unknown normalisation {text!r}: choose one of {', '.join(NORMALISATIONS)}")
    if not colon:
        return kind, OPTIONS.get(kind, 0.0)
    if kind not in OPTIONS:
        raise InputError(f"normalisation {text!r} has an option that {kind} does not take: pass {kind!r}")
    try:
        return kind, float(written)
    except ValueError:
        raise InputError(f"normalisation {text!r} has no number after the colon: pass one, as in group:8") from None


def check(text: str, width: int, affine: bool, epsilon: float) -> None:
    """Refuse a normalisation that cannot be.

    Args:
        text: As in `parse`.
        width: Units of a hidden layer.
        affine: Whether there is a learnable gain, and shift where the kind has one.
        epsilon: Added to the variance or the mean square.

    Raises:
        InputError: When no such normalisation exists.
    """
    kind, option = parse(text)
    if kind == "group" and (not option.is_integer() or option < 1 or width % option or width == option):
        raise InputError(
            f"{option:g} groups do not split width {width} into equal groups of 2 units or more: "
            "pass group:G with another G, or change the width"
        )
    if kind == "scale" and not abs(option) < float("inf"):
        raise InputError(f"LayerScale's initial gain {option} is impossible: pass a finite number")
    if kind in ("weight", "scale") and not affine:
        raise InputError(f"normalisation {kind!r} has a gain that is always learnable: leave affine on")
    if kind == "batch" and epsilon == 0:
        raise InputError("BatchNorm needs a positive epsilon: torch trains no other")


class LayerScale(nn.Module):
    r"""A learnable gain by unit, :math:`g \circ z`, without statistics.

    Source: Touvron et al. 2021 (2103.17239), there on residual branches.

    Args:
        width: Number of units.
        initial: Initial gain of every unit.
    """

    def __init__(self, width: int, initial: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((width,), initial, dtype=torch.float64))

    def forward(self, z: Float[Tensor, "N width"]) -> Float[Tensor, "N width"]:
        """The rows ``z`` times the gain."""
        return self.weight * z


def build(text: str, width: int, affine: bool, epsilon: float) -> nn.Module:
    """The module before a non-linearity.

    Args:
        text: As in `parse`.
        width: Number of units.
        affine: Whether the module has a learnable gain (and a shift, RMSNorm and LayerScale apart).
        epsilon: Added to the variance or the mean square.

    Returns:
        The module, float64 on the CPU; the identity for kinds that act on weights, and for "none".
    """
    kind, option = parse(text)
    dtype = torch.float64
    if kind == "layer":
        return nn.LayerNorm(width, eps=epsilon, elementwise_affine=affine, dtype=dtype)
    if kind == "rms":
        return nn.RMSNorm(width, eps=epsilon, elementwise_affine=affine, dtype=dtype)
    if kind == "group":
        return nn.GroupNorm(int(option), width, eps=epsilon, affine=affine, dtype=dtype)
    if kind == "batch":
        return nn.BatchNorm1d(width, eps=epsilon, affine=affine, dtype=dtype)
    if kind == "scale":
        return LayerScale(width, option)
    return nn.Identity()


def parametrise(text: str, linear: nn.Linear) -> None:
    """Put WeightNorm or the spectral norm on a layer's weights, in place; other kinds leave them alone.

    The power iteration of the spectral norm starts at its fixed point, the leading singular vectors, so that
    they follow from the weights alone.

    Args:
        text: As in `parse`.
        linear: A layer on the CPU.
    """
    kind, _ = parse(text)
    if kind == "weight":
        weight_norm(linear)
    elif kind == "spectral":
        left, _, right = torch.linalg.svd(linear.weight.detach())
        with torch.random.fork_rng(devices=[]):  # torch draws first vectors from its global generator
            spectral_norm(linear)
        vectors = linear.get_submodule("parametrizations.weight.0")
        vectors.get_buffer("_u").copy_(left[:, 0])
        vectors.get_buffer("_v").copy_(right[0])


def standardised(norm: nn.Module, z: Float[Tensor, "N width"]) -> Float[Tensor, "N width"]:
    """What a module of `build` multiplies by its gain.

    Args:
        norm: LayerNorm, RMSNorm, GroupNorm, BatchNorm in evaluation mode, or LayerScale.
        z: Pre-activations, shape (N, width).

    Returns:
        The normalised pre-activations before gain and shift, shape (N, width).
    """
    if isinstance(norm, nn.LayerNorm):
        return functional.layer_norm(z, norm.normalized_shape, eps=norm.eps)
    if isinstance(norm, nn.RMSNorm):
        return functional.rms_norm(z, norm.normalized_shape, eps=norm.eps)
    if isinstance(norm, nn.GroupNorm):
        return functional.group_norm(z, norm.num_groups, eps=norm.eps)
    if isinstance(norm, nn.BatchNorm1d):
        return functional.batch_norm(z, norm.running_mean, norm.running_var, eps=norm.eps)
    return z
