"""Twin critics: every step, its mutants, seem's block matrix, and two real critics with the smaller target."""

from dataclasses import replace

import numpy as np
import pytest
import sympy as sp
import torch

from seem.networks import Critic, MLPConfig
from seem.ntk import gram_blocks
from seem.spectrum import eigenvalues, seem_matrix, twin_seem_matrix
from theory import twin_min as twin
from theory.derivation import assert_step
from theory.self_similar_ray import ETA, GAMMA

STEPS = [step for derivation in twin.DERIVATIONS for step in derivation.steps]
SYSTEM, REDUCTION, SMOOTHING = twin.DERIVATIONS
CURVED = SMOOTHING["kernel-curvature"]
DISCOUNT = 0.9


@pytest.mark.claim("TWIN-BLOCK")
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_step(step):
    assert_step(step)


def swapped_choice():
    grams = [phi * phi.T for phi in twin.PHI]
    grams_next = [following * phi.T for following, phi in zip(twin.PHI_NEXT, twin.PHI, strict=True)]
    return ETA * twin.block_matrix(grams, grams_next, sp.eye(2) - twin.CHOICE) * sp.Matrix.vstack(*twin.ERRORS)


MUTANTS = {
    "the larger target": replace(SYSTEM["system"], right=swapped_choice()),
    "no discount": replace(SYSTEM["system"], right=SYSTEM["system"].right.subs(GAMMA, 1)),
    "kernels do not matter": replace(
        REDUCTION["difference"], right=-twin.PHI[0] * twin.PHI[0].T * (twin.ERRORS[0] - twin.ERRORS[1])
    ),
    "smoothing without spread": replace(CURVED, right=CURVED.right.subs(sp.Symbol("sigma", positive=True), 0)),
}


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_mutants_fail(mutant):
    assert mutant.check_numerically(np.random.default_rng(0)) > 1e-3


@pytest.mark.claim("TWIN-BLOCK")
@pytest.mark.parametrize("pattern", [(0, 0), (0, 1), (1, 1)])
def test_package_matrix_is_the_derived_one(pattern):
    rng = np.random.default_rng(3)
    grams, grams_next = rng.normal(size=(2, 2, 2)), rng.normal(size=(2, 2, 2))
    derived = twin.block_matrix([sp.Matrix(g) for g in grams], [sp.Matrix(g) for g in grams_next], sp.diag(*pattern))
    tensors = [tuple(torch.tensor(g) for g in blocks) for blocks in (grams, grams_next)]
    zero = torch.zeros(2, dtype=torch.float64)
    ours = twin_seem_matrix(*tensors, DISCOUNT, zero, torch.tensor(pattern, dtype=torch.float64))
    expected = np.array(derived.subs(GAMMA, DISCOUNT).tolist(), dtype=float)
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-14)


class Twins:
    """Two seem critics on one batch, their smaller target and their TD errors."""

    def __init__(self, seeds=(1, 2)) -> None:
        config = MLPConfig(depth=2, width=16, activation="tanh")
        self.critics = [
            Critic(3, 2, config, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) for seed in seeds
        ]
        self.x, self.x_next = torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(7), dtype=torch.float64)

    def errors(self) -> torch.Tensor:
        with torch.no_grad():
            target = DISCOUNT * torch.minimum(*(critic(self.x_next).squeeze(1) for critic in self.critics))
            return torch.cat([critic(self.x).squeeze(1) - target for critic in self.critics])

    def step(self, eta: float) -> None:
        for critic, error in zip(self.critics, self.errors().chunk(2), strict=True):
            parameters = list(critic.parameters())
            gradients = torch.autograd.grad(critic(self.x).squeeze(1) @ error, parameters)
            with torch.no_grad():
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    parameter -= eta * gradient

    def matrix(self) -> torch.Tensor:
        blocks = [gram_blocks(critic, self.x, self.x_next) for critic in self.critics]
        with torch.no_grad():
            first, second = (critic(self.x_next).squeeze(1) for critic in self.critics)
        grams, grams_next = zip(*blocks, strict=True)
        return twin_seem_matrix(
            grams, grams_next, DISCOUNT, torch.zeros(6, dtype=torch.float64), (first <= second).double()
        )


@pytest.mark.claim("TWIN-BLOCK")
def test_first_order_on_real_twins():
    gaps = []
    for eta in (2.0**-9, 2.0**-10, 2.0**-11):
        twins = Twins()
        before, matrix = twins.errors(), twins.matrix()
        twins.step(eta)
        gaps.append((twins.errors() - before - eta * matrix @ before).norm().item())
    # A remainder of second order quarters when the step is halved.
    assert gaps[0] / gaps[1] == pytest.approx(4, rel=0.1)
    assert gaps[1] / gaps[2] == pytest.approx(4, rel=0.1)


@pytest.mark.claim("TWIN-EQUAL")
def test_equal_kernels_have_the_spectrum_of_one_critic():
    """Twins from one seed: every choice of the smaller target leaves the spectrum of A and of -G."""
    twins = Twins(seeds=(1, 1))
    gram, gram_next = gram_blocks(twins.critics[0], twins.x, twins.x_next)
    zero = torch.zeros(6, dtype=torch.float64)
    single = eigenvalues(seem_matrix(gram, gram_next, DISCOUNT, zero))
    expected = torch.cat((single, -torch.linalg.eigvalsh(gram).to(single.dtype)))
    for bits in (0b000000, 0b010011, 0b111111):
        choice = torch.tensor([float(bits >> i & 1) for i in range(6)], dtype=torch.float64)
        both = eigenvalues(twin_seem_matrix((gram, gram), (gram_next, gram_next), DISCOUNT, zero, choice))
        distances = (both[:, None] - expected[None]).abs()
        # Eigenvalues of a non-normal matrix of this size are good to about 1e-9 of its norm.
        assert max(distances.min(0).values.max(), distances.min(1).values.max()) < 1e-7 * gram.norm()


@pytest.mark.claim("TWIN-THRESHOLD")
def test_unequal_kernels_can_move_the_threshold():
    """G_1 ≠ G_2 matters: two stable critics whose minimum is unstable."""
    grams, grams_next = (torch.eye(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64)), []
    grams_next.append(torch.tensor([[0.0, 3.0], [0.0, 0.0]], dtype=torch.float64))
    grams_next.append(torch.tensor([[0.0, 0.0], [3.0, 0.0]], dtype=torch.float64))
    zero = torch.zeros(2, dtype=torch.float64)
    for gram, gram_next in zip(grams, grams_next, strict=True):
        assert eigenvalues(seem_matrix(gram, gram_next, DISCOUNT, zero))[0].real < 0
    choice = torch.tensor([1.0, 0.0], dtype=torch.float64)
    assert eigenvalues(twin_seem_matrix(grams, tuple(grams_next), DISCOUNT, zero, choice))[0].real > 1
