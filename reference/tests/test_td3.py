"""TD3 against a slow transcription of its papers, and bit for bit against itself."""

import pytest
import torch

from reference.tests.agent_cases import SlowOptimiser, draw_batch, leaves
from reference.tests.td3_cases import COPIED, build, networks, small
from seem.agents.common import load_state, state_of
from seem.agents.td3 import TD3
from seem.errors import InputError
from seem.records import read_tensors, write_tensors
from seem.transitions import Transitions


class SlowTD3:
    """Fujimoto et al. 2018, algorithm 1, and Fujimoto and Gu 2021, equation (3), on lists of leaf tensors."""

    def __init__(self, agent: TD3) -> None:
        self.config = config = agent.config
        self.steps = 0
        self.critics, self.critic_targets = ([leaves(c) for c in cs] for cs in (agent.critics, agent.target_critics))
        self.actor, self.actor_target = leaves(agent.actor), leaves(agent.target_actor)
        self.noise = torch.Generator()
        self.noise.set_state(agent.noise.get_state())
        self.critic_optimisers = [
            SlowOptimiser(theta, config.critic_optimiser, config.critic_lr, config.momentum) for theta in self.critics
        ]
        self.actor_optimiser = SlowOptimiser(self.actor, "adam", config.actor_lr)

    @staticmethod
    def perceptron(theta, x):
        w1, b1, w2, b2, w3, b3 = theta
        hidden = torch.einsum("oi,ni->no", w1, x).add(b1).clamp(min=0)
        hidden = torch.einsum("oi,ni->no", w2, hidden).add(b2).clamp(min=0)
        return torch.einsum("oi,ni->no", w3, hidden).add(b3)

    def q(self, theta, s, a):
        return self.perceptron(theta, torch.cat((s, a), 1))[:, 0]

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
        for theta, optimiser in zip(self.critics, self.critic_optimisers, strict=True):
            optimiser.step(sum((self.q(theta, s, a) - y) ** 2) / len(s))
        if self.steps % c.actor_interval == 0:
            action = self.perceptron(self.actor, s).tanh()
            q = self.q(self.critics[0], s, action)
            weight = 2.5 / (sum(abs(q.detach())) / len(s))
            cloning = ((action - a) ** 2).sum() / a.numel()
            self.actor_optimiser.step(-weight * q.mean() + c.behaviour_cloning * cloning)
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
