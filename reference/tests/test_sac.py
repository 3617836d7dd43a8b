"""SAC against a slow transcription of the paper's equations, and against what must hold exactly."""

import math
from dataclasses import replace

import pytest
import torch
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution
from torch.nn import functional

from seem.agents.sac import SAC, SACConfig
from seem.errors import InputError
from seem.networks import GaussianActor, MLPConfig
from seem.transitions import Transitions

SMALL = SACConfig(critic=MLPConfig(width=8), actor=MLPConfig(width=8))


def draw_batch(rows: int = 7, seed: int = 0, dtype: torch.dtype = torch.float64) -> Transitions:
    """Transitions with three state and two action components; every third one is terminal."""
    generator = torch.Generator().manual_seed(seed)
    return Transitions(
        torch.randn(rows, 3, generator=generator, dtype=dtype),
        torch.rand(rows, 2, generator=generator, dtype=dtype) * 2 - 1,
        torch.randn(rows, generator=generator, dtype=dtype),
        torch.randn(rows, 3, generator=generator, dtype=dtype),
        (torch.arange(rows) % 3 == 0).to(dtype),
    )


def build(config: SACConfig = SMALL, seed: int = 0, dtype: torch.dtype = torch.float64) -> SAC:
    """An agent that fits `draw_batch`."""
    return SAC(config, 3, 2, seed=seed, dtype=dtype)


def parameters(agent: SAC) -> list[torch.Tensor]:
    """Copies of everything that is trained, in a fixed order."""
    modules = (agent.critics, agent.target_critics, agent.actor, agent.temperature)
    return [parameter.detach().clone() for module in modules for parameter in module.parameters()]


