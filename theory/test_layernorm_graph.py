"""LayerNorm in networks with skip connections: every step, limits, and torch's own residual critic."""

import mpmath
import numpy as np
import pytest
import sympy as sp
import torch
from torch.nn.functional import layer_norm

from seem.ntk import gram_by_jacobians
from theory import layernorm_graph as graph
from theory.derivation import assert_step
from theory.layernorm_placement import DIRECTION, EXAMPLE_EPSILON, HEAD, SECOND, START

STEPS = [step for derivation in graph.DERIVATIONS for step in derivation.steps]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_step(step):
    assert_step(step)


def limits(final: bool) -> list[tuple[int, sp.Expr]]:
    """Degrees and limits; at t = 1e-20 every factor is near its own, so that the limit is one."""
    at_infinity, near = graph.kernel(final, sp.Integer(0)), graph.kernel(final, sp.Rational(1, 10**20))
    for (_, limit), (_, value) in zip(at_infinity, near, strict=True):
        # The factors are smooth in t with derivatives below 1e5 in this example.
        assert abs(sp.N(limit, 40) - sp.N(value, 40)) < mpmath.mpf("1e-15")
    return at_infinity


@pytest.mark.claim("LN-ANYWHERE")
def test_a_final_layernorm_leaves_finite_limits():
    assert [degree for degree, _ in limits(True)] == list(graph.DEGREES[True])
    assert max(graph.DEGREES[True]) == 0


@pytest.mark.claim("LN-BRANCHES")
def test_without_a_final_layernorm_the_skip_connection_grows():
    """The shares of the head and of the embedding are linear in ρ, with slopes that are not zero together."""
    factors = limits(False)
    assert [degree for degree, _ in factors] == list(graph.DEGREES[False])
    assert abs(sum(float(limit) for degree, limit in factors if degree == 1)) > 1


class Residual(torch.nn.Module):
    """The critic of the derivation."""

    def __init__(self, final: bool) -> None:
        super().__init__()
        arrays = {"head": HEAD.T, "second": SECOND, "first": graph.FIRST_SQUARE, "embedding": graph.EMBEDDING}
        for name, matrix in arrays.items():
            setattr(self, name, torch.nn.Parameter(torch.tensor(np.array(matrix, dtype=float))))
        self.final = final

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        stream = x @ self.embedding.T
        normal = layer_norm(stream @ self.first.T, (3,), eps=float(graph.INNER_EPSILON))
        stream = stream + torch.relu(normal) @ self.second.T
        return (layer_norm(stream, (3,), eps=float(EXAMPLE_EPSILON)) if self.final else stream) @ self.head.T


@pytest.mark.parametrize("final", [False, True])
@pytest.mark.parametrize("length", [0, 1, 8, 1000])
def test_the_derived_shares_add_up_to_the_kernel_of_the_network(final, length):
    x0, v = (torch.tensor(np.array(x.T, dtype=float)) for x in (START, DIRECTION))
    derived = float(sum(graph.plain_kernel(final, sp.Integer(length))))
    # Thirty roundings.
    assert gram_by_jacobians(Residual(final), x0, x0 + length * v).item() == pytest.approx(derived, rel=1e-14)
