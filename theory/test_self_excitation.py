"""Self-excitation and Baird's star: every step, mutants, and seem's kernel and spectrum on the same models."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from seem.networks import MLP, Critic, MLPConfig
from seem.ntk import gram_blocks
from seem.spectrum import eigenvalues, seem_matrix
from theory import baird, self_excitation
from theory.derivation import assert_step

STEPS = [s for module in (self_excitation, baird) for d in module.DERIVATIONS for s in d.steps]
(STAR,) = baird.DERIVATIONS


@pytest.mark.claim("SELF-EXCITATION")
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_step(step):
    assert_step(step)


@pytest.mark.parametrize("name", ["threshold", "discriminant", "finite-step-threshold", "exact-iteration"])
def test_mutants_are_caught(name):
    mutant = replace(STAR[name], right=STAR[name].right.subs(baird.GAMMA, baird.GAMMA + 1))
    assert not mutant.follows()
    assert not mutant.agrees_numerically(np.random.default_rng(0))


def linear(inputs: int) -> MLP:
    config = MLPConfig(depth=1, bias=False)
    return MLP(inputs, 1, config, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def star() -> tuple[MLP, torch.Tensor, torch.Tensor]:
    """A linear seem critic on Baird's features."""
    phi = torch.tensor(baird.features().tolist(), dtype=torch.float64)
    return linear(8), phi, phi[-1:].expand(7, -1).contiguous()


def star_spectrum(discount: float) -> torch.Tensor:
    blocks = gram_blocks(*star())
    return eigenvalues(seem_matrix(*blocks, discount, torch.zeros(7, dtype=torch.float64)))


@pytest.mark.claim("BAIRD-THRESHOLD")
@pytest.mark.parametrize("discount", [0.3, 0.6, 0.85, 0.9, 0.97, 0.98, 0.99])
def test_spectrum_of_the_star(discount):
    spectrum = star_spectrum(discount).numpy()
    expected = [complex(baird.leading(sign).subs(baird.GAMMA, discount).evalf()) for sign in (1, -1)]
    expected = sorted([*expected, *[-4] * 5], key=lambda value: (-value.real, -value.imag))
    # 1e-7: where the pair meets at the window's edge eigenvalues move as the root of the rounding.
    assert spectrum == pytest.approx(np.array(expected), abs=1e-7)
    inside = float(baird.WINDOW_LOWER) < discount < float(baird.WINDOW_UPPER)
    assert (spectrum[0].imag > 1e-6) == inside
    assert (spectrum[0].real > 0) == (discount > 15 / 17)


@pytest.mark.claim("BAIRD-WINDOW")
def test_window_and_threshold_are_the_recorded_numbers():
    assert float(baird.WINDOW_UPPER) == pytest.approx(0.9757567, abs=1e-7)
    assert float(baird.WINDOW_LOWER) == pytest.approx(0.4290877, abs=1e-7)
    assert float(baird.THRESHOLD) == pytest.approx(0.8823529, abs=1e-7)


def iterate(discount: float, eta: float, steps: int) -> np.ndarray:
    """‖u‖ of the semi-gradient iteration on the star, by torch."""
    network, x, x_next = star()
    weight = network.linears[0].weight.data
    weight.copy_(torch.tensor([[1.0, 1, 1, 1, 1, 1, 10, 1]]))
    norms = []
    for _ in range(steps):
        error = (x - discount * x_next) @ weight[0]
        weight -= eta * error @ x
        norms.append(error.norm().item())
    return np.array(norms)


def test_growth_of_the_star_is_one_plus_eta_lambda_on_the_real_branch_and_its_modulus_in_the_window():
    for discount in (0.99, 0.9):
        eta, norms = 0.01, iterate(discount, 0.01, 4000)
        value = complex(baird.leading().subs(baird.GAMMA, discount).evalf())
        gain = np.log(norms[3900] / norms[1900]) / 2000
        # In the window the norm also rotates, which leaves at most a factor of 10 over the 2000 steps.
        assert gain == pytest.approx(np.log(abs(1 + eta * value)), abs=1e-6 if discount == 0.99 else 1.2e-3)
        if discount == 0.9:
            assert abs(abs(1 + eta * value) - (1 + eta * value.real)) > 5e-5


