"""Readings under the live optimiser, against its real steps and the golden values of the theory."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from reference.tests.optimiser_cases import LOSSES, OPTIMISERS, TARGETS, Run, adam, step_of
from seem.dynamics import Training
from seem.errors import InputError
from seem.modes import growth_at, roots
from seem.networks import Critic, MLPConfig
from seem.reading import read
from seem.step_rules import StepRule

STEPS = 20
ROUNDING = 1e-10
"""Twenty steps of some dozen products each, and a pinned second moment that is a difference of two numbers."""


def agreement(run: Run) -> float:
    for _ in range(5):
        run.step()
    rolled = run.look().under_optimiser.path(STEPS)
    real = run.path(STEPS)
    return float(np.abs(rolled - real).max() / np.abs(real).max())


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_the_roll_out_is_the_real_steps_of_linear_critics(optimiser):
    for loss, targets in [*((loss, "averaged every third") for loss in LOSSES), *(("all of it", t) for t in TARGETS)]:
        run = Run(optimiser, LOSSES[loss] | TARGETS[targets])
        assert agreement(run) < ROUNDING, (loss, targets)


def test_with_its_second_moment_moving_adam_agrees_as_far_as_freezing_goes():
    run = Run("Adam", TARGETS["averaged"], pinned=False)
    for _ in range(400):
        run.step()
    rolled, real = run.look().under_optimiser.path(STEPS), run.path(STEPS)
    # 2e-2: at t = 400 twenty steps renew 1 - .999^20 = 2 % of the average; theory/frozen_preconditioner.py.
    assert 1e-8 < np.abs(rolled - real).max() / np.abs(real).max() < 2e-2


def test_the_minimum_of_twins_is_exact_while_it_stays():
    run = Run("momentum", backup="min", seed=3)
    changed(run.optimizer, lr=1e-3)
    with torch.no_grad():
        run.critics[0].bias += 100.0  # the second critic stays the smaller
        run.targets[0].bias += 100.0
    assert agreement(run) < ROUNDING


def test_a_float32_network_with_adam_agrees_to_first_order():
    """The network is not linear: to first order in a step of 1e-6."""
    generator = torch.Generator().manual_seed(0)
    critic = Critic(3, 1, MLPConfig(width=16), generator=generator)
    x, x_next = torch.randn(2, 12, 4, generator=generator)
    rewards = torch.randn(12, generator=generator)
    optimiser = torch.optim.Adam(critic.parameters(), lr=1e-6)

    def errors():
        return critic(x).reshape(-1) - rewards - 0.9 * critic(x_next).reshape(-1).detach()

    def step():
        optimiser.zero_grad()
        errors().square().mean().backward()
        optimiser.step()

    step()
    batch = {"x": x, "x_next": x_next, "rewards": rewards}
    reading = read(critic, batch, training=Training(discount=0.9, optimizer=optimiser), with_optimiser=True)
    exact = copy.deepcopy(critic).double()
    before = errors().detach().double()
    rolled = reading.under_optimiser.path(STEPS)
    for _ in range(STEPS):
        step()
    moved = np.linalg.norm(errors().detach().numpy() - before.numpy())
    # 5e-2: float32 rounds a step of 1e-6 in weights of .1 to 1e-2 of itself.
    assert np.linalg.norm(rolled[-1] - rolled[0]) == pytest.approx(moved, rel=5e-2)
    assert reading.dtype == "float64"
    assert exact is not critic


GOLDEN = [(0.01, 1.0092388), (0.1, 1.0646586), (-0.1 + 0.2j, 1.0337486), (-38.0, 1.0)]


@pytest.mark.parametrize(("x", "growth"), GOLDEN)
def test_growth_of_single_modes_under_adam(x, growth):
    found = np.abs(roots(np.array([x], dtype=np.complex128), adam(0.9))).max()
    # 5e-8: the printed digits; theory/copied_target_radius.py has the closed form.
    assert found == pytest.approx(growth, abs=5e-8)
    focus = [-(1 + 0.9 + sign * 2 * np.sqrt(0.9)) / 0.1 for sign in (1, -1)]
    sigma = 0.05 * sum(abs(x - f) for f in focus)
    assert found == pytest.approx((sigma + np.sqrt(max(sigma**2 - 3.6, 0))) / 2, rel=1e-12)


def blocks_of(x: complex) -> tuple[np.ndarray, np.ndarray]:
    """K = I and ΓK* with the eigenvalues 1 + x and its conjugate."""
    turn = np.array([[x.real, -x.imag], [x.imag, x.real]])
    return np.eye(2), np.eye(2) + turn


def test_an_averaged_target_and_a_resonance():
    step = step_of(0.1, 0.12, adam(0.9), rate=0.005)
    assert step.radius == pytest.approx(1.00094877, abs=5e-9)
    assert step.driver == "self-excitation"
    # x = 1, τ = .5, β₁ = .9: a pair leaves at x* = -1.4444, though λ < 0.
    below, above = (step_of(1.0, -1.4444444 - room, adam(0.9), rate=0.5) for room in (-1e-3, 1e-3))
    assert (below.growing, above.growing) == (False, True)
    assert above.driver == "resonance"
    assert above.excited is False


@pytest.mark.parametrize(
    ("rule", "edge"),
    [(StepRule("SGD"), -2.0), (StepRule("SGD", 0.9), -3.8), (StepRule("SGD", 0.9, 1.0, 1.0, 0.9), -1.35714286),
     (adam(0.9), -38.0), (adam(0.9, shrink=0.01), -37.81)],
)  # fmt: skip
def test_overshoot_of_real_modes_by_rule(rule, edge):
    inside, outside = (step_of(-edge * room, 0.0, rule) for room in (1 - 1e-6, 1 + 1e-6))
    assert not inside.growing
    assert outside.growing
    assert outside.driver == "overshoot"
    ((low, high),) = step_of(-edge / 3, 0.0, rule).stable_factors
    # A decay scales with the learning rates too: at ω = .03 the edge is elsewhere.
    wanted = 3.0 if not rule.shrink else -edge / 3 and (2 * 1.9 / 0.1) / (-edge / 3 + 0.01 * 1.9 / 0.1)
    assert (low, high) == (0.0, pytest.approx(wanted, rel=1e-6))


def test_decay_moves_the_zero_of_excitation():
    for room, growing in ((-1e-4, False), (1e-4, True)):
        assert step_of(1.0, 1.01 + room, adam(0.9, shrink=0.01)).growing is growing
        assert step_of(1.0, 1.01 + room, StepRule("SGD", 0.9, pull=0.01)).growing is growing


def test_rotating_modes_have_smaller_steps_under_momentum():
    for rule, edge in ((StepRule("SGD"), 1.6), (adam(0.9), 0.4164384)):
        ((low, high),) = step_of(*blocks_of(-1 + 0.5j), rule).stable_factors
        assert (low, high) == (0.0, pytest.approx(edge, rel=2e-6))
    assert step_of(*blocks_of(0.1 + 0.5j)).stable_factors == ()
    assert step_of(*blocks_of(-0.1 + 0.2j), adam(0.9)).driver == "resonance"
    assert step_of(*blocks_of(-0.1 + 2.0j)).driver == "overshoot"


PHI, PHI_NEXT = np.array([[-2.0, 1.0], [-1.0, 1.0]]), np.array([[-2.0, 3.0], [-1.0, 1.0]])
NOT_COMMUTING = PHI @ PHI.T, 0.9 * PHI_NEXT @ PHI.T


@pytest.mark.parametrize(
    ("rule", "growths", "interval"),
    [(StepRule("SGD"), (1.00885410, 1.00283680, 0.99954018), (0.6312, 29.3577)),
     (adam(0.9), (1.00824699, 1.00284891, 0.99954555), (0.6394, 557.8))],
)  # fmt: skip
def test_a_slow_target_stabilises_on_an_interval_of_learning_rates(rule, growths, interval):
    for rate, growth in zip((1.0, 0.1, 0.01), growths, strict=True):
        step = step_of(*NOT_COMMUTING, rule, share=0.01, rate=rate)
        assert step.mode.growth == pytest.approx(growth, abs=1e-8)
        assert growth_at(step.rows, 1.0) == pytest.approx(growth, abs=1e-8)
    ((low, high),) = step.stable_factors
    assert (low, high) == (pytest.approx(interval[0], abs=1e-4), pytest.approx(interval[1], rel=1e-4))


def test_rare_copies():
    for interval, growth in ((1, 1.0088541), (2, 1.0082738), (10, 1.0036169), (200, 0.9990965)):
        step = step_of(*NOT_COMMUTING, share=0.01, interval=interval)
        assert step.mode.growth == pytest.approx(growth, abs=5e-8)


def test_the_optimisers_sign_decides_and_seems_may_differ():
    class Row(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = (nn.Parameter(torch.ones((), dtype=torch.float64)) for _ in range(2))

        def forward(self, x):
            return (x @ torch.stack((self.first, self.second)))[:, None]

    critic = Row()
    optimiser = torch.optim.SGD([{"params": [critic.first], "lr": 1.0}, {"params": [critic.second], "lr": 0.1}])
    rows = {"x": torch.tensor([[1.0, 1.0]]), "x_next": torch.tensor([[2.0, -1.0]]), "td_error": torch.ones(1)}
    reading = read(critic, rows, training=Training(discount=0.9, optimizer=optimiser), with_optimiser=True)
    assert reading.leading == pytest.approx(-1.1)
    assert reading.under_optimiser.leading == pytest.approx(0.61)
    assert reading.under_optimiser.rate_per_step == pytest.approx(1.22)
    assert reading.under_optimiser.excited is True
    assert reading.under_optimiser.growth_over(1) == pytest.approx(2.22)


def test_what_is_not_asked_for_or_cannot_be_said_has_its_reason():
    run = Run("Adam")
    run.step()
    plain = read(run.critics, run.batch, training=run.training, backup="mean")
    assert plain.under_optimiser is None
    assert "with_optimiser" in plain.why("under_optimiser")
    healthy = step_of(1.0, 0.5)
    assert (healthy.radius, healthy.driver, healthy.growing, healthy.excited) == (None, None, False, False)
    assert "no growing mode" in healthy.why("radius")
    clipped = step_of(1.0, 1.5, clip_norm=1e-3)
    assert clipped.radius is None
    assert clipped.stable_factors is None
    assert "clipped" in clipped.why("radius")
    assert clipped.growth_over(3) is not None
    bent = step_of(1.0, 1.5, knee=0.5)
    assert bent.radius is None
    assert "knee" in bent.why("radius")
    unknown = step_of(1.0, 1.5, error=None)
    assert unknown.growth_over(3) is None
    assert "TD error" in unknown.why("growth_over")
    assert unknown.radius is not None
    silent = step_of(0.0, 0.0)
    assert silent.mode is None
    assert silent.stable_factors == ((0.0, float("inf")),)


WITHOUT_REDUCTION = {
    "Adam's coupled decay": (lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.1), "leaves the span"),
    "RMSprop's decay": (lambda p: torch.optim.RMSprop(p, lr=0.01, weight_decay=0.1), "leaves the span"),
    "two momenta": (lambda p: [torch.optim.SGD(p[:2], lr=0.1), torch.optim.SGD(p[2:], lr=0.1, momentum=0.9)], "differ"),
    "decay of the weights alone": (
        lambda p: torch.optim.AdamW([{"params": p[::2], "weight_decay": 0.1}, {"params": p[1::2], "weight_decay": 0}]),
        "differ",
    ),
}


@pytest.mark.parametrize("name", WITHOUT_REDUCTION)
def test_a_step_without_a_reduction_says_so(name):
    make, words = WITHOUT_REDUCTION[name]
    run = Run()
    run.optimizer = make(run.parameters)
    run.training = Training(discount=0.9, optimizer=run.optimizer)
    for optimizer in run.optimizer if isinstance(run.optimizer, list) else [run.optimizer]:
        run.loss(run.errors()).backward()
        optimizer.step()
    step = run.look().under_optimiser
    assert step.leading is not None
    for found in (step.radius, step.growth_over(5), step.stable_factors, step.mode):
        assert found is None
    for part in ("radius", "growth_over", "stable_factors"):
        assert words in step.why(part)


def test_two_optimisers_are_as_one():
    together, apart = Run("Adam"), Run("Adam")
    apart.optimizer = [torch.optim.Adam(c.parameters(), lr=0.05) for c in apart.critics]
    apart.training = Training(discount=0.9, optimizer=apart.optimizer)
    together.step()
    apart.loss(apart.errors()).backward()
    for optimizer in apart.optimizer:
        optimizer.step()
    apart.targets = copy.deepcopy(apart.critics)
    paths = [run.look().under_optimiser.path(5) for run in (together, apart)]
    assert np.array_equal(*paths)


REFUSED = {
    "no state": (lambda p: torch.optim.Adam(p), {}, "no state"),
    "no momentum yet": (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), {}, "no state"),
    "held by none": (lambda p: torch.optim.SGD(p[:2], lr=0.1), {}, "no optimiser given holds it"),
    "clipped with strangers": (
        lambda p: torch.optim.SGD([*p, nn.Parameter(torch.ones(1))], lr=0.1), {"clip_norm": 1.0}, "clipped over",
    ),
    "no targets": (lambda p: torch.optim.SGD(p, lr=0.1), {"targets": 0.1}, "target_critics"),
}  # fmt: skip


def bits(run: Run) -> list[torch.Tensor]:
    states = [value for state in run.optimizer.state.values() for value in state.values()]
    tensors = [*run.parameters, *(p for t in run.targets for p in t.parameters()), *states, torch.get_rng_state()]
    grads = [p.grad for p in run.parameters if p.grad is not None]
    return [torch.as_tensor(tensor).detach().clone() for tensor in (*tensors, *grads)]


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_linearised_is_refused_and_left_alone(name):
    make, settings, words = REFUSED[name]
    run = Run()
    run.optimizer = make(run.parameters)
    run.training = Training(discount=0.9, optimizer=run.optimizer, **settings)
    before, groups = bits(run), copy.deepcopy([g | {"params": None} for g in run.optimizer.param_groups])
    with pytest.raises(InputError, match=words):
        read(run.critics, run.batch, training=run.training, with_optimiser=True)
    assert all(map(torch.equal, before, bits(run)))
    assert [g | {"params": None} for g in run.optimizer.param_groups] == groups
    read(run.critics, run.batch, training=run.training)  # SEEM itself can be read


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_a_reading_leaves_optimiser_critics_and_generators_alone(optimiser):
    run = Run(optimiser, TARGETS["averaged"])
    for _ in range(3):
        run.step()
    before, groups = bits(run), copy.deepcopy([g | {"params": None} for g in run.optimizer.param_groups])
    run.look().under_optimiser.path(3)
    assert all(map(torch.equal, before, bits(run)))
    assert str([g | {"params": None} for g in run.optimizer.param_groups]) == str(groups)


class Unknown(torch.optim.SGD):
    """A step of one's own."""


