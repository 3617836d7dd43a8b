"""When mean |Q| leaves its bound: the law's golden counts, the look-ahead's time, and every case without a forecast."""

import math
from dataclasses import replace

import pytest
import torch

from reference.tests.optimiser_cases import Run
from reference.tests.test_forecast import ray, reading
from reference.tests.test_lookahead import ROWS, linear
from seem.calibration import Calibration, Kind, kind_of
from seem.drift import Trail
from seem.dynamics import Training
from seem.errors import InputError
from seem.forecasting import forecast
from seem.lookahead import LookAhead, look_ahead
from seem.reading import read

AHEAD = LookAhead(step=0, bound=100.0, mean_abs_q=20.0, crossing=50.0, accelerated=44.0, acceleration=0.01, window=10,
                  horizon=1000.0, source="a test")  # fmt: skip


def adam_reading(by: float = 2.0):
    """Of a linear critic under Adam whose successors are ``by`` times its rows."""
    critic = linear(1.0)
    optimiser = torch.optim.Adam(critic.parameters(), lr=0.01)
    critic(ROWS["x"]).sum().backward()
    optimiser.step()
    training = Training(discount=0.9, optimizer=optimiser)
    rows = {"x": ROWS["x"][:1], "x_next": by * ROWS["x"][:1], "rewards": torch.ones(1)}
    return read(critic, rows, training=training), training


@pytest.mark.parametrize(
    ("depth", "rate", "ratio", "steps"),
    [(1, 0.01, 20, 302), (2, 0.01, 20, 98), (3, 0.01, 20, 76), (2, 0.05, 5, 18), (4, 0.01, 100, 70)],
)
def test_the_law_reaches_the_bound_after_the_steps_of_the_recursion(depth, rate, ratio, steps):
    made = forecast([reading(3, rate)], depth=depth, dtype="float64", step=3, bound=ratio)
    assert made.leaving.leaves_at == 3 + steps
    assert made.leaving.signal == steps
    assert (made.leaving.way, made.leaving.bound, made.leaving.mean_abs_q) == ("law", ratio, 1.0)
    sizes = [q for _, q in ray(depth, rate, steps + 1)]
    # The exact count is the first step that is past the bound.
    assert sizes[steps - 1] < ratio * (1 + 1e-9) <= sizes[steps] * (1 + 1e-6)
    assert math.isfinite(made.crash_step) or depth == 1


def test_under_adam_the_look_ahead_says_when_and_the_reading_whether():
    excited, training = adam_reading()
    assert excited.excited is True
    made = forecast([excited], step=0, ahead=AHEAD)
    assert (made.leaving.signal, made.leaving.leaves_at, made.leaving.way) == (50.0, 44.0, "accelerated")
    assert made.leaving.earliest is None
    assert "no calibration" in made.leaving.reason
    assert made.crash_step == math.inf
    assert "plain gradient descent" in made.reason
    healthy, _ = adam_reading(by=0.5)
    assert healthy.excited is False
    calm = forecast([healthy], step=0, ahead=AHEAD)
    assert (calm.leaving.signal, calm.leaving.leaves_at) == (math.inf, math.inf)
    assert "excites itself" in calm.leaving.reason
    undetermined = replace(healthy, leading=0.0)
    assert undetermined.excited is None
    assert forecast([undetermined], step=0, ahead=AHEAD).leaving.signal == 50.0
    by_memory = replace(AHEAD, accelerated=None, acceleration=None, window=0)
    assert forecast([excited], step=0, ahead=by_memory).leaving.way == "plain"
    assert kind_of(training) == "Adam, copied targets"


def test_the_optimisers_sign_is_the_gate_where_it_was_read():
    run = Run("Adam")
    for _ in range(3):
        run.step()
    found = run.look()
    ahead = replace(AHEAD, step=run.steps)
    for leading, states in ((1.0, (True, 50.0)), (-1.0, (False, math.inf))):
        step = replace(found.under_optimiser, kernel=abs(leading) * torch.eye(12).double().numpy(),
                       bootstrap=(abs(leading) + leading) * torch.eye(12).double().numpy())  # fmt: skip
        swapped = replace(found, leading=-leading, under_optimiser=step)
        assert (swapped.excited, forecast([swapped], step=run.steps, ahead=ahead).leaving.signal) == states


NO_TIME = {
    "beyond the horizon": ({"crossing": math.inf, "accelerated": math.inf}, math.inf, "1000 steps"),
    "a drift that turns": ({"accelerated": None, "acceleration": None}, 50.0, "no time is stated"),
    "steps that shrink": ({"accelerated": math.inf, "acceleration": -0.1}, 50.0, "shrink"),
    "steps that explode": ({"acceleration": 0.2, "accelerated": 12.0}, 50.0, "e-fold"),
    "past it": ({"mean_abs_q": 101.0}, 0.0, "already"),
    "not finite": ({"mean_abs_q": math.nan}, math.inf, "not known"),
}


