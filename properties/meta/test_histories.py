"""Synthetic histories are what a critic could show: consistent, valid, of every kind, and they shrink well."""

import math
from dataclasses import fields
from itertools import islice, pairwise

import pytest
import torch
from hypothesis import find, given
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument

from properties.meta.search import SEARCH
from properties.strategies.histories import (
    LOG_MAX,
    Ray,
    decaying_modes,
    growing_modes,
    histories,
    last_step,
    overshooting_modes,
    ray_scales,
    rays,
    reading,
    steps_of_ray,
)
from seem.forecasting import forecast
from seem.growth import SGDLaw
from seem.networks import MLP, MLPConfig
from seem.spectrum import CriticReading, take_reading

modes = growing_modes() | decaying_modes() | overshooting_modes(2, beyond=True) | overshooting_modes(2, beyond=False)


def check_plausible(one: CriticReading) -> None:
    """What holds for every critic."""
    assert all(math.isfinite(getattr(one, field.name)) for field in fields(one))
    assert one.trailing <= one.second <= one.leading <= one.numerical_abscissa
    assert one.rayleigh <= one.numerical_abscissa
    assert -1 <= one.normalised <= 1
    assert one.growth >= abs(1 + one.step_size * one.rayleigh) * (1 - 1e-15)
    assert one.excitation_gain >= 1 + max(one.rate, 0) * (1 - 1e-15)
    assert one.overshoot_gain >= 0
    assert (one.rows, one.step_size, one.max_abs_q) > (0, 0.0, 0.0)
    assert one.mean_abs_q <= one.max_abs_q


@given(history=histories(modes, readings=(0, 5), critics=(1, 2)))
def test_readings_are_plausible_and_histories_run_forward(history):
    for index, critic in enumerate(history):
        for one in critic:
            check_plausible(one)
            assert one.critic == index
        steps = [one.step for one in critic]
        assert steps == sorted(set(steps)) == [one.step for one in history[0]]
    assert last_step(history) == max((one.step for critic in history for one in critic), default=0)


sizes = st.floats(-4.0, -0.01) | st.floats(0.01, 4.0)


@given(values=st.lists(sizes, min_size=1, max_size=4), lr=st.floats(1e-3, 1.0))
def test_a_synthetic_reading_is_what_is_read_of_a_critic_with_these_modes(values, lr):
    """A linear critic on unit rows has G = I; X* = (λ + 1)X gives A the eigenvalues λ, u along the leading one."""
    rows = len(values)
    critic = MLP(rows, 1, MLPConfig(depth=1, bias=False), generator=torch.Generator(), dtype=torch.float64)
    x, leading = torch.eye(rows, dtype=torch.float64), max(range(rows), key=values.__getitem__)
    x_next = torch.diag(torch.tensor(values, dtype=torch.float64) + 1)
    taken = take_reading(critic, x, x_next, x[leading], torch.zeros(rows), discount=1.0, lr=lr)
    step_size = 2 * lr / rows
    made = reading(0, *(value * step_size for value in values), step_size=step_size)
    for name in ("leading", "leading_imaginary", "second", "trailing", "normalised", "numerical_abscissa", "rayleigh"):
        assert getattr(made, name) == pytest.approx(getattr(taken, name), rel=1e-12, abs=1e-12), name
    for name in ("rows", "step_size", "growth", "excitation_gain", "overshoot_gain", "td_norm", "rate"):
        assert getattr(made, name) == pytest.approx(getattr(taken, name), rel=1e-12, abs=1e-12), name


def test_a_complex_pair_is_read_as_one():
    made = reading(3, 0.5 + 1j, 0.25, step_size=0.5, max_abs_q=7.0)
    assert (made.rows, made.leading, made.leading_imaginary, made.second) == (3, 1.0, 2.0, 0.5)
    assert (made.excitation_gain, made.overshoot_gain, made.step, made.max_abs_q) == (abs(1.5 + 1j), 1.0, 3, 7.0)


