"""What the sign of Re λ(A) decides about u_{t+1} = (I + ηA)u_t with a constant A, and what η decides.

Hypotheses: A is constant (a linear critic, X* fixed); u is generic, with a component on every mode.
"""

import math

import pytest
import torch
from hypothesis import event, given, target
from hypothesis import strategies as st

from properties.strategies.matrices import (
    Block,
    Prescribed,
    Shear,
    linear_critic,
    linear_reading,
    matrices,
    normal_error,
)

ETAS = st.integers(-12, 2).map(lambda exponent: 2.0**exponent)
EPSILON = torch.finfo(torch.float64).eps


def run(case: Prescribed, error: torch.Tensor, eta: float, steps: int) -> list[torch.Tensor]:
    """TD errors of the linear critic under torch's SGD with lr = ηM/2, from u = ``error`` at θ = 0."""
    critic, x, x_next = linear_critic(case.draw())
    optimiser = torch.optim.SGD(critic.parameters(), lr=eta * case.size / 2)
    errors = [error]
    for _ in range(steps):
        # At θ = 0 the error is -r.
        target = (critic(x_next).squeeze(1) - error).detach()
        optimiser.zero_grad()
        torch.nn.functional.mse_loss(critic(x).squeeze(1), target).backward()
        optimiser.step()
        errors.append((critic(x) - critic(x_next)).detach().squeeze(1) + error)
    return errors


def threshold(case: Prescribed) -> float:
    """η* = min -2 Re λ/|λ|² over the prescribed eigenvalues."""
    return min(-2 * value.real / abs(value) ** 2 for value in case.eigenvalues)


def scaled(case: Prescribed, size: float) -> float:
    """The power of two η for which η‖A‖_F is between size/2 and size."""
    norm = case.draw().norm().item()
    return 2.0 ** math.floor(math.log2(size / norm)) if norm else 1.0


@pytest.mark.claim("SIGN-GROWTH")
@given(
    case=matrices(shears=2), size=st.sampled_from((0.25, 2.0)), steps=st.integers(1, 6), seed=st.integers(0, 2**32 - 1)
)
def test_a_run_follows_the_prescribed_spectrum(case, size, steps, seed):
    """Growth, decay, rotation and the polynomials of defective modes, with real gradient steps."""
    error = normal_error(case.size, seed)
    eta = scaled(case, size)
    (last,) = run(case, error, eta, steps)[-1:]
    # Each step rounds n products of A's entries, n ulps of η‖A‖ and of what θ has gathered; S and S⁻¹ round too.
    bound = 20 * case.size * steps * EPSILON * (1 + size) ** steps * case.condition * error.norm()
    event("grows" if last.norm() > error.norm() else "decays")
    assert (last - case.after(error, eta, steps)).norm() <= bound


@given(case=matrices(shears=2), size=st.sampled_from((0.25, 1.0, 2.0, 4.0)), doublings=st.integers(0, 6))
def test_powers_grow_like_the_largest_gain(case, size, doublings):
    """Between ρ^t and κ(S) times the powers of the chains, ρ the larger of the gains that the reading has."""
    eta, t = scaled(case, size), 2**doublings
    reading = linear_reading(case.draw(), eta)
    gains = [reading.excitation_gain] if reading.leading > 0 else []
    gains += [reading.overshoot_gain] if reading.trailing <= 0 else []
    step = torch.eye(case.size, dtype=torch.float64) + eta * case.draw()
    grown = torch.linalg.matrix_norm(torch.linalg.matrix_power(step, t), 2).item()
    slack = eta * (2 * case.size - 1) * case.tolerance
    # 1e-6: a squaring rounds to n ulps of the squared norm, which is at most (κ t²)² larger than what it becomes.
    assert max(max(gains) - slack, 0.0) ** t <= grown * (1 + 1e-6)
    chains = max(
        sum(math.comb(t, k) * eta**k * abs(1 + eta * block.eigenvalues[0]) ** max(t - k, 0) for k in range(block.chain))
        for block in case.blocks
    )
    target(grown / (case.condition * chains) if chains else 0.0)
    assert grown <= case.condition * chains * (1 + 1e-6) + 1e-12


@pytest.mark.claim("SIGN-GROWTH")
@given(case=matrices(leading="growing", chain=1, shears=2), eta=ETAS)
def test_a_positive_real_part_excites_at_every_step_size(case, eta):
    reading = linear_reading(case.draw(), eta)
    excited = max(abs(1 + eta * value) for value in case.eigenvalues if value.real > 0)
    assert reading.leading > 0
    assert reading.excitation_gain > 1
    assert abs(reading.excitation_gain - excited) <= (2 * case.size - 1) * case.tolerance * eta + 4 * EPSILON


