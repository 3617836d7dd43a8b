"""A perceptron written out in symbols, for the derivations that need a real one."""

from itertools import pairwise

import sympy as sp

C = sp.Symbol("c", positive=True)
WIDTH = 2


class Network:
    """A perceptron with explicit symbols: width 2, scalar output, gates for the non-linearity.

    Attributes:
        depth: Number L of weight matrices.
        weights: One matrix a layer.
        biases: One column a layer.
    """

    def __init__(self, depth: int) -> None:
        sizes = [WIDTH] * depth + [1]
        self.depth = depth
        self.weights = [
            sp.Matrix(n, m, lambda i, j, layer=layer: sp.Symbol(f"w{layer}_{i}{j}", real=True))
            for layer, (m, n) in enumerate(pairwise(sizes), start=1)
        ]
        self.biases = [
            sp.Matrix(n, 1, lambda i, _, layer=layer: sp.Symbol(f"b{layer}_{i}", real=True))
            for layer, n in enumerate(sizes[1:], start=1)
        ]

    def value(self, name: str = "x", biased: bool = False) -> sp.Expr:
        """Output at the input ``name``; its gates carry the name too, as each input has its own."""
        hidden = sp.Matrix(sp.symbols(f"{name}_0:{WIDTH}", real=True))
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True), start=1):
            hidden = weight * hidden + (bias if biased else sp.zeros(*bias.shape))
            if layer < self.depth:
                gates = sp.symbols(f"g{name}{layer}_0:{WIDTH}", integer=True, nonnegative=True)
                hidden = sp.diag(*gates) * hidden
        return sp.expand(hidden[0])

    @property
    def parameters(self) -> list[sp.Symbol]:
        """All weights."""
        return [entry for weight in self.weights for entry in weight]

    def scaling(self, exponents: list[int], biases: list[int] | None = None) -> dict[sp.Symbol, sp.Expr]:
        """Layer l times c^exponents[l], biases alike if given."""
        scaled = {entry: C**e * entry for weight, e in zip(self.weights, exponents, strict=True) for entry in weight}
        for bias, e in zip(self.biases, biases or [0] * self.depth, strict=True):
            scaled |= {entry: C**e * entry for entry in bias}
        return scaled


def gradient(value: sp.Expr, parameters: list[sp.Symbol]) -> sp.MatrixBase:
    """∇f as a column."""
    return sp.Matrix([value]).jacobian(parameters).T
