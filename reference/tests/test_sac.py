"""SAC against a slow transcription of the paper's equations, and bit for bit against itself."""

from dataclasses import replace

import pytest
import torch
from torch.distributions import Normal
from torch.nn import functional

from reference.tests.agent_cases import SlowOptimiser, draw_batch, leaves
from reference.tests.sac_cases import SMALL, all_equal, build, parameters
from seem.agents.sac import SAC
from seem.errors import InputError
from seem.networks import MLPConfig
from seem.transitions import Transitions


class SlowSAC:
    """Haarnoja et al. 2018 (1812.05905), equations (5), (7) and (18), on bare lists of parameters."""

    def __init__(self, agent: SAC) -> None:
        self.config = config = agent.config
        self.critics = [leaves(critic) for critic in agent.critics]
        self.targets = [leaves(critic) for critic in agent.target_critics]
        self.actor = leaves(agent.actor)
        self.log_temperature = leaves(agent.temperature)[0]
        self.noise = torch.Generator()
        self.noise.set_state(agent.noise.get_state())
        self.critic_optimisers = [
            SlowOptimiser(critic, config.critic_optimiser, config.critic_lr, config.momentum) for critic in self.critics
        ]
        self.actor_optimiser = SlowOptimiser(self.actor, "adam", config.actor_lr)
        self.temperature_optimiser = SlowOptimiser([self.log_temperature], "adam", config.temperature_lr)
        self.steps = 0

    def perceptron(self, parameters, x, layer_norm=False):
        linears = parameters[:6]  # weight and bias of three layers, then gain and shift of two LayerNorms
        for layer in range(3):
            x = x @ linears[2 * layer].T + linears[2 * layer + 1]
            if layer < 2:
                if layer_norm:
                    gain, shift = parameters[6 + 2 * layer : 8 + 2 * layer]
                    x = functional.layer_norm(x, x.shape[1:], gain, shift)
                x = x.clamp(min=0)
        return x

    def q(self, parameters, s, a):
        layer_norm = self.config.critic.normalisation == "layer"
        return self.perceptron(parameters, torch.cat((s, a), 1), layer_norm).squeeze(1)

    def act(self, s):
        mean, log_std = self.perceptron(self.actor, s).chunk(2, 1)
        gaussian = Normal(mean, log_std.exp())
        raw = mean + log_std.exp() * torch.randn(mean.shape, generator=self.noise, dtype=mean.dtype)
        action = raw.tanh()
        return action, mean.tanh(), (gaussian.log_prob(raw) - (1 - action**2).log()).sum(1)

    def update(self, batch: Transitions) -> None:
        config = self.config
        self.steps += 1
        s, a, r, following, d = (getattr(batch, name) for name in Transitions.__dataclass_fields__)
        with torch.no_grad():
            action, _, log_density = self.act(following)
            value = torch.minimum(*(self.q(target, following, action) for target in self.targets))
            soft_value = value - self.log_temperature.exp() * log_density
            target = torch.where(d == 1, r, r + config.discount * soft_value)
        for critic, optimiser in zip(self.critics, self.critic_optimisers, strict=True):
            optimiser.step(((self.q(critic, s, a) - target) ** 2).mean())
        if self.steps % config.actor_interval == 0:
            action, most_likely, log_density = self.act(s)
            temperature = self.log_temperature.exp().detach()
            value = torch.minimum(*(self.q(critic, s, action) for critic in self.critics))
            cloning = config.behaviour_cloning * ((most_likely - a) ** 2).mean()
            self.actor_optimiser.step((temperature * log_density - value).mean() + cloning)
            if config.tune_temperature:
                surplus = (-log_density.detach() - -2.0).mean()  # entropy above the target of -2 nats
                self.temperature_optimiser.step(self.log_temperature.exp() * surplus)
        if self.steps % config.target_interval == 0:
            with torch.no_grad():
                for target, critic in zip(self.targets, self.critics, strict=True):
                    for moved, followed in zip(target, critic, strict=True):
                        moved.copy_((1 - config.target_rate) * moved + config.target_rate * followed)

    def parameters(self) -> list[torch.Tensor]:
        lists = (*self.critics, *self.targets, self.actor, [self.log_temperature])
        return [parameter.detach() for parameters in lists for parameter in parameters]


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"critic_optimiser": "sgd", "critic_lr": 0.05},
        {"critic_optimiser": "sgd", "critic_lr": 0.05, "momentum": 0.9},
        {"critic": MLPConfig(width=8, normalisation="layer")},
        {"behaviour_cloning": 0.7, "actor_interval": 2, "target_interval": 3, "target_rate": 0.25},
        {"temperature": 0.2, "tune_temperature": False, "discount": 0.9},
    ],
)
def test_update_follows_the_papers_equations(change):
    agent = build(replace(SMALL, actor_lr=0.01, temperature_lr=0.02, **change))
    slow = SlowSAC(agent)
    for step in range(6):
        batch = draw_batch(seed=step)
        agent.update(batch)
        slow.update(batch)
        # float64 rounding of six steps; Adam divides by gradients as small as 1e-6
        torch.testing.assert_close(parameters(agent), slow.parameters(), rtol=1e-9, atol=1e-11)


