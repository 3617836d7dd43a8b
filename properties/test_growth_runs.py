"""Critics trained by autograd on the self-similar ray: they crash, and grow, as the laws say.

Hypotheses: bias-free critic on the ray, r = 0, X* fixed, target copied at every step. Each is dropped once at the end.
"""

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest
import torch
from hypothesis import event, given
from hypothesis import strategies as st
from torch.nn import functional

from properties.strategies.ray_critics import RayCritic, ray_critics
from seem.forecasting import Forecast, forecast
from seem.growth import AdamLaw, ClippingLaw, EMALaw, HuberLaw, SGDLaw, SignLaw
from seem.networks import MLP

Optimiser = Callable[[Iterable[torch.nn.Parameter]], torch.optim.Optimizer]
CLOSE = 1e-9
"""A few steps of float64; off the ray rounding grows by less than a factor of ten a step."""
NEVER = 1000


def norm(network: MLP) -> float:
    return math.sqrt(sum(p.detach().square().sum().item() for p in network.parameters()))


def forecast_of(case: RayCritic) -> Forecast:
    return forecast([[case.read()]], depth=case.depth, dtype=case.dtype, step=0)


def crash_of(
    case: RayCritic, *, reward: float = 0.0, motion: float = 1.0, target_rate: float = 1.0, unbalanced: float = 1.0
) -> int:
    """Steps of gradient descent until a value is not finite, `NEVER` at most.

    Args:
        case: The critic.
        reward: r of every row.
        motion: Factor on X* a step.
        target_rate: τ of the target network.
        unbalanced: Factor on the first weight matrix, which the last one loses.
    """
    network, x, x_next = case.draw()
    with torch.no_grad():
        network.linears[0].weight *= unbalanced
        network.linears[-1].weight /= unbalanced
    slow, optimiser = copy.deepcopy(network), torch.optim.SGD(network.parameters(), lr=case.lr)
    for step in range(NEVER):
        if not torch.isfinite(network(x)).all():
            return step
        optimiser.zero_grad()
        functional.mse_loss(network(x), reward + case.discount * slow(x_next * motion**step).detach()).backward()
        optimiser.step()
        with torch.no_grad():
            for old, new in zip(slow.parameters(), network.parameters(), strict=True):
                old.copy_(new) if target_rate == 1 else old.lerp_(new, target_rate)
    return NEVER


def train(
    case: RayCritic, steps: int, optimiser: Optimiser, *, clip: float = math.inf, knee: float = math.inf
) -> tuple[list[float], list[float]]:
    """‖θ‖ and the first row's Q after 0 to ``steps`` steps; ``knee`` is that of a Huber loss in units of max|u|."""
    network, x, x_next = case.draw()
    stepper = optimiser(network.parameters())
    norms, values = [norm(network)], [network(x)[0].item()]
    for _ in range(steps):
        stepper.zero_grad()
        bootstrap = case.discount * network(x_next).detach()
        if math.isinf(knee):
            functional.mse_loss(network(x), bootstrap).backward()
        else:
            functional.huber_loss(network(x), bootstrap, delta=knee).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), clip)
        stepper.step()
        norms.append(norm(network))
        values.append(network(x)[0].item())
    return norms, values


@pytest.mark.claim("SGD-CRASH-STEP", "SGD-EXPONENTIAL")
@given(case=ray_critics(depths=(2, 4)))
def test_gradient_descent_crashes_at_the_forecast_step(case):
    made, crash = forecast_of(case), crash_of(case)
    # One step: Q may come within the dtype's rounding of the largest number, or overflow in a product on its way.
    assert abs(crash - made.law_step) <= 1, f"crash at {crash}, law {made.law_step}"
    assert made.crash_step == made.law_step
    assert made.mechanism == "self-excitation"
    event(f"{case.dtype}, L = {case.depth}")


@pytest.mark.claim("SGD-DEPTH-ORDER")
@given(case=ray_critics(depths=(2, 4), rates=(0.1, 5.0), dtypes=("float64",)))
def test_a_deeper_critic_crashes_sooner_than_a_shallower_one_at_the_same_rate(case):
    """Trained: no polynomial does, and the growth of one layer, an exponential, is the slowest."""
    deeper, own, linear = (crash_of(replace(case, depth=depth)) for depth in (case.depth + 1, case.depth, 1))
    assert deeper < NEVER
    # As `test_a_deeper_critic_never_overflows_later`: one step.
    assert deeper <= own + 1
    assert own < linear
    event(f"L = {case.depth + 1} at {deeper} of {own}")