@pytest.mark.parametrize("name", NO_TIME)
def test_no_time_is_stated_where_its_law_does_not_hold(name):
    changes, signal, words = NO_TIME[name]
    made = forecast([adam_reading()[0]], step=0, ahead=replace(AHEAD, **changes))
    assert made.leaving.signal == signal
    assert words in made.leaving.reason
    assert made.leaving.leaves_at == (0.0 if name == "past it" else math.inf)


def test_the_law_does_not_speak_where_it_does_not_hold():
    over = reading(0, 0.1, overshoot_gain=1.5)
    assert "overshoots" in forecast([over], depth=3, dtype="float64", step=0, bound=5.0).leaving.reason
    assert "pass depth" in forecast([reading(0, 0.1)], step=0, bound=5.0).leaving.reason
    assert "pass depth" in forecast([reading(0, 0.1)], step=0, bound=5.0).reason
    assert forecast([reading(0, -0.1)], depth=3, dtype="float64", step=0, bound=5.0).leaving.signal == math.inf
    assert "pass a look-ahead" in forecast([adam_reading()[0]], step=0, bound=50.0).leaving.reason
    assert forecast([reading(0, 0.1)], depth=3, dtype="float64", step=0).leaving is None
    with pytest.raises(InputError, match="step 4"):
        forecast([reading(0, 0.1)], step=0, ahead=replace(AHEAD, step=4))


@pytest.mark.parametrize("name", ["leading", "growth", "mean_abs_q"])
def test_a_nan_is_no_overflow(name):
    made = forecast([reading(0, 0.1, **{name: math.nan})], depth=3, dtype="float64", step=0, bound=5.0)
    assert "overflow" not in (made.reason or "")
    if name == "leading":
        assert "not a number" in made.reason
        assert made.crash_step == math.inf
        assert made.leaving is None
    nothing = forecast([[], []], depth=3, dtype="float64", step=0, bound=5.0)
    assert "no reading yet" in nothing.reason
    assert nothing.leaving is None


def test_an_interval_comes_from_the_record_of_this_kind_alone():
    excited, training = adam_reading()
    kind = Kind(tuple((0.5 + 0.05 * index,) for index in range(20)), fell_back=5)
    record = Calibration({"Adam, copied targets, accelerated": kind}, "a test")
    made = forecast([excited], step=0, ahead=AHEAD, training=training, calibration=record).leaving
    # Of 20 runs the least is below a share of 1/21 < 5 %, and so is the largest above.
    assert (made.earliest, made.latest) == (pytest.approx(0.5 * 44), pytest.approx(1.45 * 44))
    assert (made.fell_back, made.runs, made.level, made.reason) == (5, 25, 0.9, None)
    other = Calibration({"AdamW, copied targets, accelerated": kind})
    told = forecast([excited], step=0, ahead=AHEAD, training=training, calibration=other).leaving
    assert told.earliest is None
    assert "holds no run of Adam, copied targets, accelerated" in told.reason
    unnamed = forecast([excited], step=0, ahead=AHEAD, calibration=record).leaving
    assert "pass training" in unnamed.reason


def test_a_critic_that_adam_drives_out_leaves_when_it_was_said():
    """A linear critic with growing successors, by Adam with its own moments; the second half of its way."""
    critic = linear(1.0)
    optimiser = torch.optim.Adam(critic.parameters(), lr=0.01)
    rows = ROWS | {"x_next": 3 * ROWS["x"], "rewards": torch.zeros(8, dtype=torch.float64)}
    training, trail, bound = Training(discount=0.9, optimizer=optimiser), Trail(critic), 6.0
    said, step = None, 0
    while critic(ROWS["x"]).abs().mean().item() <= bound:
        if step in (80, 90, 100):
            trail.note(step)
        if step == 100:
            ahead = look_ahead(critic, ROWS, drift=trail.drift(), bound=bound, step=step)
            now = read(critic, rows, training=training, step=step)
            said = forecast([now], step=step, ahead=ahead, training=training).leaving
        optimiser.zero_grad()
        (critic(rows["x"]) - 0.9 * critic(rows["x_next"]).detach()).square().mean().backward()
        optimiser.step()
        step += 1
    assert said is not None
    # 15 %: the acceleration is taken to stay what it was.
    assert said.leaves_at - 100 == pytest.approx(step - 100, rel=0.15)
