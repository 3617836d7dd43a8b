"""TD3 against a slow transcription of its papers, against its first-order theory, and bit for bit against itself."""

from dataclasses import replace

import pytest
import torch

from seem.agents.common import blend, load_state, state_of
from seem.agents.td3 import TD3, TD3Config
from seem.errors import InputError
from seem.networks import Critic, MLPConfig
from seem.ntk import gram_blocks
from seem.records import read_tensors, write_tensors
from seem.spectrum import seem_matrix, twin_seem_matrix
from seem.transitions import Transitions

SMALL = MLPConfig(depth=3, width=6)
SMOOTH = MLPConfig(depth=3, width=6, activation="tanh")
NEVER = 10**9
COPIED = TD3Config(
    critic=SMOOTH,
    actor=SMALL,
    critic_optimiser="sgd",
    critic_lr=0.01,
    actor_interval=NEVER,
    target_rate=1.0,
    target_interval=1,
    target_noise=0.0,
)
"""The theory's setting: gradient descent, targets copied at every step, a fixed policy without noise."""
CROSSING = 20
"""A seed at which either twin is the smaller one on some successors of `draw_batch`."""


def draw_batch(rows: int = 9, seed: int = 0, dtype: torch.dtype = torch.float64) -> Transitions:
    """Transitions with three state and two action components; every fourth one is terminal."""
    generator = torch.Generator().manual_seed(seed)
    return Transitions(
        torch.randn(rows, 3, generator=generator, dtype=dtype),
        torch.rand(rows, 2, generator=generator, dtype=dtype) * 2 - 1,
        torch.randn(rows, generator=generator, dtype=dtype),
        torch.randn(rows, 3, generator=generator, dtype=dtype),
        (torch.arange(rows) % 4 == 0).to(dtype),
    )


def build(config: TD3Config, seed: int = 0, dtype: torch.dtype = torch.float64) -> TD3:
    """An agent that fits `draw_batch`."""
    return TD3(config, 3, 2, seed=seed, dtype=dtype)


def small(**settings) -> TD3Config:
    return TD3Config(critic=SMALL, actor=SMALL, **settings)


def numbers(*modules) -> torch.Tensor:
    """A copy of all parameters in one vector."""
    return torch.cat([parameter.detach().flatten() for module in modules for parameter in module.parameters()]).clone()


def networks(agent: TD3) -> torch.Tensor:
    return numbers(agent.critics, agent.target_critics, agent.actor, agent.target_actor)