BAD_TRAININGS = {
    "unknown": (lambda p: torch.optim.Adagrad(p), "unknown here: pass torch.optim's SGD"),
    "a subclass": (lambda p: Unknown(p, lr=0.1), "unknown here"),
    "lr 0": (lambda p: torch.optim.SGD(p, lr=0.0), "lr 0"),
    "lr of a tensor 0": (lambda p: torch.optim.Adam(p, lr=torch.tensor(0.0)), "lr 0"),
    "maximize": (lambda p: torch.optim.SGD(p, lr=0.1, maximize=True), "maximize"),
    "β₁ of 1": (lambda p: changed(torch.optim.Adam(p), betas=(1.0, 0.999)), r"β₁ 1 is impossible"),
    "β₂ of 1": (lambda p: changed(torch.optim.AdamW(p), betas=(0.9, 1.0)), r"β₂ 1 is impossible"),
    "momentum of 1": (lambda p: torch.optim.SGD(p, lr=0.1, momentum=1.0), "momentum 1 is impossible"),
    "alpha of 1": (lambda p: torch.optim.RMSprop(p, alpha=1.0), "alpha 1 is impossible"),
    "empty": (lambda p: [], "empty"),
}


def changed(optimizer, **values):
    optimizer.param_groups[0].update(values)
    return optimizer


