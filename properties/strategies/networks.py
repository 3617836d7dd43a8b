"""Strategies for critics and their inputs; they say what is valid, never how often."""

from dataclasses import dataclass

import torch
from hypothesis import strategies as st

from seem.networks import MLP, MLPConfig

PIECEWISE_LINEAR = ("relu", "leaky_relu", "identity")
"""Activations that are homogeneous of degree 1."""


@dataclass(frozen=True)
class Case:
    """A critic with inputs X and X*, all float64; its repr is the recipe."""

    config: MLPConfig
    inputs: int
    rows: int
    seed: int

    def draw(self) -> tuple[MLP, torch.Tensor, torch.Tensor]:
        """The network, X and X*, each (rows, inputs), from the case's own generator."""
        generator = torch.Generator().manual_seed(self.seed)
        network = MLP(self.inputs, 1, self.config, generator=generator, dtype=torch.float64)
        x, x_next = torch.randn(2, self.rows, self.inputs, generator=generator, dtype=torch.float64)
        return network, x, x_next


@st.composite
def configs(draw: st.DrawFn, *, activations: tuple[str, ...], bias: bool | None, normalised: bool | None) -> MLPConfig:
    """Shapes of perceptrons.

    Args:
        draw: Given by Hypothesis.
        activations: Which activations may be drawn.
        bias: Whether layers have biases; None draws it.
        normalised: Whether there is LayerNorm; None draws it.
    """
    depth = draw(st.integers(1, 4), label="depth")
    hidden = tuple(range(1, depth))
    placed = draw(st.sets(st.sampled_from(hidden), min_size=1), label="normalised layers") if hidden else None
    with_norm = hidden and (draw(st.booleans(), label="LayerNorm") if normalised is None else normalised)
    return MLPConfig(
        depth=depth,
        width=draw(st.integers(2, 6), label="width"),
        activation=draw(st.sampled_from(activations), label="activation"),
        bias=draw(st.booleans(), label="bias") if bias is None else bias,
        normalisation="layer" if with_norm else "none",
        normalised_layers=tuple(sorted(placed)) if with_norm and placed else None,
        affine=draw(st.booleans(), label="affine"),
        epsilon=draw(st.sampled_from((1e-5, 1e-2, 1.0)), label="epsilon"),
    )


@st.composite
def cases(
    draw: st.DrawFn,
    *,
    activations: tuple[str, ...] = ("relu", "leaky_relu", "tanh", "gelu", "silu", "elu", "identity"),
    bias: bool | None = None,
    normalised: bool | None = None,
) -> Case:
    """Critics with inputs; arguments as in `configs`."""
    return Case(
        config=draw(configs(activations=activations, bias=bias, normalised=normalised), label="config"),
        inputs=draw(st.integers(1, 4), label="inputs"),
        rows=draw(st.integers(1, 5), label="rows"),
        seed=draw(st.integers(0, 2**32 - 1), label="seed"),
    )


def powers_of_two(smallest: int = -8, largest: int = 8) -> st.SearchStrategy[float]:
    """Scales that multiply floating-point numbers without rounding."""
    return st.integers(smallest, largest).map(lambda exponent: 2.0**exponent)
