"""A Reading against numbers by hand, real gradient steps and Baird's star."""

import math
from dataclasses import asdict, replace

import pytest
import torch
from torch import nn

from reference.tests.spectrum_cases import SHAPES, critic_of, generator, linear, randn
from seem.heading import alignment
from seem.networks import Critic, MLPConfig
from seem.spectrum import take_reading


def hand_made_reading():
    """X = I, X* a rotation and a fourfold step, γ = 1/2: A = [[-1, -1], [1, -1]] ⊕ [1], and θ = (1, 2, -2)."""
    x = torch.eye(3, dtype=torch.float64)
    x_next = torch.tensor([[0.0, -2.0, 0.0], [2.0, 0.0, 0.0], [0.0, 0.0, 4.0]], dtype=torch.float64)
    error = torch.tensor([3.0, 0.0, 4.0], dtype=torch.float64)
    options = {"discount": 0.5, "lr": 0.75, "step": 7, "index": 1}
    return take_reading(linear([1.0, 2.0, -2.0]), x, x_next, error, torch.zeros(3, dtype=torch.float64), **options)


def test_a_reading_against_numbers_by_hand():
    expected = {
        "step": 7,
        "critic": 1,
        "rows": 3,
        "step_size": 0.5,  # 2·0.75/3
        "leading": 1.0,
        "leading_imaginary": 0.0,
        "second": -1.0,
        "trailing": -1.0,
        "normalised": 1 / math.sqrt(5),  # ‖A‖_F² = 4 + 1
        "numerical_abscissa": 1.0,
        "rayleigh": 0.28,  # Au = (-3, 3, 4); uᵀAu = -9 + 16 = 7 over uᵀu = 25
        "growth": math.sqrt(40.5) / 5,  # u + Au/2 = (1.5, 1.5, 6)
        "excitation_gain": 1.5,
        "overshoot_gain": math.sqrt(0.5),  # |1 + (-1 + i)/2|
        "alignment": 1 / 3,  # -u·θ = -(3 - 8) over 5·3
        "reciprocal_condition": 1 / math.sqrt(2),  # 1 beside |-1 ± i|
        "gradient_norm": 5.0,  # X = I
        "kernel_norm": math.sqrt(3),
        "td_norm": 5.0,
        "mean_abs_q": 5 / 3,
        "max_abs_q": 2.0,
        "parameter_norm": 3.0,
    }
    reading = hand_made_reading()
    # 1e-14: a dozen float64 operations on numbers of size 1.
    assert asdict(reading) == pytest.approx(expected, rel=1e-14, abs=1e-14)
    assert reading.rate == pytest.approx(0.5, rel=1e-14)