linear_critics = (
    ray_critics(depths=(1, 1), rates=rates, dtypes=("float32",)).map(
        # Near overflow, since an exponential takes its time.
        lambda case: replace(case, scale=2.0**60)
    )
    for rates in ((1.0, 5.0), (-8.0, -3.0))
)


@pytest.mark.claim("SGD-ONE-LAYER")
@given(case=st.one_of(*linear_critics))
def test_a_linear_critic_crashes_at_the_forecast_step(case):
    made, crash = forecast_of(case), crash_of(case)
    # The loss's gradient 2u/M, larger than Q, overflows before it, at a growth of |1 + x| a step.
    ahead = max(2 * abs(case.discount * b - a) for a, b in zip(case.here, case.there, strict=True)) / max(case.here)
    early = math.log(max(ahead, 1)) / math.log(abs(1 + case.rate))
    assert made.law_step - early - 1 <= crash <= made.law_step + 1
    assert made.mechanism == ("self-excitation" if case.rate > 0 else "overshoot")


@given(case=ray_critics(depths=(2, 4), rates=(-8.0, -2.2)))
def test_overshoot_crashes_at_the_forecast_step(case):
    case = replace(case, rate=case.rate * case.depth)
    made = forecast_of(case)
    assert abs(crash_of(case) - made.law_step) <= 1
    assert made.mechanism == "overshoot"


@given(case=ray_critics(rates=(0.01, 1.0)))
def test_the_first_reading_has_the_rate_and_the_alignment_of_the_ray(case):
    made = case.read()
    # Rounding of the dtype over a few dozen products.
    close = 1e-3 if case.dtype == "float32" else 1e-11
    assert made.rate == pytest.approx(case.rate, rel=close)
    assert made.alignment == pytest.approx(1, abs=close)
    assert made.growth == pytest.approx(1 + case.rate, rel=close)


exact_critics = ray_critics(depths=(2, 4), rates=(1e-3, 0.3), dtypes=("float64",))


@given(case=exact_critics, beta=st.floats(0.0, 0.9), decay=st.just(0.0) | st.floats(1e-6, 0.5))
def test_momentum_and_decay_follow_the_recursions_of_their_laws(case, beta, decay):
    """Torch's momentum from rest is the heavy ball; its L2 penalty of w/lr removes the share w a step."""
    if decay:
        beta = 0.0  # torch puts the penalty into the velocity
    norms, _ = train(case, 4, lambda p: torch.optim.SGD(p, case.lr, momentum=beta, weight_decay=decay / case.lr))
    before = scale = 1.0
    for observed in norms:
        assert observed == pytest.approx(scale * norms[0], rel=CLOSE)
        drift = case.rate / case.depth * scale ** (2 * case.depth - 1)
        before, scale = scale, scale + beta * (scale - before) - decay * scale + drift


@pytest.mark.claim("SGD-LAW")
@given(case=exact_critics, huber=st.booleans())
def test_growth_goes_with_the_exponent_th_power_of_q(case, huber):
    """(‖θ'‖ - ‖θ‖)/‖θ‖ ∝ Q^p, p = (2L-2)/L under the squared loss and (L-2)/L beyond Huber's knee."""
    case = replace(case, here=case.here[:1], there=(3.0,), discount=1.0)
    knee = case.scale**case.depth * case.here[0] / 8
    norms, values = train(case, 2, lambda p: torch.optim.SGD(p, case.lr), knee=knee if huber else math.inf)
    law = HuberLaw(case.depth) if huber else SGDLaw(case.depth)
    before, after = norms[1] / norms[0] - 1, norms[2] / norms[1] - 1
    # A growth of g loses 1/g of float64's digits.
    assert after / before == pytest.approx((values[1] / values[0]) ** law.exponent, rel=1e-13 / before)


@pytest.mark.claim("CLIPPING")
@given(case=exact_critics, share=st.floats(0.05, 0.9))
def test_clipped_steps_lengthen_the_parameters_by_the_clip(case, share):
    descent = train(case, 1, lambda p: torch.optim.SGD(p, case.lr))[0]
    law = ClippingLaw(case.depth, share * (descent[1] - descent[0]) / case.lr)
    norms, values = train(case, 4, lambda p: torch.optim.SGD(p, case.lr), clip=law.clip)
    for steps, observed in enumerate(norms):
        # Torch adds 1e-6 to the norm that it divides by.
        assert observed - norms[0] == pytest.approx(steps * law.norm_slope(case.lr), rel=2e-6 / law.clip, abs=1e-12)
    lines = law.linearise(values)
    assert lines / lines[0] == pytest.approx([observed / norms[0] for observed in norms], rel=CLOSE)


