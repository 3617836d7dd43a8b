"""The monitor against whole readings, and what it spends."""

import dataclasses
import math

import numpy as np
import pytest
import torch

import seem.monitor
from seem.enclosure import Enclosure
from seem.errors import InputError
from seem.leading import from_all_eigenvalues
from seem.monitor import Monitor
from seem.networks import Critic, MLPConfig
from seem.spectrum import take_reading

ROWS, DISCOUNT, LR = 80, 0.9, 1e-3


class Clock:
    """Seconds that pass only when told, and one at every look."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 1.0
        return self.now


def case(scale=1.0, rows=ROWS, seed=0):
    """A critic with its rows; a scale above 1 lengthens X* and makes it diverge."""
    generator = torch.Generator().manual_seed(seed)
    critic = Critic(3, 2, MLPConfig(width=16), generator=generator, dtype=torch.float64)
    x = torch.rand(rows, 5, generator=generator, dtype=torch.float64)
    x_next = scale * torch.rand(rows, 5, generator=generator, dtype=torch.float64)
    error = torch.randn(rows, generator=generator, dtype=torch.float64)
    terminals = (torch.rand(rows, generator=generator, dtype=torch.float64) < 0.2).double()
    return (critic, x, x_next), {"td_error": error, "terminals": terminals}


def reading_of(case):
    (critic, x, x_next), keywords = case
    return take_reading(critic, x, x_next, **keywords, discount=DISCOUNT, lr=LR, step=7)


@pytest.mark.parametrize(("scale", "method"), [(30.0, "iterative"), (0.5, "dense")])
def test_a_glance_agrees_with_a_reading(scale, method):
    drawn = case(scale)
    glance = Monitor(discount=DISCOUNT, lr=LR, dense_share=1.0).read(*drawn[0], **drawn[1], step=7)
    reading = reading_of(drawn)
    assert glance.leading.method == method
    assert glance.leading.value.real == pytest.approx(reading.leading, rel=1e-9)
    assert glance.rate == pytest.approx(reading.rate, rel=1e-9)
    for name in ("step", "rows", "step_size", "rayleigh", "growth", "alignment", "td_norm"):
        assert getattr(glance, name) == pytest.approx(getattr(reading, name), rel=1e-9)


def test_a_module_of_two_arguments_is_read_too():
    (critic, x, x_next), keywords = case(30.0)

    class Foreign(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = critic

        def forward(self, state, action):
            return self.inner(torch.cat((state, action), 1))

    parts = [(inputs[:, :3], inputs[:, 3:]) for inputs in (x, x_next)]
    monitor = Monitor(discount=DISCOUNT, lr=LR)
    mine, other = (
        monitor.read(critic, x, x_next, **keywords, step=0),
        monitor.read(Foreign(), *parts, **keywords, step=0),
    )
    assert other.leading.value.real == pytest.approx(mine.leading.value.real, rel=1e-9)
    assert other.alignment == pytest.approx(mine.alignment, rel=1e-9)


def test_all_eigenvalues_are_computed_within_the_share_only():
    drawn, clock = case(0.5), Clock()
    monitor = Monitor(discount=DISCOUNT, lr=LR, dense_share=0.1, clock=clock)
    dense = 0
    for step in range(400):
        glance = monitor.read(*drawn[0], **drawn[1], step=step)
        dense += glance.leading is not None
        clock.now += 2.0
        assert dense <= 0.1 * clock.now
    # Each costs one second of this clock; the first is expected to cost 64.
    assert dense > 0.08 * clock.now


def test_a_share_of_zero_never_computes_all():
    drawn = case(0.5)
    monitor = Monitor(discount=DISCOUNT, lr=LR, dense_share=0.0)
    glance = monitor.read(*drawn[0], **drawn[1], step=0)
    assert glance.leading is None
    assert glance.rate is None
    assert math.isfinite(glance.rayleigh)


def test_attempts_in_vain_become_rarer_and_return_when_u_grows(monkeypatch):
    tried = []
    undetermined = Enclosure(-1.0, 1.0, None)
    monkeypatch.setattr(seem.monitor, "enclose", lambda matrix, **_: tried.append(len(matrix)) or undetermined)
    monitor, matrix = Monitor(discount=DISCOUNT, lr=LR, dense_share=0.0), torch.zeros(2, 2)
    made = []
    for growing in [False] * 30 + [True, True]:
        before = len(tried)
        monitor._leading(matrix, growing=growing)
        made.append(len(tried) > before)
    # One reading passes, then three, then always seven; none while u grows.
    assert [step for step, attempted in enumerate(made) if attempted] == [0, 2, 6, 14, 22, 30, 31]


def test_a_certificate_ends_the_pause(monkeypatch):
    monitor, found = Monitor(discount=DISCOUNT, lr=LR, dense_share=0.0), from_all_eigenvalues(np.eye(2))
    answers = iter([Enclosure(-1.0, 1.0, None), Enclosure(1.0, 1.0, found), Enclosure(1.0, 1.0, found)])
    monkeypatch.setattr(seem.monitor, "enclose", lambda matrix, **_: next(answers))
    seen = [monitor._leading(torch.eye(2), growing=False)[0] for _ in range(4)]
    assert seen == [None, None, found, found]


def test_a_start_of_another_size_is_forgotten():
    monitor = Monitor(discount=DISCOUNT, lr=LR)
    for rows in (ROWS, ROWS + 10):
        drawn = case(30.0, rows)
        assert monitor.read(*drawn[0], **drawn[1], step=0).leading.method == "iterative"


def test_a_critic_that_overflowed_gives_none():
    (critic, x, x_next), keywords = case()
    with torch.no_grad():
        critic.linears[0].weight *= math.inf
    assert Monitor(discount=DISCOUNT, lr=LR).read(critic, x, x_next, **keywords, step=0) is None


@pytest.mark.parametrize("size", [1e200, math.inf])
def test_an_error_without_a_finite_norm_gives_none(size):
    (critic, x, x_next), keywords = case()
    keywords["td_error"] = torch.full((ROWS,), size, dtype=torch.float64)
    assert Monitor(discount=DISCOUNT, lr=LR).read(critic, x, x_next, **keywords, step=0) is None


def test_the_cost_is_told():
    drawn = case(30.0)
    glance = Monitor(discount=DISCOUNT, lr=LR, clock=Clock()).read(*drawn[0], **drawn[1], step=0)
    assert glance.seconds == 1.0
    assert dataclasses.replace(glance, leading=None).rate is None


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_an_impossible_share_is_refused(share):
    with pytest.raises(InputError, match="from 0 to 1"):
        Monitor(discount=DISCOUNT, lr=LR, dense_share=share)


def test_a_monitor_given_a_share_is_due_as_often_as_the_dearest_reading_fits():
    drawn, clock = case(30.0), Clock()
    monitor = Monitor(discount=DISCOUNT, lr=LR, share=0.1, clock=clock)
    assert monitor.due()
    spent, read = 0.0, 0
    for step in range(300):
        if monitor.due():
            spent += monitor.read(*drawn[0], **drawn[1], step=step).seconds
            read += 1
            # The first reading comes before anything is known of its cost.
            assert read == 1 or spent <= 0.1 * clock.now
    assert spent > 0.08 * clock.now


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("scale", [0.5, 1.0, 30.0])
def test_bounds_hold_the_leading_eigenvalue(seed, scale):
    drawn = case(scale, seed=seed)
    bounds = Monitor(discount=DISCOUNT, lr=LR, dense_share=0.0).read(*drawn[0], **drawn[1], step=0).bounds
    value, slack = reading_of(drawn).leading, 1e-9 * reading_of(drawn).kernel_norm
    assert bounds.low - slack <= value <= bounds.high + slack
    assert bounds.excited in (None, value > 0)


def test_without_bootstrap_the_bounds_say_not_excited():
    drawn = case()
    glance = Monitor(discount=0.0, lr=LR, dense_share=0.0).read(*drawn[0], **drawn[1], step=0)
    assert glance.bounds.high <= 1e-9


def test_a_discount_by_row_and_columns_as_libraries_have_them():
    (critic, x, x_next), keywords = case(30.0)
    discounts = torch.linspace(0.5, 1, ROWS, dtype=torch.float64)
    wide = {name: value[:, None] for name, value in keywords.items()}
    plain = Monitor(discount=discounts, lr=LR).read(critic, x, x_next, **keywords, step=0)
    column = Monitor(discount=discounts[:, None], lr=LR).read(critic, x, x_next, **wide, step=0)
    whole = take_reading(critic, x, x_next, **wide, discount=discounts, lr=LR)
    assert plain.leading.value == column.leading.value
    assert plain.leading.value.real == pytest.approx(whole.leading, rel=1e-9)