@pytest.mark.claim("BAIRD-THRESHOLD")
def test_a_finite_step_lowers_the_threshold():
    """At γ = .87 < 15/17 a small step converges and η = .1 diverges: (15 - 2.6)/(17 - 2.6) = .861."""
    assert iterate(0.87, 0.005, 20_000)[-1] < 1
    assert iterate(0.87, 0.1, 20_000)[-1] > 1e6
    assert star_spectrum(0.87)[0].real < 0


@pytest.mark.claim("SELF-EXCITATION")
@pytest.mark.parametrize(
    ("x", "x_next", "discount"), [(1.0, 2.0, 0.9), (1.0, 2.0, 0.4), (1.0, 0.5, 0.99), (1.0, -3.0, 0.9)]
)
def test_one_parameter_model_in_seem(x, x_next, discount):
    points, following = torch.tensor([[x]]).double(), torch.tensor([[x_next]]).double()
    critic = Critic(1, 0, MLPConfig(depth=1, bias=False), generator=torch.Generator().manual_seed(0)).double()
    matrix = seem_matrix(*gram_blocks(critic, points, following), discount, torch.zeros(1).double())
    assert matrix.item() == pytest.approx(discount * x * x_next - x * x, rel=1e-15)
    assert (matrix.item() > 0) == (x_next > 0 and discount > x / x_next)


@pytest.mark.claim("EXCITATION-NORMS")
def test_two_rows_of_equal_norms_excite_each_other():
    """Φ = (1, .5), (-1, .5), Φ* = (0, 1.118) twice: all norms 1.118, eigenvalues .506 and -2 at γ = .9."""
    rows, following, discount = self_excitation.equal_norm_rows()
    x, x_next = (torch.tensor(np.array(block, dtype=float)) for block in (rows, following))
    assert torch.cat((x, x_next)).norm(dim=1).tolist() == pytest.approx([np.sqrt(1.25)] * 4)
    matrix = seem_matrix(*gram_blocks(linear(2), x, x_next), float(discount), torch.zeros(2, dtype=torch.float64))
    assert eigenvalues(matrix).real.tolist() == pytest.approx([0.9 * np.sqrt(1.25) - 0.5, -2])
    assert eigenvalues(matrix)[0].real > 0.5
    # One of the rows alone is not excited.
    for row in (0, 1):
        one = seem_matrix(*gram_blocks(linear(2), x[row : row + 1], x_next[:1]), 0.9, torch.zeros(1).double())
        assert one.item() < 0


@pytest.mark.claim("SELF-EXCITATION")
def test_extrapolation_is_needed_on_real_networks():
    """Wherever uᵀAu > 0, γ‖Φ*ᵀu‖ > ‖Φᵀu‖; both signs of uᵀAu occur."""
    signs = set()
    for seed in range(60):
        generator = torch.Generator().manual_seed(seed)
        network = MLP(4, 1, MLPConfig(depth=3, width=8), generator=generator, dtype=torch.float64)
        x = torch.randn(5, 4, generator=generator, dtype=torch.float64)
        x_next = x * (1.2 + torch.rand(5, 1, generator=generator, dtype=torch.float64) * (seed % 3))
        gram, gram_next = gram_blocks(network, x, x_next)
        far = gram_blocks(network, x_next, x_next)[0]
        u = torch.randn(5, generator=generator, dtype=torch.float64)
        grows = (u @ seem_matrix(gram, gram_next, 0.9, torch.zeros(5).double()) @ u).item() > 0
        signs.add(grows)
        if grows:
            assert 0.9 * (u @ far @ u).sqrt() > (u @ gram @ u).sqrt()
    assert signs == {True, False}