@given(ray=rays())
def test_a_ray_is_read_before_its_crash_at_rising_rates(ray):
    history = ray.history()
    assert [one.step for one in history] == sorted(set(ray.steps))
    for before, after in pairwise(history):
        assert after.rate > before.rate or ray.depth == 1
        assert after.max_abs_q > before.max_abs_q
    for one in history:
        check_plausible(one)
        assert math.log(one.max_abs_q) < LOG_MAX["float32"]
        assert one.overshoot_gain < max(one.excitation_gain, 1)
    # A step of the recursion multiplies the rate by (1 + x/L)^(2L-2).
    scales = islice(ray_scales(ray.depth, ray.rate), ray.steps[-1])
    grown = sum(math.log1p(ray.rate * scale ** (2 * ray.depth - 2) / ray.depth) for scale in scales)
    assert math.log(history[-1].rate / ray.rate) == pytest.approx((2 * ray.depth - 2) * grown, rel=1e-9, abs=1e-12)


def test_steps_of_a_ray_by_hand():
    # x = L = 2 doubles the parameters: Q by 4, x by 4; then by 1 + 8/2 = 5.
    assert list(ray_scales(2, 2.0))[:3] == [1.0, 2.0, 10.0]
    assert [steps_of_ray(2, 2.0, math.log(q)) for q in (3.9, 4.1, 99.0, 101.0)] == [1, 2, 2, 3]
    assert [steps_of_ray(1, 1.0, n * math.log(2) - 1e-9) for n in (1, 10, 1000)] == [1, 10, 1000]
    assert list(ray_scales(2, -6.0))[:2] == [1.0, -2.0]
    assert Ray(1, 1.0, (0,), size=2.0**1000).crash() == 24
    assert Ray(1, 1.0, (0,)).crash("float32") == 128


KINDS = {
    "grows": (histories(modes), lambda history: history[0][-1].rate > 0.5),
    "decays": (histories(modes), lambda history: history[0][-1].rate < 0 and history[0][-1].overshoot_gain < 1),
    "overshoots": (histories(modes), lambda history: history[0][-1].overshoot_gain > 4),
    "turns": (histories(modes), lambda history: any(one.leading_imaginary for one in history[0])),
    "two critics of five readings": (histories(modes, critics=(1, 2)), lambda h: len(h) == 2 and len(h[0]) == 5),
    "a ray that crashes soon": (rays(depths=(2, 5)), lambda ray: ray.crash() - ray.steps[-1] < 8),
    "a slow ray": (rays(depths=(2, 5)), lambda ray: ray.crash() > 1000),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_found(kind):
    strategy, wanted = KINDS[kind]
    assert wanted(find(strategy, wanted, settings=SEARCH))


def test_they_shrink_to_one_plain_reading():
    (critic,) = find(histories(modes), lambda _: True)
    assert [(one.step, one.step_size, one.max_abs_q) for one in critic] == [(0, 1.0, 1.0)]
    assert find(rays(rates=(0.5, 2.0)), lambda _: True) == Ray(depth=1, rate=1.0, steps=(0,))
    assert len(find(rays(), lambda ray: len(ray.steps) > 2).steps) == 3


@given(depth=st.integers(2, 5), data=st.data())
def test_overshoot_is_what_it_is_called(depth, data):
    for beyond in (True, False):
        (critic,) = data.draw(histories(overshooting_modes(depth, beyond=beyond)), label="history")
        last = critic[-1]
        assert last.overshoot_gain > max(1.0, last.excitation_gain)
        steps = SGDLaw(depth).steps_to_overflow(last.step_size * last.trailing, 100.0)
        assert math.isfinite(steps) == beyond
        assert forecast([critic], depth=depth, dtype="float64", step=last.step).mechanism == "overshoot"


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: reading(0), "modes"),
        (lambda: reading(0, 1 - 1j), "modes"),
        (lambda: rays(depths=(0, 2)), "depths"),
        (lambda: rays(rates=(0.0, 2.0)), "rates"),
        (lambda: rays(readings=(3, 2)), "readings"),
        (lambda: histories(modes, critics=(1, 3)), "critics"),
        (lambda: growing_modes(0.0), "rates"),
        (lambda: growing_modes(2.0, 1.0), "rates"),
        (lambda: overshooting_modes(1, beyond=False), "depth"),
        (lambda: overshooting_modes(0, beyond=True), "depth"),
    ],
)
def test_an_impossible_argument_is_named(make, named):
    with pytest.raises(InvalidArgument, match=named):
        make()