class SlowTD3:
    """Fujimoto et al. 2018, algorithm 1, and Fujimoto and Gu 2021, equation (3), on lists of leaf tensors.

    Adam is Kingma and Ba 2015, algorithm 1; heavy ball is Polyak's v ← βv + g, θ ← θ - lr·v.
    """

    def __init__(self, agent: TD3) -> None:
        def leaves(module):
            return [parameter.detach().clone().requires_grad_() for parameter in module.parameters()]

        self.config, self.steps = agent.config, 0
        self.critics, self.critic_targets = ([leaves(c) for c in cs] for cs in (agent.critics, agent.target_critics))
        self.actor, self.actor_target = leaves(agent.actor), leaves(agent.target_actor)
        self.noise = torch.Generator()
        self.noise.set_state(agent.noise.get_state())
        self.moments: dict[int, tuple[int, torch.Tensor, torch.Tensor]] = {}

    @staticmethod
    def perceptron(theta, x):
        w1, b1, w2, b2, w3, b3 = theta
        hidden = torch.einsum("oi,ni->no", w1, x).add(b1).clamp(min=0)
        hidden = torch.einsum("oi,ni->no", w2, hidden).add(b2).clamp(min=0)
        return torch.einsum("oi,ni->no", w3, hidden).add(b3)

    def q(self, theta, s, a):
        return self.perceptron(theta, torch.cat((s, a), 1))[:, 0]

    def descend(self, theta, loss, optimiser, lr, momentum=0.0):
        for parameter, gradient in zip(theta, torch.autograd.grad(loss, theta), strict=True):
            t, m, v = self.moments.get(id(parameter), (0, torch.zeros_like(gradient), torch.zeros_like(gradient)))
            if optimiser == "sgd":
                m = momentum * m + gradient
                change = m
            else:
                m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
                change = m / (1 - 0.9 ** (t + 1)) / ((v / (1 - 0.999 ** (t + 1))) ** 0.5 + 1e-8)
            self.moments[id(parameter)] = (t + 1, m, v)
            parameter.data = parameter.data - lr * change

    def update(self, batch: Transitions):
        c = self.config
        s, a, r, s_next, d = (getattr(batch, name) for name in Transitions.__dataclass_fields__)
        self.steps += 1
        with torch.no_grad():
            a_next = self.perceptron(self.actor_target, s_next).tanh()
            if c.target_noise:
                noise = torch.randn(len(s), 2, generator=self.noise, dtype=s.dtype) * c.target_noise
                a_next = (a_next + noise.clip(-c.noise_clip, c.noise_clip)).clip(-1, 1)
            first, second = (self.q(theta, s_next, a_next) for theta in self.critic_targets)
            y = r + c.discount * (1 - d) * torch.where(first < second, first, second)
        values = torch.stack([self.q(theta, s, a) for theta in self.critics])
        for theta in self.critics:
            loss = sum((self.q(theta, s, a) - y) ** 2) / len(s)
            self.descend(theta, loss, c.critic_optimiser, c.critic_lr, c.momentum)
        if self.steps % c.actor_interval == 0:
            action = self.perceptron(self.actor, s).tanh()
            q = self.q(self.critics[0], s, action)
            weight = 2.5 / (sum(abs(q.detach())) / len(s))
            cloning = ((action - a) ** 2).sum() / a.numel()
            self.descend(self.actor, -weight * q.mean() + c.behaviour_cloning * cloning, "adam", c.actor_lr)
        if self.steps % c.target_interval == 0:
            pairs = [*zip(self.critic_targets, self.critics, strict=True), (self.actor_target, self.actor)]
            for target, source in pairs:
                for old, new in zip(target, source, strict=True):
                    old.data = (1 - c.target_rate) * old.data + c.target_rate * new.data
        return values.detach(), y

    def numbers(self) -> torch.Tensor:
        parts = [*self.critics, *self.critic_targets, self.actor, self.actor_target]
        return torch.cat([parameter.detach().flatten() for part in parts for parameter in part])