@pytest.mark.claim("SIGN-THRESHOLD")
@given(
    case=matrices(leading="decaying", chain=1, shears=1),
    above=st.booleans(),
    margin=st.integers(1, 10).map(lambda k: 2.0**-k),
)
def test_below_the_threshold_u_decays_and_above_it_grows(case, above, margin):
    """Both sides of η* = min -2 Re λ/|λ|², to one part in a thousand: Re λ < 0 alone is not stability."""
    eta = threshold(case) * (1 + margin if above else 1 - margin)
    reading = linear_reading(case.draw(), eta)
    assert reading.leading < 0
    assert reading.excitation_gain == 1.0
    assert (reading.overshoot_gain > 1) == above
    # So many steps that the radius alone outweighs κ(S).
    rate = abs(math.log(max(EPSILON, *(abs(1 + eta * value) for value in case.eigenvalues))))
    steps = 2 ** max(0, math.ceil(math.log2((math.log(case.condition) + 1) / rate)))
    event(f"in at most {10 ** math.ceil(math.log10(steps))} steps")
    step = torch.eye(case.size, dtype=torch.float64) + eta * case.draw()
    grown = torch.linalg.matrix_norm(torch.linalg.matrix_power(step, steps), 2)
    assert (grown > 1) == above


@pytest.mark.claim("SIGN-THRESHOLD")
@given(exponent=st.integers(-20, 16), others=st.integers(0, 3))
def test_at_the_threshold_of_a_real_mode_the_gain_is_one(exponent, others):
    """η = 2/g for λ = -g: u_{t+1} = -u_t for ever; exact for powers of two."""
    blocks = tuple(Block(-(2.0 ** max(exponent - k, -16))) for k in range(others + 1))
    assert linear_reading(Prescribed(blocks).draw(), 2 / -blocks[0].real).overshoot_gain == 1.0


@pytest.mark.claim("SIGN-REPEATED-ROWS")
@given(case=matrices())
def test_the_sign_is_right_beyond_the_tolerance(case):
    margin = (2 * case.size - 1) * case.tolerance
    reading, exact = linear_reading(case.draw(), 1.0), case.eigenvalues[0].real
    decided = abs(exact) > margin
    event("decided" if decided else f"within rounding, {'zero' if exact == 0 else 'not zero'}")
    assert not decided or (reading.leading > 0) == (exact > 0)
    assert abs(reading.leading - exact) <= margin


@given(case=matrices(leading="marginal", chain=1, shears=1, stiff=False), eta=ETAS)
def test_a_marginal_real_part_is_read_to_its_last_digits(case, eta):
    """0 and ±2^-16 beside numbers of size one; where λ = ±ib the radius is √(1 + η²b²), growth at every η."""
    reading, exact = linear_reading(case.draw(), eta), case.eigenvalues[0]
    slack = (2 * case.size - 1) * case.tolerance
    assert slack < 2.0**-20
    assert abs(reading.leading - exact.real) <= slack
    assert max(reading.excitation_gain, reading.overshoot_gain) >= abs(1 + eta * exact) - eta * slack - 4 * EPSILON
    if exact.real == 0 and exact.imag:
        assert max(reading.excitation_gain, reading.overshoot_gain) > 1


@given(chain=st.integers(2, 3), eta=st.integers(-4, 2).map(lambda k: 2.0**k), steps=st.integers(2, 8))
def test_a_defective_zero_grows_as_a_power_of_the_step(chain, eta, steps):
    """Both gains are 1, yet u_t = C(t, m-1)η^(m-1): a spectral radius of 1 bounds nothing. Exact in float64."""
    case = Prescribed((Block(0.0, chain=chain),))
    reading = linear_reading(case.draw(), eta)
    assert (reading.excitation_gain, reading.overshoot_gain) == (1.0, 1.0)
    error = torch.eye(chain, dtype=torch.float64)[-1]
    for t, u in enumerate(run(case, error, eta, steps)):
        assert u[0] == math.comb(t, chain - 1) * eta ** (chain - 1)


# Counterexamples: what the sign does not decide once a hypothesis is dropped.


@pytest.mark.claim("SIGN-COMPONENT")
@pytest.mark.parametrize("shears", [(), (Shear(0, 1, 2),)])
def test_growth_needs_a_component_on_the_mode(shears):
    """SEEM is 1, but u starts on the eigenvector of λ = -1 and halves at every step of η = 1/2."""
    case = Prescribed((Block(1.0), Block(-1.0)), shears)
    error = case.basis()[0][:, 1]
    assert linear_reading(case.draw(), 0.5).leading == 1
    for t, u in enumerate(run(case, error, 0.5, 6)):
        assert torch.equal(u, error * 0.5**t)


@pytest.mark.claim("SIGN-STABLE")
def test_seem_below_zero_is_not_stability_at_finite_step_size():
    """At λ = -1 and η = 3 the error doubles at every step: |1 + ηλ| = 2."""
    case = Prescribed((Block(-1.0),))
    reading = linear_reading(case.draw(), 3.0)
    assert (reading.leading, reading.excitation_gain, reading.overshoot_gain) == (-1, 1, 2)
    for t, u in enumerate(run(case, torch.ones(1, dtype=torch.float64), 3.0, 6)):
        assert u.item() == (-2.0) ** t


@pytest.mark.claim("SIGN-STABLE")
def test_seem_zero_is_not_stability_at_any_step_size():
    """A rotation, λ = ±i: ‖u‖ grows by √(1 + η²) a step."""
    case = Prescribed((Block(0.0, 1.0),))
    reading = linear_reading(case.draw(), 0.75)
    assert (reading.leading, reading.leading_imaginary) == (0, 1)
    assert (reading.excitation_gain, reading.overshoot_gain) == (1.0, 1.25)
    last = run(case, torch.tensor([1.0, 0.0], dtype=torch.float64), 0.75, 2)[-1]
    assert last.norm() == 1.25**2
