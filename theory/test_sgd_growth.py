"""The SGD law: every step, its mutants, the assumptions that matter, and seem's formulas."""

import math
from dataclasses import replace

import numpy as np
import pytest
import sympy as sp
import torch

from seem.growth import SGDLaw
from seem.networks import Critic, MLPConfig
from seem.ntk import gram_blocks
from seem.spectrum import eigenvalues, seem_matrix
from theory import self_similar_ray as ray
from theory import sgd_growth as sgd
from theory.derivation import assert_step

STEPS = [(derivation, step) for derivation in ray.DERIVATIONS + sgd.DERIVATIONS for step in derivation.steps]
(EIGEN,) = ray.DERIVATIONS
LAW, LIMITS, LATEST = sgd.DERIVATIONS
DEPTHS = (2, 3, 4, 7)


@pytest.mark.claim("SGD-LAW")
@pytest.mark.parametrize(("derivation", "step"), STEPS, ids=lambda value: getattr(value, "name", ""))
def test_step(derivation, step):
    assert_step(step)


MUTANTS = {
    "a twice too large crash step": replace(LAW["crash"], left=2 * LAW["crash"].left),
    "C′ of a kernel of degree L": replace(LAW["bracket"], right=sgd.remaining(ray.L)),
    "the exponent of L + 1": replace(LAW["q-exponent"], right=LAW["q-exponent"].right.subs(ray.DEPTH_LESS_ONE, ray.L)),
    "an eigenvalue κ": replace(
        EIGEN["eigen-equation"], left=ray.seem_matrix() * ray.td_error() - ray.KAPPA * ray.td_error()
    ),
    "a reward without defect": replace(EIGEN["reward-defect"], right=EIGEN["eigen-equation"].right),
    "a rival that is linear": replace(LIMITS["rival"], right=sp.Integer(0)),
    "no motion of the kernel": replace(LAW["inverse-slope"], right=-sgd.EXPONENT * sgd.ETA),
}


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_mutants_fail(mutant):
    assert mutant.check_numerically(np.random.default_rng(0)) > 1e-3


@pytest.mark.claim("SGD-LAW")
@pytest.mark.parametrize("depth", DEPTHS)
def test_growth_package_uses_the_derived_formulas(depth):
    law, at_depth = SGDLaw(depth), {ray.DEPTH_LESS_ONE: depth - 1}
    assert law.exponent == float(sgd.EXPONENT.subs(at_depth))
    for rate in (1e-9, 1e-3, 0.7):
        assert law.steps_to_blow_up(rate) == pytest.approx(float(sgd.crash_in(rate).subs(at_depth)), rel=1e-15)
    assert law.linearise([2.0, 5.0]) == pytest.approx([float(q ** -sgd.EXPONENT.subs(at_depth)) for q in (2, 5)])


@pytest.mark.claim("SGD-ONE-LAYER")
def test_linear_critic_never_blows_up():
    law = SGDLaw(1)
    assert law.exponent == float(sgd.EXPONENT.subs(ray.DEPTH_LESS_ONE, 0))
    assert law.steps_to_blow_up(0.5) == math.inf
    assert law.linearise([math.e]) == pytest.approx([1])


@pytest.mark.claim("SGD-ALIGNMENT")
def test_alignment_is_needed():
    """Off the ray Au is no multiple of u: a network of depth 2 on two transitions of two components."""
    inputs, following = sp.Matrix([[1, 2], [3, 1]]), sp.Matrix([[2, 5], [4, 1]])
    head, first = sp.Matrix([1, 2]), sp.Matrix([[3, 1], [1, 1]])

    def jacobian(rows):
        return sp.Matrix.hstack(rows * first.T, *(rows * weight for weight in head))

    weights = sp.Matrix([*head, *first])
    error = (jacobian(inputs) - jacobian(following)) * weights / 2
    moved = (jacobian(following) - jacobian(inputs)) * jacobian(inputs).T * error
    assert jacobian(inputs) * weights == 2 * inputs * first.T * head, "Euler's identity holds"
    assert sp.Matrix.hstack(moved, error).rank() == 2


def aligned_run(depth: int, factor: float = 1.5, discount: float = 0.99):
    """Critic trained on X* = factor·X by small semi-gradient steps that double ‖θ‖ again and again."""
    critic = Critic(
        3,
        2,
        MLPConfig(depth=depth, width=6, bias=False),
        generator=torch.Generator().manual_seed(1),
        dtype=torch.float64,
    )
    x = torch.randn(6, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    excess = discount * factor - 1
    for _ in range(600):
        values = critic(x).squeeze(1)
        gradients = torch.autograd.grad(values @ values.detach() * excess, list(critic.parameters()))
        norm = torch.stack([p.detach().norm() for p in critic.parameters()]).norm()
        speed = 0.02 * norm / torch.stack([g.norm() for g in gradients]).norm()
        with torch.no_grad():
            for parameter, gradient in zip(critic.parameters(), gradients, strict=True):
                parameter += speed * gradient
    gram, gram_next = gram_blocks(critic, x, factor * x)
    matrix = seem_matrix(gram, gram_next, discount, torch.zeros(6, dtype=torch.float64))
    values = critic(x).squeeze(1).detach()
    return critic, x, matrix, -excess * values, values


@pytest.mark.claim("SGD-CRASH-STEP")
@pytest.mark.parametrize("depth", [2, 3])
def test_eigen_equation_on_a_trained_network(depth):
    critic, _, matrix, error, values = aligned_run(depth)
    norm_squared = sum(p.detach().square().sum() for p in critic.parameters())
    kappa = -depth * (error @ values) / norm_squared
    # The run has aligned to a cosine of about .999, so the defect is a few hundredths.
    assert (matrix @ error - depth * kappa * error).norm() < 0.05 * depth * kappa * error.norm()
    assert eigenvalues(matrix)[0].real.item() == pytest.approx(depth * kappa.item(), rel=0.05)
    assert eigenvalues(matrix)[0].real.item() >= depth * kappa.item(), "the latest crash uses the smaller rate"
