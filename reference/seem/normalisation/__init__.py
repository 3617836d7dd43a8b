"""Normalisations of a perceptron's hidden layers; each kind is one record.

Two families: modules between a linear layer and its non-linearity, built from torch's own (`seem.normalisation.rows`
and `seem.normalisation.units`), and parametrisations of the layer's weights (`seem.normalisation.weights`). A new
kind is a record in one of these files and its entry in `RECORDS`.
"""

from seem.errors import InputError
from seem.normalisation.base import NoNormalisation, Normalisation
from seem.normalisation.rows import GroupNorm, LayerNorm, RMSNorm
from seem.normalisation.units import BatchNorm, LayerScale
from seem.normalisation.weights import SpectralNorm, WeightNorm

RECORDS: dict[str, type[Normalisation]] = {
    kind.name: kind
    for kind in (NoNormalisation, LayerNorm, RMSNorm, GroupNorm, BatchNorm, WeightNorm, SpectralNorm, LayerScale)
}
"""The record of every kind."""
NORMALISATIONS = tuple(RECORDS)
"""Kinds of normalisation; "group" and "scale" take an option, as in "group:8" and "scale:0.1"."""


def parse(text: str) -> Normalisation:
    """The record that a configuration means.

    Args:
        text: One of `NORMALISATIONS`, or "group:G" for G groups, or "scale:S" for an initial gain of S.

    Returns:
        The record, with its option.

    Raises:
        InputError: When the kind is unknown, or its option is none.

    Example:
        >>> parse("layer"), parse("group:8"), parse("scale")
        (LayerNorm(option=0.0), GroupNorm(option=8.0), LayerScale(option=1.0))
    """
    name, colon, written = text.partition(":")
    if name not in RECORDS:
        raise InputError(f"unknown normalisation {text!r}: choose one of {', '.join(NORMALISATIONS)}")
    kind = RECORDS[name]
    if not colon:
        return kind(kind.default or 0.0)
    if kind.default is None:
        raise InputError(f"normalisation {text!r} has an option that {name} does not take: pass {name!r}")
    try:
        return kind(float(written))
    except ValueError:
        raise InputError(f"normalisation {text!r} has no number after the colon: pass one, as in group:8") from None