def test_update_returns_the_values_and_targets_of_its_step():
    agent, same, batch = build(), build(), draw_batch()
    before, expected = agent.values(batch).detach(), same.td_target(batch)
    values, target = agent.update(batch)
    assert (values.shape, target.shape) == ((2, 9), (9,))
    assert not values.requires_grad
    assert torch.equal(values, before)
    assert torch.equal(target, expected)
    assert not torch.equal(agent.values(batch), before)


def test_target_rate_one_copies_the_critics_and_zero_leaves_the_targets():
    copied, kept = build(replace(SMALL, target_rate=1.0)), build(replace(SMALL, target_rate=0.0))
    initial = [parameter.clone() for parameter in kept.target_critics.parameters()]
    for step in range(3):
        copied.update(draw_batch(seed=step))
        kept.update(draw_batch(seed=step))
    assert all_equal(list(copied.target_critics.parameters()), list(copied.critics.parameters()))
    assert all_equal(list(kept.target_critics.parameters()), initial)
    assert not all_equal(list(kept.critics.parameters()), initial)


def test_intervals_hold_the_actor_and_the_targets_back():
    agent = build(replace(SMALL, actor_interval=2, target_interval=3))
    moved = []
    for step in range(6):
        before = [list(map(torch.clone, module.parameters())) for module in (agent.actor, agent.target_critics)]
        agent.update(draw_batch(seed=step))
        after = [list(module.parameters()) for module in (agent.actor, agent.target_critics)]
        moved.append(tuple(not all_equal(*pair) for pair in zip(before, after, strict=True)))
    assert moved == [(False, False), (True, False), (False, True), (True, False), (False, False), (True, True)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_seed_decides_everything(dtype):
    state = torch.get_rng_state()
    agents = [build(seed=seed, dtype=dtype) for seed in (3, 3, 4)]
    for step in range(3):
        for agent in agents:
            agent.update(draw_batch(seed=step, dtype=dtype))
    assert all_equal(parameters(agents[0]), parameters(agents[1]))
    assert not all_equal(parameters(agents[0]), parameters(agents[2]))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.dtype == dtype for parameter in parameters(agents[0]))


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        ({"discount": 1.5}, "discount"),
        ({"target_rate": -0.1}, "target_rate"),
        ({"actor_interval": 0}, "pass 1 or more"),
        ({"target_interval": 0}, "pass 1 or more"),
        ({"temperature": -1.0}, "pass 0 or more"),
        ({"behaviour_cloning": -1.0}, "pass 0 or more"),
        ({"temperature": 0.0}, "tune_temperature False"),
    ],
)
def test_impossible_settings_are_refused(change, remedy):
    with pytest.raises(InputError, match=remedy):
        replace(SMALL, **change)
