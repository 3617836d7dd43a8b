"""The TD iteration: every step, its mutants, and the order of the remainder on seem's networks."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from seem.networks import MLP, Critic, MLPConfig
from seem.ntk import gram_blocks
from seem.spectrum import seem_matrix
from theory import td_iteration as td
from theory.derivation import assert_step

(DERIVATION,) = td.DERIVATIONS
FIRST_ORDER = DERIVATION["first-order"]
DISCOUNT = 0.9
SMOOTH = [
    MLPConfig(depth=2, width=12, activation="tanh"),
    MLPConfig(depth=3, width=10, activation="gelu"),
    MLPConfig(depth=3, width=10, activation="silu", normalisation="layer"),
]


@pytest.mark.claim("TD-ITERATION")
@pytest.mark.parametrize("step", DERIVATION.steps, ids=lambda step: step.name)
def test_step(step):
    assert_step(step)


def unmasked():
    weights, critic = td.SMOOTH_WEIGHTS, td.smooth_critic
    return td.GAMMA * td.gram(critic, weights, td.X_NEXT, td.X) - td.gram(critic, weights, td.X, td.X)


def transposed():
    weights, critic = td.SMOOTH_WEIGHTS, td.smooth_critic
    return td.GAMMA * td.mask() * td.gram(critic, weights, td.X, td.X_NEXT) - td.gram(critic, weights, td.X, td.X)


def wrong_sign():
    return -td.seem_matrix(td.smooth_critic, td.SMOOTH_WEIGHTS)


def masked_columns():
    weights, critic = td.SMOOTH_WEIGHTS, td.smooth_critic
    return td.GAMMA * td.gram(critic, weights, td.X_NEXT, td.X) * td.mask() - td.gram(critic, weights, td.X, td.X)


@pytest.mark.claim("TD-MATRIX")
@pytest.mark.parametrize("wrong", [unmasked, transposed, wrong_sign, masked_columns])
def test_a_wrong_matrix_leaves_a_residual_and_disagrees_numerically(wrong):
    mutant = replace(FIRST_ORDER, right=wrong() * td.ERROR)
    assert not mutant.follows()
    assert mutant.check_numerically(np.random.default_rng(0)) > 1e-3


def test_transposed_blocks_are_only_visible_off_the_diagonal():
    """With one transition, or X* = X, the transposed matrix would pass: two transitions are needed."""
    weights, critic = td.SMOOTH_WEIGHTS, td.smooth_critic
    right = td.gram(critic, weights, td.X_NEXT, td.X)
    assert right[0, 0] == td.gram(critic, weights, td.X, td.X_NEXT)[0, 0]
    same = {z: x for x, z in zip(td.X, td.X_NEXT, strict=True)}
    assert right.subs(same) == right.subs(same).T


class Case:
    """A seem critic with a batch, and its TD error as a function of the parameters."""

    def __init__(self, config: MLPConfig, rows: int = 8) -> None:
        generator = torch.Generator().manual_seed(3)
        self.critic = Critic(3, 2, config, generator=generator, dtype=torch.float64)
        self.x, self.x_next = torch.randn(2, rows, 5, generator=generator, dtype=torch.float64)
        self.rewards = torch.randn(rows, generator=generator, dtype=torch.float64)
        self.terminals = (torch.arange(rows) % 3 == 0).double()
        self.gram, self.gram_next = gram_blocks(self.critic, self.x, self.x_next)

    def error(self) -> torch.Tensor:
        with torch.no_grad():
            bootstrap = DISCOUNT * (1 - self.terminals) * self.critic(self.x_next).squeeze(1)
            return self.critic(self.x).squeeze(1) - self.rewards - bootstrap

    def stepped(self, eta: float) -> torch.Tensor:
        """The TD error after one semi-gradient step of torch's mean-squared loss, lr = η M / 2."""
        parameters = list(self.critic.parameters())
        target = self.critic(self.x).squeeze(1).detach() - self.error()
        loss = torch.nn.functional.mse_loss(self.critic(self.x).squeeze(1), target)
        gradients = torch.autograd.grad(loss, parameters)
        saved = [p.detach().clone() for p in parameters]
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter -= eta * len(self.x) / 2 * gradient
            error = self.error()
            for parameter, value in zip(parameters, saved, strict=True):
                parameter.copy_(value)
        return error

    def slope(self, matrix: torch.Tensor) -> float:
        """Log-log slope in η of ‖u(η) - (I + ηA)u‖ over halved steps."""
        error = self.error()
        etas = [2.0**-k for k in range(8, 13)]
        gaps = [(self.stepped(eta) - error - eta * matrix @ error).norm().item() for eta in etas]
        return float(np.polyfit(np.log(etas), np.log(gaps), 1)[0])


@pytest.mark.claim("TD-ITERATION")
@pytest.mark.parametrize("config", SMOOTH, ids=str)
def test_remainder_on_real_networks_is_of_second_order(config):
    case = Case(config)
    matrix = seem_matrix(case.gram, case.gram_next, DISCOUNT, case.terminals)
    # Steps of 2^-8 and below: the third-order term bends the slope by a few hundredths.
    assert case.slope(matrix) == pytest.approx(2, abs=0.1)


@pytest.mark.claim("TD-MATRIX")
@pytest.mark.parametrize("config", SMOOTH, ids=str)
def test_wrong_matrices_leave_a_first_order_gap_on_real_networks(config):
    case = Case(config)
    unmasked_matrix = seem_matrix(case.gram, case.gram_next, DISCOUNT, torch.zeros_like(case.terminals))
    transposed_matrix = seem_matrix(case.gram, case.gram_next.T, DISCOUNT, case.terminals)
    for wrong in (unmasked_matrix, transposed_matrix):
        assert case.slope(wrong) == pytest.approx(1, abs=0.1)


@pytest.mark.claim("TD-LINEAR")
def test_remainder_of_a_linear_critic_is_rounding():
    case = Case(MLPConfig(depth=1))
    matrix = seem_matrix(case.gram, case.gram_next, DISCOUNT, case.terminals)
    error = case.error()
    gap = case.stepped(0.25) - error - 0.25 * matrix @ error
    # A hundred products of numbers of order 10 in float64.
    assert gap.abs().max() < 1e-12 * matrix.norm() * error.norm()


@pytest.mark.claim("TD-KINK")
def test_on_a_kink_the_iteration_fails_at_first_order():
    """An input exactly on a ReLU's kink has gradient 0 there but moves at order η: differentiability is needed."""
    network = MLP(2, 1, MLPConfig(depth=2, width=1, bias=False), generator=torch.Generator().manual_seed(0)).double()
    x = torch.tensor([[1.0, 0.0], [1.0, 1.0]]).double()
    with torch.no_grad():
        network.linears[0].weight.copy_(torch.tensor([[0.0, 1.0]]))
        network.linears[1].weight.fill_(1.0)
    gram, _ = gram_blocks(network, x, x)
    error = torch.tensor([0.0, -1.0]).double()
    before = network(x).squeeze(1).detach()
    gradients = torch.autograd.grad(network(x).squeeze(1) @ error, list(network.parameters()))
    for eta in (1e-3, 1e-5):
        moved = {name: p - eta * g for (name, p), g in zip(network.named_parameters(), gradients, strict=True)}
        after = torch.func.functional_call(network, moved, (x,)).squeeze(1).detach()
        gap = (after - before + eta * gram @ error) / eta
        assert gap[0].item() == pytest.approx(1, abs=1e-2)
        assert abs(gap[1].item()) < 10 * eta