def test_a_complex_pair_counts_once():
    """γX* - I with a leading rotation: λ = 1 ± 2i, then -1."""
    x = torch.eye(3, dtype=torch.float64)
    x_next = torch.tensor([[4.0, -4.0, 0.0], [4.0, 4.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    zeros = torch.zeros(3, dtype=torch.float64)
    reading = take_reading(linear([1.0, 1.0, 1.0]), x, x_next, zeros, zeros, discount=0.5, lr=1.5)
    # 1e-14: eigenvalues of a 2 × 2 block.
    assert reading.leading == pytest.approx(1, abs=1e-14)
    assert reading.leading_imaginary == pytest.approx(2, abs=1e-14)
    assert reading.second == pytest.approx(-1, abs=1e-14)
    assert reading.excitation_gain == pytest.approx(math.hypot(2, 2), abs=1e-14)
    assert (reading.rayleigh, reading.growth, reading.alignment, reading.td_norm) == (0, 0, 0, 0)


def test_the_numerical_abscissa_sees_growth_that_no_eigenvalue_has():
    """A = [[-1, 4], [0, -1]] has λ = -1 twice, and grows at rate 1 along (1, 1)."""
    x = torch.eye(2, dtype=torch.float64)
    x_next = torch.tensor([[0.0, 4.0], [0.0, 0.0]], dtype=torch.float64)
    error = torch.ones(2, dtype=torch.float64)
    reading = take_reading(linear([1.0, 1.0]), x, x_next, error, torch.zeros(2).double(), discount=1.0, lr=0.1)
    # 1e-14 for a symmetric matrix and a quotient; 1e-7 for a defective eigenvalue, which rounds like its square root.
    assert reading.numerical_abscissa == pytest.approx(1, abs=1e-14)
    assert reading.rayleigh == pytest.approx(1, abs=1e-14)
    assert reading.leading == pytest.approx(-1, abs=1e-7)
    assert reading.excitation_gain == 1.0


def drawn_reading(config: MLPConfig, discount: float, seed: int = 0, dtype: torch.dtype = torch.float64):
    x, x_next, error = randn(6, 5, seed=seed), randn(6, 5, seed=seed + 50) * 1.5, randn(6, seed=seed + 99)
    terminals = torch.tensor([0, 0, 1, 0, 0, 0])
    arrays = (values.to(dtype) for values in (x, x_next, error, terminals))
    return take_reading(critic_of(config, dtype), *arrays, discount=discount, lr=0.3)


@pytest.mark.parametrize("config", SHAPES, ids=str)
def test_without_bootstrap_nothing_excites_itself(config):
    """γ = 0 leaves -G(X, X), which is negative semi-definite."""
    reading = drawn_reading(config, 0.0)
    # A kernel of lower rank has zero eigenvalues, which round to about 1e-16 of its norm.
    assert reading.leading <= 1e-14 * reading.kernel_norm
    assert reading.numerical_abscissa <= 1e-14 * reading.kernel_norm
    assert reading.trailing < 0


@pytest.mark.parametrize("config", SHAPES, ids=str)
@pytest.mark.parametrize("seed", range(5))
def test_orders_and_ranges_within_a_reading(config, seed):
    reading = drawn_reading(config, 0.99, seed)
    assert -1 <= reading.normalised <= 1
    assert -1 <= reading.alignment <= 1
    assert reading.trailing <= reading.second <= reading.leading
    # 1e-13: both are eigenvalues of a 6 × 6 matrix with a norm of about 30.
    assert max(reading.leading, reading.rayleigh) <= reading.numerical_abscissa + 1e-13 * reading.kernel_norm
    assert reading.mean_abs_q <= reading.max_abs_q
    assert reading.rows == 6
    assert reading.step_size == 2 * 0.3 / 6


@pytest.mark.parametrize("bias", [True, False])
def test_the_predicted_growth_is_the_real_one_for_a_linear_critic(bias):
    """A linear critic has no higher orders: ‖u'‖/‖u‖ after a real gradient step is what the reading says."""
    critic, x, x_next = critic_of(MLPConfig(depth=1, bias=bias)), randn(6, 5), randn(6, 5, seed=1) * 2
    rewards, terminals = randn(6, seed=2), torch.tensor([0, 1, 0, 0, 0, 0], dtype=torch.float64)

    def target():
        return rewards + 0.9 * (1 - terminals) * critic(x_next).squeeze(1)

    def error():
        return (critic(x).squeeze(1) - target()).detach()

    before = error()
    reading = take_reading(critic, x, x_next, before, terminals, discount=0.9, lr=0.4)
    loss = nn.functional.mse_loss(critic(x).squeeze(1), target().detach())
    loss.backward()
    torch.optim.SGD(critic.parameters(), lr=0.4).step()
    # 1e-12: some hundred float64 operations; the linear theory itself is exact.
    assert reading.growth == pytest.approx((error().norm() / before.norm()).item(), rel=1e-12)
    assert reading.growth > 1.05


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_alignment_is_one_on_the_ray(depth):
    """With one row and the error that pulls θ outwards, a bias-free linear network of width 1 has Φᵀu ∝ ∓θ.

    Balanced layers (equal weights) are needed: ∂f/∂w_l = f/w_l is along θ only then.
    """
    critic = Critic(1, 0, MLPConfig(depth=depth, width=1, bias=False), generator=generator(), dtype=torch.float64)
    for parameter in critic.parameters():
        parameter.data.fill_(0.5)
    x, error = torch.ones(1, 1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    # 1e-15: three products and a quotient.
    assert alignment(critic, x, -error) == pytest.approx(1, abs=1e-15)
    assert alignment(critic, x, error) == pytest.approx(-1, abs=1e-15)
    assert alignment(critic, x, 0 * error) == 0


def test_alignment_survives_errors_whose_squares_overflow_float32():
    """Near its crash a float32 critic has errors beyond 1e19, where the norm in float32 is infinite."""
    critic, x = critic_of(SHAPES[2], torch.float32), randn(6, 5).float()
    error = randn(6, seed=3).float()
    expected = alignment(critic, x, error)
    assert abs(expected) > 0.01
    # 1e-5: float32 sums of a hundred products, each good to 6e-8, with some cancellation.
    assert alignment(critic, x, error * 2.0**90) == pytest.approx(expected, rel=1e-5)


def test_float32_reads_what_float64_reads():
    wide, narrow = (asdict(drawn_reading(SHAPES[2], 0.99, dtype=dtype)) for dtype in (torch.float64, torch.float32))
    # 1e-4: float32 rounding 6e-8 times the condition of the eigenvalues, about a hundred.
    assert narrow == pytest.approx(wide, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_overflowed_kernel_gives_no_reading(dtype):
    critic = linear([1.0, 1.0]).to(dtype)
    x, ones = torch.full((2, 2), torch.finfo(dtype).max / 2, dtype=dtype), torch.ones(2, dtype=dtype)
    options = {"discount": 0.9, "lr": 0.1, "dtype": None}
    assert take_reading(critic, x, x, ones, 0 * ones, **options) is None
    assert take_reading(critic, x / x, x / x, ones * torch.inf, 0 * ones, **options) is None
    assert take_reading(critic, x / x, x / x, ones, 0 * ones, **options) is not None


def test_the_kernel_of_an_overflowing_float32_critic_is_read_in_float64():
    critic = linear([1.0, 1.0]).float()
    x, ones = torch.full((2, 2), torch.finfo(torch.float32).max / 2), torch.ones(2)
    assert take_reading(critic, x, x, ones, 0 * ones, discount=0.9, lr=0.1).kernel_norm > torch.finfo(torch.float32).max


def bairds_star(discount: float):
    """Baird's star with uniform states: f(i) = 2w_i + w_8 for i ≤ 6, f(7) = w_7 + 2w_8, successor always state 7.

    Source: Baird 1995, the star problem; with an equal share of every state the symmetric mode is the
    2 × 2 matrix [[12γ - 10, 5γ - 2], [12γ - 12, 5γ - 5]] of trace 17γ - 15 and positive determinant.
    """
    features = torch.zeros(7, 8, dtype=torch.float64)
    for state in range(6):
        features[state, state], features[state, 7] = 2, 1
    features[6, 6], features[6, 7] = 1, 2
    zeros = torch.zeros(7, dtype=torch.float64)
    critic = linear([1.0] * 6 + [10.0, 1.0])
    return take_reading(critic, features, features[6:].expand(7, 8), zeros, zeros, discount=discount, lr=0.1)


@pytest.mark.parametrize("discount", [0.0, 0.5, 0.8, 0.88, 15 / 17 - 1e-9])
def test_bairds_star_is_stable_up_to_its_discount(discount):
    assert bairds_star(discount).leading < 0


@pytest.mark.parametrize("discount", [15 / 17 + 1e-9, 0.89, 0.95, 0.999])
def test_bairds_star_diverges_above_its_discount(discount):
    """The eigenvalue is (17γ - 15)/2 while the mode is a complex pair, and changes sign at γ = 15/17."""
    reading = bairds_star(discount)
    assert reading.leading > 0
    trace, determinant = 17 * discount - 15, 26 * (1 - discount)
    square = trace**2 - 4 * determinant
    expected = (trace + math.sqrt(square)) / 2 if square > 0 else trace / 2
    # 1e-12: a 7 × 7 matrix with entries up to 5.
    assert reading.leading == pytest.approx(expected, abs=1e-12)
    assert (reading.leading_imaginary > 0) == (square < 0)


def test_a_reading_is_frozen():
    reading = hand_made_reading()
    assert replace(reading, leading=2.0).rate == 1.0
    with pytest.raises(AttributeError):
        reading.leading = 2.0