def all_equal(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    return all(torch.equal(*pair) for pair in zip(first, second, strict=True))


class SlowOptimiser:
    """Heavy ball and Adam, one parameter after the other, as their papers print them."""

    def __init__(self, parameters, name, lr, momentum=0.0):
        self.parameters, self.name, self.lr, self.momentum = parameters, name, lr, momentum
        self.first = [torch.zeros_like(parameter) for parameter in parameters]
        self.second = [torch.zeros_like(parameter) for parameter in parameters]
        self.steps = 0

    def step(self, loss):
        self.steps += 1
        gradients = torch.autograd.grad(loss, self.parameters)
        for i, (parameter, gradient) in enumerate(zip(self.parameters, gradients, strict=True)):
            if self.name == "sgd":
                self.first[i] = self.momentum * self.first[i] + gradient
                change = self.first[i]
            else:
                self.first[i] = 0.9 * self.first[i] + 0.1 * gradient
                self.second[i] = 0.999 * self.second[i] + 0.001 * gradient**2
                mean = self.first[i] / (1 - 0.9**self.steps)
                change = mean / ((self.second[i] / (1 - 0.999**self.steps)).sqrt() + 1e-8)
            with torch.no_grad():
                parameter -= self.lr * change


class SlowSAC:
    """Haarnoja et al. 2018 (1812.05905), equations (5), (7) and (18), on bare lists of parameters."""

    def __init__(self, agent: SAC) -> None:
        def copies(module):
            return [parameter.detach().clone().requires_grad_() for parameter in module.parameters()]

        self.config = config = agent.config
        self.critics = [copies(critic) for critic in agent.critics]
        self.targets = [copies(critic) for critic in agent.target_critics]
        self.actor = copies(agent.actor)
        self.log_temperature = copies(agent.temperature)[0]
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
    assert (values.shape, target.shape) == ((2, 7), (7,))
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


def test_terminal_rows_have_their_reward_as_target():
    batch = draw_batch()
    target = build().td_target(batch)
    terminal = batch.terminals == 1
    assert torch.equal(target[terminal], batch.rewards[terminal])
    assert not (target == batch.rewards)[~terminal].any()
    assert torch.equal(build(replace(SMALL, discount=0.0)).td_target(batch), batch.rewards)


@pytest.mark.parametrize("lower", [0, 1])
def test_target_takes_the_lower_twin_less_the_entropy_term(lower):
    agent, batch = build(replace(SMALL, discount=0.5, temperature=0.25)), draw_batch()
    with torch.no_grad():
        agent.target_critics[lower].linears[-1].bias.sub_(100)
    noise = torch.randn(7, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    actions, log_densities = agent.actor.sample(batch.next_observations, noise)
    lowest = agent.target_critics[lower].q(batch.next_observations, actions)
    expected = batch.rewards + 0.5 * (1 - batch.terminals) * (lowest - 0.25 * log_densities)
    assert torch.equal(agent.td_target(batch), expected)  # 0.25 and 0.5 are exact


def test_temperature_zero_drops_the_entropy():
    agent, batch = build(replace(SMALL, temperature=0.0, tune_temperature=False)), draw_batch()
    noise = torch.randn(7, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    actions, _ = agent.actor.sample(batch.next_observations, noise)
    lowest = torch.minimum(*(critic.q(batch.next_observations, actions) for critic in agent.target_critics))
    assert torch.equal(agent.td_target(batch), batch.rewards + 0.99 * (1 - batch.terminals) * lowest)
    agent.update(batch)
    assert agent.temperature() == 0
    assert all(parameter.isfinite().all() for parameter in agent.actor.parameters())


def test_temperature_rises_while_the_entropy_is_below_its_target_and_falls_above_it():
    risen = build(replace(SMALL, target_entropy=100.0))
    fallen = build(replace(SMALL, target_entropy=-100.0))
    fixed = build(replace(SMALL, target_entropy=100.0, temperature=0.5, tune_temperature=False))
    for agent in (risen, fallen, fixed):
        agent.update(draw_batch())
    assert risen.temperature() > 1 > fallen.temperature()
    assert fixed.temperature() == 0.5
    assert build().target_entropy == -2


def test_behaviour_cloning_of_weight_zero_is_bitwise_absent():
    batch = draw_batch(rows=32)
    # A weight of 1e-300 runs the term and is lost in every gradient's rounding.
    agents = [build(), build(replace(SMALL, behaviour_cloning=0.0)), build(replace(SMALL, behaviour_cloning=1e-300))]
    for agent in agents:
        for _ in range(3):
            agent.update(batch)
    assert all_equal(parameters(agents[0]), parameters(agents[1]))
    assert all_equal(parameters(agents[0]), parameters(agents[2]))


def test_behaviour_cloning_pulls_the_most_likely_action_to_the_data():
    batch = draw_batch(rows=32)
    distances = []
    for weight in (0.0, 1000.0):
        agent = build(replace(SMALL, behaviour_cloning=weight, actor_lr=0.01))
        for _ in range(20):
            agent.update(batch)
        distances.append((agent.actor(batch.observations) - batch.actions).square().mean())
    assert distances[1] < distances[0]


def test_next_actions_are_noiseless_and_draw_nothing():
    agent, batch = build(), draw_batch()
    state = agent.noise.get_state()
    mean, _ = agent.actor.moments(batch.next_observations)
    actions = agent.next_actions(batch)
    assert torch.equal(actions, mean.tanh())
    assert not actions.requires_grad
    assert torch.equal(agent.noise.get_state(), state)


def test_noiseless_target_is_that_of_the_most_likely_action_and_draws_nothing():
    agent, batch = build(replace(SMALL, discount=0.5, temperature=0.25)), draw_batch()
    state = agent.noise.get_state()
    actions, log_densities = agent.actor.sample(batch.next_observations, torch.zeros(7, 2, dtype=torch.float64))
    assert torch.equal(actions, agent.next_actions(batch))
    lowest = torch.minimum(*(critic.q(batch.next_observations, actions) for critic in agent.target_critics))
    expected = batch.rewards + 0.5 * (1 - batch.terminals) * (lowest - 0.25 * log_densities)
    assert torch.equal(agent.td_target(batch, noisy=False), expected)  # 0.25 and 0.5 are exact
    assert torch.equal(agent.noise.get_state(), state)


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


def test_log_density_is_that_of_the_squashed_gaussian():
    generator = torch.Generator().manual_seed(0)
    actor = GaussianActor(3, 2, MLPConfig(width=8), generator=generator, dtype=torch.float64)
    observations = torch.randn(200, 3, generator=generator, dtype=torch.float64) * 3
    noise = torch.randn(200, 2, generator=generator, dtype=torch.float64)
    actions, log_densities = actor.sample(observations, noise)
    mean, log_std = actor.moments(observations)
    squashed = TransformedDistribution(Normal(mean, log_std.exp()), [TanhTransform()])
    # atanh loses up to 1 / (1 - a^2) ulp; the actions here stay below 0.9999
    torch.testing.assert_close(log_densities, Independent(squashed, 1).log_prob(actions), rtol=1e-9, atol=1e-9)


def test_log_density_stays_finite_where_the_action_saturates():
    actor = GaussianActor(1, 1, MLPConfig(depth=1), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        actor.linears[0].weight.zero_()
        actor.linears[0].bias.copy_(torch.tensor([50.0, 0.0]))
    action, log_density = actor.sample(torch.zeros(1, 1), torch.zeros(1, 1))
    assert action == 1
    # log N(0) + 2 (50 - log 2): the density of the squashed variable where 1 - tanh^2 underflows float32
    assert log_density.item() == pytest.approx(-0.5 * math.log(2 * math.pi) + 100 - 2 * math.log(2), rel=1e-6)


def test_a_terminal_row_teaches_the_critics_its_reward():
    critic = MLPConfig(width=32, normalisation="layer")
    config = replace(SMALL, critic=critic, critic_lr=0.01, actor_interval=1000)
    agent, batch = build(config), draw_batch(rows=12)
    batch = replace(batch, terminals=torch.ones(12, dtype=torch.float64))
    for _ in range(150):
        values, _ = agent.update(batch)
    # twelve rows fitted by 32 units; a hundredth of the rewards' deviation of 1
    torch.testing.assert_close(values, batch.rewards.expand(2, 12), rtol=0, atol=0.01)


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