@pytest.mark.parametrize("name", BAD_TRAININGS)
def test_trainings_that_cannot_be(name):
    make, words = BAD_TRAININGS[name]
    with pytest.raises(InputError, match=words):
        Training(discount=0.9, optimizer=make([nn.Parameter(torch.ones(2))]))


def test_settings_that_cannot_be():
    for settings in ({"clip_norm": 0.0}, {"clip_norm": float("nan")}, {"target_interval": 0}):
        with pytest.raises(InputError, match="is impossible"):
            Training(discount=0.9, lr=0.1, **settings)


def test_a_learning_rate_that_a_schedule_has_brought_to_zero_is_told():
    run = Run()
    changed(run.optimizer, lr=0.0)
    with pytest.raises(InputError, match="lr 0"):
        run.look()


def test_targets_of_another_shape():
    run = Run("SGD", TARGETS["averaged"])
    run.targets = [nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 1)).double() for _ in range(2)]
    with pytest.raises(InputError, match=r"have no 0\.weight"):
        run.look()

    class Wide(nn.Linear):
        def forward(self, x):
            return super().forward(x)[:, :1]

    run.targets = [Wide(4, 2).double() for _ in range(2)]
    with pytest.raises(InputError, match="has shape"):
        run.look()


def test_parameters_that_never_had_a_gradient_rest():
    run = Run("Adam")
    run.step()
    state = run.optimizer.state[run.parameters[0]]
    state["exp_avg_sq"][0, 0] = 0.0
    step = run.look().under_optimiser
    assert "1 parameters" in step.notes[0]
    assert np.isfinite(step.kernel).all()


def test_what_has_overflowed_says_so():
    run = Run("Adam")
    run.step()
    with torch.no_grad():
        run.critics[0].weight *= float("inf")
    reading = run.look()
    assert reading.under_optimiser is None
    assert "floating-point range" in reading.why("under_optimiser")


def test_arrays_have_no_optimiser():
    blocks = {"gram": np.eye(2)[None], "gram_next": np.eye(2)[None]}
    with pytest.raises(InputError, match="arrays"):
        read(None, blocks, training=Training(discount=0.9, lr=0.1), with_optimiser=True)