def chain(case: RayCritic) -> RayCritic:
    """The critic as a chain of equal weights, which Adam's equal steps keep on the ray."""
    return replace(case, width=1, inputs=1)


@pytest.mark.claim("ADAM-ORDER")
@given(case=exact_critics, beta1=st.floats(0.0, 0.99), beta2=st.floats(0.0, 0.999))
def test_adam_follows_the_scale_path(case, beta1, beta2):
    case, law = chain(case), AdamLaw(case.depth)
    # Weights of one lr: the first distance of the path.
    norms, values = train(case, 6, lambda p: torch.optim.Adam(p, case.scale, betas=(beta1, beta2), eps=0.0))
    path = law.scale_path(7, beta1, beta2)
    assert norms == pytest.approx(path * law.norm_slope(case.scale, case.depth), rel=CLOSE)
    assert law.linearise(values) == pytest.approx(path * law.linearise(values[0]), rel=CLOSE)


@pytest.mark.claim("LION-DECAY")
@given(case=exact_critics, lr=st.floats(1e-3, 0.1), decay=st.floats(0.1, 2.0))
def test_signs_step_by_the_root_of_their_number_and_rest_where_decay_says(case, lr, decay):
    """Adam without memory is sign descent; AdamW adds decoupled decay."""
    case, law = chain(case), SignLaw(case.depth, decay)
    norms, _ = train(case, 3, lambda p: torch.optim.Adam(p, lr, betas=(0.0, 0.0), eps=0.0))
    for steps, observed in enumerate(norms):
        assert observed - norms[0] == pytest.approx(steps * law.norm_slope(lr, case.depth), rel=CLOSE, abs=1e-12)
    case = replace(case, scale=law.largest_norm(case.depth) / math.sqrt(case.depth))
    norms, _ = train(case, 3, lambda p: torch.optim.AdamW(p, lr, betas=(0.0, 0.0), eps=0.0, weight_decay=decay))
    assert norms == pytest.approx([law.largest_norm(case.depth)] * 4, rel=CLOSE)


@pytest.mark.claim("EMA-EXPONENTIAL")
@given(case=exact_critics, tau=st.floats(1e-3, 0.1), stiffness=st.floats(0.2, 1.0))
def test_a_caught_up_critic_grows_with_its_slow_target(case, tau, stiffness):
    """At a = ρb, ρ^L = g*/g, the critic rests for a step while its target moves; Q then grows by L ln(1 + τ(ρ-1))."""
    critic, x, x_next = case.draw()
    slow, law = copy.deepcopy(critic), EMALaw(case.depth, tau)
    gram = sum(here**2 for here in case.here)
    ratio = (case.drive + gram) / gram
    with torch.no_grad():
        for parameter in slow.parameters():
            parameter *= ratio ** (-1 / case.depth)
    # η·λ_max(G) is the stiffness; the rate of the case was for a copied target.
    lr = case.lr * stiffness / case.rate * case.drive / gram
    optimiser = torch.optim.SGD(critic.parameters(), lr)
    growths = []
    for _ in range(4):
        optimiser.zero_grad()
        functional.mse_loss(critic(x), case.discount * slow(x_next).detach()).backward()
        optimiser.step()
        before = norm(slow)
        with torch.no_grad():
            for old, new in zip(slow.parameters(), critic.parameters(), strict=True):
                old.lerp_(new, tau)
        growths.append(case.depth * math.log(norm(slow) / before))
    expected = law.growth_rate(ratio)
    assert growths[0] == pytest.approx(expected, rel=1e-9)
    # Then it follows at a distance of τρ/stiffness of itself, here with a coefficient below 1.
    assert growths == pytest.approx([expected] * 4, rel=tau * ratio / stiffness)


ON_THE_RAY = RayCritic(depth=2, width=1, inputs=1, here=(1.0,), there=(2.0,), discount=1.0, rate=2.0**-6)
DROPPED = {
    "r = 0": {"reward": 1.0},
    "X* fixed": {"motion": 1.125},
    "target copied": {"target_rate": 0.125},
    "the ray": {"unbalanced": 2.0},
}


def test_on_the_ray_the_example_crashes_when_forecast():
    assert crash_of(ON_THE_RAY) == forecast_of(ON_THE_RAY).law_step


@pytest.mark.parametrize("dropped", DROPPED)
def test_misses_the_crash_without_its_hypothesis(dropped):
    assert abs(crash_of(ON_THE_RAY, **DROPPED[dropped]) - forecast_of(ON_THE_RAY).law_step) > 2


def test_misses_the_crash_with_biases():
    biased = replace(ON_THE_RAY, bias=True)
    assert abs(crash_of(biased) - forecast_of(biased).law_step) > 2