@pytest.mark.parametrize(
    "config",
    [
        small(critic_optimiser="sgd", critic_lr=0.05),
        small(critic_optimiser="sgd", critic_lr=0.05, momentum=0.9, actor_interval=1, target_interval=3),
        small(actor_interval=3, target_interval=1, target_rate=1.0, discount=0.5),
        small(critic_lr=1e-2, actor_lr=1e-2, behaviour_cloning=0.7, target_rate=0.25),
        small(target_noise=2.0, noise_clip=0.3, actor_interval=1),
        small(target_noise=0.0, target_rate=0.0),
    ],
    ids=["sgd", "heavy ball", "adam, copied", "adam, cloning", "noise clipped", "no noise, frozen"],
)
def test_updates_equal_the_papers_algorithm(config):
    agent, batches = build(config), [draw_batch(seed=seed) for seed in range(6)]
    slow = SlowTD3(agent)
    for batch in batches:
        values, target = agent.update(batch)
        slow_values, slow_target = slow.update(batch)
        # 1e-10: rounding of 1e-16, of which Adam enlarges that of a vanishing gradient by up to 1/ε·lr = 1e6.
        torch.testing.assert_close(values, slow_values, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(target, slow_target, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(networks(agent), slow.numbers(), rtol=1e-10, atol=1e-10)


def test_update_returns_values_and_target_of_before_its_step():
    agent, batch = build(COPIED), draw_batch()
    before, target = agent.values(batch), agent.td_target(batch)
    values, returned = agent.update(batch)
    assert torch.equal(values, before)
    assert torch.equal(returned, target)
    assert not torch.equal(agent.values(batch), before)
    assert not values.requires_grad


def test_target_noise_is_drawn_from_the_agents_own_generator():
    agent, batch = build(small(target_noise=0.2, noise_clip=0.25)), draw_batch()
    generator = torch.Generator()
    generator.set_state(agent.noise.get_state())
    noise = (torch.randn(9, 2, generator=generator, dtype=torch.float64) * 0.2).clamp(-0.25, 0.25)
    assert (noise.abs() == 0.25).any(), "some noise is clipped"
    actions = (agent.target_actor(batch.next_observations) + noise).clamp(-1, 1)
    first, second = (critic.q(batch.next_observations, actions) for critic in agent.target_critics)
    expected = batch.rewards + 0.99 * (1 - batch.terminals) * torch.minimum(first, second)
    assert torch.equal(agent.td_target(batch), expected)
    assert torch.equal(agent.noise.get_state(), generator.get_state())


def test_a_look_without_noise_draws_nothing():
    agent, batch = build(small()), draw_batch()
    before = agent.noise.get_state()
    quiet = agent.td_target(batch, noisy=False)
    assert torch.equal(agent.noise.get_state(), before)
    assert torch.equal(quiet, build(small(target_noise=0.0)).td_target(batch))
    assert not torch.equal(quiet, agent.td_target(batch))


def test_the_clipped_noise_stays_in_the_box_of_actions():
    agent, batch = build(small(target_noise=100.0, noise_clip=100.0)), draw_batch(rows=40)
    seen = []
    agent.target_critics[0].register_forward_pre_hook(lambda _, rows: seen.append(rows[0][:, 3:]))
    agent.td_target(batch)
    assert (seen[0].abs() <= 1).all()
    assert (seen[0].abs() == 1).any()


def test_rate_one_copies_the_targets():
    agent = build(small(target_rate=1.0, target_interval=1, actor_interval=1))
    for seed in range(3):
        agent.update(draw_batch(seed=seed))
        assert torch.equal(numbers(agent.target_critics), numbers(agent.critics))
        assert torch.equal(numbers(agent.target_actor), numbers(agent.actor))


def test_rate_zero_leaves_the_targets_alone():
    agent = build(small(target_rate=0.0, target_interval=1, actor_interval=1, critic_lr=0.1))
    before = numbers(agent.target_critics, agent.target_actor)
    for seed in range(3):
        agent.update(draw_batch(seed=seed))
    assert torch.equal(numbers(agent.target_critics, agent.target_actor), before)
    assert not torch.equal(numbers(agent.critics), numbers(agent.target_critics))


def test_rate_zero_keeps_a_frozen_target_when_the_critic_has_overflowed():
    target, source = (torch.nn.Linear(2, 1).requires_grad_(False) for _ in range(2))
    before = numbers(target)
    source.weight.fill_(torch.inf)
    blend(target, source, 0.0)
    assert torch.equal(numbers(target), before)


def test_targets_and_actor_move_at_their_intervals_only():
    # With rate 1/2 the blend has one rounding, however it is computed: bitwise.
    agent = build(small(target_rate=0.5, target_interval=3, actor_interval=2))
    for step in range(1, 7):
        actor, targets = numbers(agent.actor), numbers(agent.target_critics, agent.target_actor)
        agent.update(draw_batch(seed=step))
        assert torch.equal(numbers(agent.actor), actor) == (step % 2 != 0)
        blended = 0.5 * targets + 0.5 * numbers(agent.critics, agent.actor)
        assert torch.equal(numbers(agent.target_critics, agent.target_actor), blended if step % 3 == 0 else targets)
        assert agent.steps == step


def test_a_terminal_row_ignores_its_successor():
    batch = draw_batch()
    shift = torch.where(batch.terminals == 1, 5.0, 0.0)[:, None]
    elsewhere = replace(batch, next_observations=batch.next_observations + shift)
    agent, other = build(small()), build(small())
    agent.update(batch)
    other.update(elsewhere)
    assert torch.equal(networks(agent), networks(other))
    target = agent.td_target(batch, noisy=False)
    assert torch.equal(target[batch.terminals == 1], batch.rewards[batch.terminals == 1])
    moved = agent.td_target(replace(batch, next_observations=batch.next_observations + 5), noisy=False)
    assert (moved != target).tolist() == (batch.terminals == 0).tolist()


def test_the_target_is_of_the_smaller_twin_row_by_row():
    agent, batch = build(COPIED, CROSSING), replace(draw_batch(), terminals=torch.zeros(9, dtype=torch.float64))
    actions = agent.next_actions(batch)
    first, second = (critic.q(batch.next_observations, actions).tolist() for critic in agent.target_critics)
    smaller = [min(pair) for pair in zip(first, second, strict=True)]
    assert {a < b for a, b in zip(first, second, strict=True)} == {True, False}, "both twins are the smaller somewhere"
    expected = batch.rewards + 0.99 * torch.tensor(smaller, dtype=torch.float64)
    assert torch.equal(agent.td_target(batch), expected)


def test_cloning_weight_zero_leaves_the_data_out():
    """Bit for bit the gradient of the bare loss; the data's actions are not even looked at."""
    agent, batch = build(small(behaviour_cloning=0.0)), draw_batch()
    reference = build(small())
    values = reference.critics[0].q(batch.observations, reference.actor(batch.observations))
    loss = -2.5 * values.mean() / values.detach().abs().mean()
    expected = torch.autograd.grad(loss, list(reference.actor.parameters()))
    agent.update_actor(replace(batch, actions=torch.full_like(batch.actions, 1e200)))  # their squares overflow
    assert all(torch.equal(p.grad, g) for p, g in zip(agent.actor.parameters(), expected, strict=True))
    assert all(parameter.grad is None for parameter in agent.critics.parameters())


def test_a_huge_cloning_weight_turns_the_actors_gradient_to_the_data():
    batch = draw_batch()
    reference = build(small())
    distance = (reference.actor(batch.observations) - batch.actions).square().mean()
    towards = torch.cat([g.flatten() for g in torch.autograd.grad(distance, list(reference.actor.parameters()))])

    def gradient(weight):
        agent = build(small(behaviour_cloning=weight))
        agent.update_actor(batch)
        return torch.cat([parameter.grad.flatten() for parameter in agent.actor.parameters()])

    def angle(weight):
        return 1 - torch.cosine_similarity(gradient(weight), towards, dim=0)

    # The gradient is a sum, of which the value's share is fixed and of size 1 to 10; rounding 1e-16 of 1e6 is 1e-10.
    torch.testing.assert_close(gradient(1e6) - gradient(0.0), 1e6 * towards, rtol=0, atol=1e-9)
    assert angle(1e6) < 1e-9 < 1e-3 < angle(0.0)


def test_cloning_brings_the_actor_to_the_data():
    agent, batch = build(small(behaviour_cloning=1e6, actor_lr=1e-2)), draw_batch(rows=4)
    start = (agent.actor(batch.observations) - batch.actions).square().mean()
    for _ in range(150):
        agent.update_actor(batch)
    assert (agent.actor(batch.observations) - batch.actions).square().mean() < 0.05 * start


def per_sample_gradients(critic: Critic, batch: Transitions) -> torch.Tensor:
    """Φ, one backward pass a row."""
    x = torch.cat((batch.observations, batch.actions), 1)
    rows = [torch.autograd.grad(critic(row[None]).sum(), list(critic.parameters())) for row in x]
    return torch.stack([torch.cat([g.flatten() for g in row]) for row in rows])


@pytest.mark.parametrize("rows", [1, 4, 9])
def test_every_critic_steps_by_twice_the_rate_over_the_rows(rows):
    """θ' = θ - (2·lr/M)·Φᵀu: torch's mean-squared loss gives η = 2·lr/M, for both twins."""
    agent, batch = build(COPIED), draw_batch(rows)
    errors = agent.values(batch).detach() - agent.td_target(batch)
    steps = [2 * 0.01 / rows * per_sample_gradients(c, batch).T @ u for c, u in zip(agent.critics, errors, strict=True)]
    expected = [numbers(critic) - step for critic, step in zip(agent.critics, steps, strict=True)]
    agent.update(batch)
    for critic, parameters, step in zip(agent.critics, expected, steps, strict=True):
        assert step.norm() > 1e-3
        # 1e-14: a sum over nine rows of float64 products of size 1.
        torch.testing.assert_close(numbers(critic), parameters, rtol=0, atol=1e-14)


def pair(agent: TD3, batch: Transitions) -> tuple[torch.Tensor, torch.Tensor]:
    return (
        torch.cat((batch.observations, batch.actions), 1),
        torch.cat((batch.next_observations, agent.next_actions(batch)), 1),
    )


def remainder(lr: float, identical: bool) -> float:
    """‖u' - (I + ηA)u‖ after one step, for identical twins (one critic) or different ones (the 2M × 2M matrix)."""
    agent, batch = build(replace(COPIED, critic_lr=lr), CROSSING), draw_batch()
    if identical:
        agent.critics[1].load_state_dict(agent.critics[0].state_dict())
        blend(agent.target_critics, agent.critics, 1.0)
    x, x_next = pair(agent, batch)
    grams, grams_next = zip(*(gram_blocks(critic, x, x_next) for critic in agent.critics), strict=True)
    if identical:
        matrix, rows = seem_matrix(grams[0], grams_next[0], 0.99, batch.terminals), 1
    else:
        first, second = (critic.q(*x_next.split((3, 2), 1)) for critic in agent.critics)
        smaller = (first <= second).double()
        assert set(smaller[batch.terminals == 0].tolist()) == {0.0, 1.0}
        matrix, rows = twin_seem_matrix(grams, grams_next, 0.99, batch.terminals, smaller), 2

    def error():
        return (agent.values(batch).detach() - agent.td_target(batch))[:rows].flatten()

    before = error()
    predicted = before + 2 * lr / len(batch) * (matrix @ before)
    agent.update(batch)
    assert torch.equal(numbers(agent.critics[0]), numbers(agent.critics[1])) == identical
    return (error() - predicted).norm().item()


@pytest.mark.parametrize("identical", [True, False], ids=["one critic", "twins"])
def test_the_td_iteration_is_exact_to_first_order(identical):
    """Halving η quarters what (I + ηA)u leaves over: the matrix is the derivative, not merely close to it."""
    coarse, fine = remainder(2e-3, identical), remainder(1e-3, identical)
    # Third-order terms are of relative size lr·‖A‖ ≈ 1e-3 times a constant.
    assert coarse / fine == pytest.approx(4, rel=0.03)
    assert fine > 1e-9  # far above rounding, so the ratio means something


def test_a_seed_decides_everything():
    agents = [build(small(), seed) for seed in (1, 1, 2)]
    for agent in agents:
        for seed in range(4):
            agent.update(draw_batch(seed=seed))
    first, again, other = (networks(agent) for agent in agents)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_float32_starts_from_the_rounded_networks_of_float64():
    assert torch.equal(networks(build(small(), dtype=torch.float32)), networks(build(small())).float())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "config",
    [small(critic_optimiser="sgd"), small(critic_optimiser="sgd", momentum=0.9), small()],
    ids=["sgd", "momentum", "adam"],
)
def test_a_saved_agent_goes_on_bit_for_bit(config, dtype, tmp_path):
    agent = build(config, dtype=dtype)
    for seed in range(3):  # an odd number: the actor's interval is 2
        agent.update(draw_batch(seed=seed, dtype=dtype))
    write_tensors(tmp_path / "agent", *state_of(agent))
    other = build(config, seed=9, dtype=dtype)
    load_state(other, *read_tensors(tmp_path / "agent"))
    for seed in range(5):
        batch = draw_batch(seed=10 + seed, dtype=dtype)
        for first, second in zip(agent.update(batch), other.update(batch), strict=True):
            assert torch.equal(first, second)
        assert torch.equal(networks(agent), networks(other))
    assert torch.equal(agent.noise.get_state(), other.noise.get_state())


def test_a_saved_state_is_a_snapshot():
    agent = build(small())
    agent.update(draw_batch())
    saved, counters = state_of(agent)
    kept = {name: tensor.clone() for name, tensor in saved.items()}
    other = build(small(), seed=9)
    load_state(other, saved, counters)
    agent.update(draw_batch(seed=1))
    other.update(draw_batch(seed=2))
    assert all(torch.equal(tensor, kept[name]) for name, tensor in saved.items())


@pytest.mark.parametrize(
    ("bad", "remedy"),
    [
        ({"discount": 1.01}, "discount"),
        ({"discount": float("nan")}, "discount"),
        ({"target_rate": -0.1}, "target_rate"),
        ({"actor_interval": 0}, "pass 1 or more"),
        ({"target_interval": 0}, "pass 1 or more"),
        ({"target_noise": -1.0}, "pass 0 or more"),
        ({"noise_clip": -1.0}, "pass 0 or more"),
        ({"behaviour_cloning": -1.0}, "pass 0 or more"),
        ({"critic_lr": 0.0}, "pass a positive"),
        ({"actor_lr": -1e-3}, "pass a positive"),
        ({"critic_optimiser": "sgd", "momentum": 1.0}, r"\[0, 1\)"),
        ({"momentum": 0.9}, "pass momentum 0"),
    ],
)
def test_an_impossible_setting_is_refused(bad, remedy):
    with pytest.raises(InputError, match=remedy):
        build(small(**bad))


def test_held_norms_stay_and_directions_move():
    agent = build(replace(COPIED, hold_norms=True, critic_lr=0.1))
    before = [weight.detach().clone() for weight in agent.critic_weights()]
    assert len(before) == 2 * SMOOTH.depth
    for _ in range(5):
        agent.update(draw_batch())
    for old, new in zip(before, agent.critic_weights(), strict=True):
        assert new.norm().item() == pytest.approx(old.norm().item(), rel=1e-14)
        assert (new - old).norm() > 1e-3 * old.norm()
