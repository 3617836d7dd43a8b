"""The look-ahead along the drift, against real steps of optimisers and the clean models of the theory."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from reference.tests.optimiser_cases import Run
from seem.drift import Drift, Trail, drift_of_optimizer
from seem.errors import InputError
from seem.lookahead import accelerated, look_ahead, value_bound
from seem.networks import Critic, MLPConfig

ROWS = {"x": torch.linspace(0.5, 2.0, 8)[:, None].double()}


def linear(weight=1.0) -> nn.Linear:
    critic = nn.Linear(1, 1, bias=False).double()
    critic.weight.data.fill_(weight)
    return critic


def drift_of(critics, by=0.5, **settings) -> Drift:
    now = {id(p): torch.full_like(p, by) for c in critics for p in c.parameters()}
    return Drift(now, None, 10, 0.0, "a test")


def test_a_linear_critic_crosses_where_it_really_does():
    critics = [linear(1.0), linear(2.0)]
    mean = ROWS["x"].mean().item()
    for steps in (0.5, 3.0, 40.0, 900.0):
        bound = (1.5 + 0.5 * steps) * mean
        found = look_ahead(critics, ROWS, drift=drift_of(critics), bound=bound, step=7)
        # 1e-9: |Q| is linear in k here, so that the line between two points is exact.
        assert found.crossing == pytest.approx(steps, rel=1e-9)
        assert found.mean_abs_q == pytest.approx(1.5 * mean)
        assert (found.step, found.accelerated, found.window) == (7, None, 10)
    far = look_ahead(critics, ROWS, drift=drift_of(critics), bound=1e6)
    assert far.crossing == math.inf
    past = look_ahead(critics, ROWS, drift=drift_of(critics), bound=mean)
    assert past.crossing == 0.0
    # Q first falls through zero and then leaves on the other side.
    back = look_ahead(critics, ROWS, drift=drift_of(critics, -0.5), bound=2 * mean)
    assert back.crossing == pytest.approx(7.0, rel=1e-9)


@pytest.mark.parametrize("make", [torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop])
def test_a_network_under_a_constant_gradient_crosses_where_it_really_does(make):
    """Of a gradient that stays what it is m/√v stays too, and the line is exact whatever the network."""
    generator = torch.Generator().manual_seed(0)
    critic = Critic(2, 1, MLPConfig(width=16), generator=generator).double()
    rows = {"observations": torch.randn(32, 2, generator=generator, dtype=torch.float64),
            "actions": torch.randn(32, 1, generator=generator, dtype=torch.float64)}  # fmt: skip
    settings = {"weight_decay": 0.0, "momentum": 0.9} if make is torch.optim.RMSprop else {"weight_decay": 0.0}
    optimiser = make(critic.parameters(), lr=1e-3, **settings)
    gradients = [torch.randn(p.shape, generator=generator, dtype=torch.float64) for p in critic.parameters()]

    def step():
        for parameter, gradient in zip(critic.parameters(), gradients, strict=True):
            parameter.grad = gradient.clone()
        optimiser.step()

    trail = Trail(critic)
    for count in range(2000 if make is torch.optim.RMSprop else 300):
        step()
        if make is not torch.optim.RMSprop and count in (279, 289, 299):
            trail.note(count + 1)
    x = torch.cat((rows["observations"], rows["actions"]), 1)
    bound = 3 * critic(x).abs().mean().item()
    drifts = [drift_of_optimizer(optimiser, critic)]
    drifts += [trail.drift()] if trail.notes else []
    found = [look_ahead(critic, rows, drift=drift, bound=bound, horizon=10_000) for drift in drifts]
    taken = 0
    while critic(x).abs().mean().item() < bound:
        step()
        taken += 1
    for look in found:
        # 2e-3 and a step: crossings are found between points 5 % of a bracket apart.
        assert look.crossing == pytest.approx(taken, rel=2e-3, abs=1)
        assert look.accelerated is None or look.accelerated == pytest.approx(taken, rel=2e-2, abs=1)


@pytest.mark.parametrize("sigma", [0.002, 0.01, -0.002])
def test_the_accelerated_time_undoes_the_growth_of_the_steps(sigma):
    """A linear critic whose step grows by the share σ each."""
    critic, trail, speed, window = linear(0.0), Trail(linear(0.0)), 1.0, 10
    trail = Trail(critic)
    for step in range(2 * window + 1):
        if step % window == 0:
            trail.note(step)
        critic.weight.data += speed
        speed *= math.exp(sigma)
    critic.weight.data -= speed * math.exp(-sigma)
    speed *= math.exp(-sigma)
    drift = trail.drift()
    assert drift.acceleration == pytest.approx(sigma, rel=1e-9)
    k = 60
    way = sum(speed * math.exp(sigma * j) for j in range(k))
    bound = (critic.weight.item() + way) * ROWS["x"].mean().item()
    found = look_ahead(critic, ROWS, drift=drift, bound=bound)
    lateness = 1 + sigma * (k + window) / 2
    # The clean model is of first order in σ(k+W), at most .7 here.
    assert found.crossing / k == pytest.approx(lateness, rel=0.5 * (sigma * (k + window)) ** 2 + 2e-3)
    assert found.accelerated / k == pytest.approx(1.0, rel=0.2 * (sigma * (k + window)) ** 2 + 5e-3)


def test_the_accelerated_time_in_closed_form():
    assert accelerated(50.0, 0.0, 10) == 50.0
    assert accelerated(50.0, 1e-12, 10) == pytest.approx(50.0)
    for sigma in (0.01, 0.05, -0.005):
        k = accelerated(50.0, sigma, 10)
        assert k + sigma * k**2 / 2 == pytest.approx(50 * (1 - sigma * 5))
    assert accelerated(50.0, -0.02, 10) == math.inf
    assert accelerated(math.inf, 0.01, 10) == math.inf


def test_what_vmap_does_not_know_is_evaluated_one_by_one():
    class Branching(nn.Linear):
        def forward(self, x):
            made = super().forward(x)
            return made if made.sum().item() > 0 else 2 * made

    with torch.random.fork_rng():
        torch.manual_seed(0)
        critic = Branching(1, 1).double()
    critic.weight.data.fill_(1.0)
    found = look_ahead(critic, ROWS, drift=drift_of([critic], 1.0), bound=100.0)
    plain = nn.Linear(1, 1).double()
    plain.load_state_dict(critic.state_dict())
    assert found.crossing == look_ahead(plain, ROWS, drift=drift_of([plain], 1.0), bound=100.0).crossing


def test_an_overflow_on_the_way_is_past_any_bound():
    class Exploding(nn.Linear):
        def forward(self, x):
            return torch.exp(super().forward(x) * 50)

    critic = Exploding(1, 1, bias=False).double()
    critic.weight.data.fill_(0.1)
    found = look_ahead(critic, ROWS, drift=drift_of([critic], 1.0), bound=1e300)
    assert 6 < found.crossing < 8


def test_nothing_is_touched():
    run = Run("Adam")
    for _ in range(3):
        run.step()
    rows = {"x": run.x}
    before = [p.detach().clone() for p in run.parameters]
    states = [copy.deepcopy(state) for state in run.optimizer.state.values()]
    generator = torch.get_rng_state()
    look_ahead(run.critics, rows, drift=drift_of_optimizer(run.optimizer, run.critics), bound=10.0)
    assert all(map(torch.equal, before, run.parameters))
    assert torch.equal(generator, torch.get_rng_state())
    for old, new in zip(states, run.optimizer.state.values(), strict=True):
        assert all(torch.equal(torch.as_tensor(old[key]), torch.as_tensor(new[key])) for key in old)


def test_bounds():
    assert value_bound([1.0, -3.0], 0.9) == pytest.approx(30.0)
    n_step = np.array([0.9, 0.729])
    # |R| = 2 with γ³ = .729 bounds by 7.38, |R| = 1 with γ = .9 by 10.
    assert value_bound(np.array([1.0, 2.0]), n_step) == pytest.approx(10.0)
    assert value_bound(torch.tensor([[0.0], [1.0]]), 0.5, offset=-1.0, scale=3.0) == pytest.approx(6.0)
    for rewards, discount, words in (
        ([1.0], 1.0, "discount of 1"), ([0.0, 0.0], 0.9, "all 0"), ([1.0, 2.0], [0.9, 0.9, 0.9], "per row"),
        ([1.0, math.nan], 0.9, r"rewards\[1\] is nan"), ([], 0.9, "per row"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=words):
            value_bound(rewards, discount)


def test_drifts_that_cannot_be():
    critic = linear()
    trail = Trail(critic)
    trail.note(0)
    with pytest.raises(InputError, match="two copies"):
        trail.drift()
    trail.note(1)
    with pytest.raises(InputError, match="fewer than two steps"):
        trail.drift()
    with pytest.raises(InputError, match="in order"):
        trail.note(1)
    with pytest.raises(InputError, match="remembers no drift"):
        drift_of_optimizer(torch.optim.SGD(critic.parameters(), lr=0.1), critic)
    with pytest.raises(InputError, match="no state"):
        drift_of_optimizer(torch.optim.Adam(critic.parameters()), critic)
    with pytest.raises(InputError, match="holds"):
        drift_of_optimizer(torch.optim.Adam(linear().parameters()), critic)
    with pytest.raises(InputError, match="the drift has no"):
        look_ahead(critic, ROWS, drift=drift_of([linear()]), bound=1.0)
    with pytest.raises(InputError, match="observations"):
        look_ahead(critic, {"y": 1}, drift=drift_of([critic]), bound=1.0)
    for settings in ({"bound": 0.0}, {"bound": math.inf}, {"bound": 1.0, "horizon": 0.0}):
        with pytest.raises(InputError, match="impossible"):
            look_ahead(critic, ROWS, drift=drift_of([critic]), **settings)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (torch.empty(0, 1), "no rows"),
        (torch.tensor(1.0), "no rows"),
        (torch.tensor([[1.0], [math.nan]]), r"the batch\[1, 0\] is nan"),
        (torch.tensor([[math.inf]]), r"the batch\[0, 0\] is inf"),
    ],
)
def test_rows_that_are_none_or_no_numbers_are_no_alarm(rows, said):
    critic = linear()
    with pytest.raises(InputError, match=said):
        look_ahead(critic, {"x": rows.double()}, drift=drift_of([critic]), bound=1.0)


def test_rows_have_the_names_of_libraries():
    critic = nn.Linear(3, 1).double()
    states, actions = torch.ones(4, 2).double(), torch.ones(4, 1).double()
    found = [
        look_ahead(critic, batch, drift=drift_of([critic]), bound=1e3)
        for batch in (
            {"obs": states, "act": actions},
            {"observation": states, "action": actions},
            (states, actions) * 2,
        )
    ]
    assert found[0] == found[1] == found[2]


def test_a_drift_that_turns_has_no_acceleration():
    critic = linear(0.0)
    trail = Trail(critic)
    for step, weight in ((0, 0.0), (10, 1.0), (20, 0.5)):
        critic.weight.data.fill_(weight)
        trail.note(step)
    assert trail.drift().acceleration is None
    assert look_ahead(critic, ROWS, drift=trail.drift(), bound=50.0).accelerated is None
