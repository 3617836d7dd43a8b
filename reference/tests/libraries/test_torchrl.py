"""TorchRL's critics: the kernel that is read is autograd's, and training goes on as if nobody had looked.

A loss module holds copies of the critics, as one stack of parameters: these are what trains, not the module that its
user made.
"""

import warnings
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from reference.tests.libraries.autograd import check_kernel, same_bits, state_of
from seem.dynamics import Training
from seem.reading import read

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("torchrl", reason="TorchRL is not installed: nox -s kernels-torchrl")
    from tensordict import TensorDict
    from tensordict.nn import NormalParamExtractor, TensorDictModule
    from torchrl.data import Bounded
    from torchrl.modules import MLP, Actor, ProbabilisticActor, TanhNormal, ValueOperator
    from torchrl.objectives import DDPGLoss, REDQLoss, SACLoss, SoftUpdate, TD3Loss

pytestmark = pytest.mark.filterwarnings("ignore")  # the library warns of its own next versions
ROWS, STATES, ACTIONS = 12, 5, 2
SPEC = Bounded(-torch.ones(ACTIONS), torch.ones(ACTIONS), (ACTIONS,))


class Critics(nn.Module):
    """The critics of a loss, as ``seem.read`` takes them: a module that holds the parameters which train."""

    def __init__(self, network, parameters):
        super().__init__()
        self.stack, self.network = parameters, [network]  # in a list: its own parameters do not train

    def forward(self, observations, actions):
        rows = TensorDict({"observation": observations, "action": actions}, [len(observations)])
        values = []
        for index in range(len(self.stack)):
            with self.stack[index].to_module(self.network[0]):
                values.append(self.network[0](rows.copy())["state_action_value"])
        return tuple(values)


def policy():
    return Actor(module=nn.Sequential(nn.Linear(STATES, ACTIONS), nn.Tanh()), spec=SPEC)


def gaussian_policy():
    parameters = nn.Sequential(nn.Linear(STATES, 2 * ACTIONS), NormalParamExtractor())
    module = TensorDictModule(parameters, in_keys=["observation"], out_keys=["loc", "scale"])
    bounds = {"low": -1.0, "high": 1.0}
    return ProbabilisticActor(
        module=module, in_keys=["loc", "scale"], spec=SPEC, distribution_class=TanhNormal, distribution_kwargs=bounds
    )


def critic(norm=None, activation=nn.ReLU):
    options = {} if norm is None else {"norm_class": norm, "norm_kwargs": {"normalized_shape": 16}}
    sizes = {"in_features": STATES + ACTIONS, "out_features": 1, "num_cells": [16, 16]}
    return ValueOperator(MLP(activation_class=activation, **sizes, **options), in_keys=["observation", "action"])


LOSSES = {
    "TD3": lambda: TD3Loss(policy(), critic(), action_spec=SPEC),
    "TD3 of LayerNorm critics": lambda: TD3Loss(policy(), critic(nn.LayerNorm), action_spec=SPEC),
    "TD3, loss of squares": lambda: TD3Loss(policy(), critic(), action_spec=SPEC, loss_function="l2"),
    "SAC": lambda: SACLoss(gaussian_policy(), critic(activation=nn.Tanh), action_spec=SPEC),
    "REDQ, ten critics": lambda: REDQLoss(gaussian_policy(), critic(), action_spec=SPEC),
}


def made(name):
    torch.manual_seed(0)
    loss = LOSSES[name]()
    loss.make_value_estimator(gamma=0.99)
    return loss


def rows(seed=1):
    generator = torch.Generator().manual_seed(seed)
    states = torch.randn(2, ROWS, STATES, generator=generator)
    actions = torch.rand(2, ROWS, ACTIONS, generator=generator) * 2 - 1
    return (states[0], actions[0]), (states[1], actions[1])


def transitions(seed=1):
    (states, actions), (following, _) = rows(seed)
    ends = torch.arange(ROWS)[:, None] % 4 == 0
    nested = {"observation": following, "reward": actions[:, :1].clone(), "done": ends, "terminated": ends}
    return TensorDict({"observation": states, "action": actions, "next": nested}, [ROWS])


def critics_of(loss):
    return Critics(loss.qvalue_network, loss.qvalue_network_params)


def by_the_library(critics, x):
    """Each critic's value through the network that its user made, whose parameters are set to the critic's."""
    stack, network = critics[0].stack, critics[0].network[0]
    values = []
    for index in range(len(stack)):
        with stack[index].to_module(network):
            values.append(network(*x))
    return values


@pytest.mark.parametrize("name", LOSSES)
def test_the_kernel_of_its_critics_is_autograds(name):
    found = check_kernel([critics_of(made(name))], *rows(), by_the_library)
    assert len(found.values) == (10 if name.startswith("REDQ") else 2)
    assert found.blocks.way == "layerwise"
    assert set(found.subject.parameters) == {
        f"stack.module.{number}.{part}"
        for number in ((0, 1, 3, 4, 6) if "LayerNorm" in name else (0, 2, 4))
        for part in ("weight", "bias")
    }


def test_the_only_critic_of_ddpg_is_a_module_with_parameters_of_its_own():
    torch.manual_seed(0)
    loss = DDPGLoss(policy(), critic())

    class One(nn.Module):
        def __init__(self):
            super().__init__()
            self.own, self.network = loss.value_network_params, [loss.value_network]

        def forward(self, observations, actions):
            with self.own.to_module(self.network[0]):
                return self.network[0](observations, actions)

    def by_hand(copies, x):
        network = copies[0].network[0]
        with copies[0].own.to_module(network):
            return [network(*x)]

    assert check_kernel([One()], *rows(), by_hand).blocks.way == "layerwise"


def test_its_transitions_are_read_with_its_own_targets():
    loss = made("TD3, loss of squares")
    data = transitions()
    batch = {
        "observations": data["observation"],
        "actions": data["action"],
        "rewards": data["next", "reward"],
        "next_observations": data["next", "observation"],
        "terminals": data["next", "terminated"],
    }

    def target_policy(states):
        with loss.target_actor_network_params.to_module(loss.actor_network):
            return loss.actor_network(states)

    targets = Critics(loss.qvalue_network, loss.target_qvalue_network_params)
    reading = read(
        critics_of(loss), batch, training=Training(discount=0.99), policy=target_policy, target_critics=targets
    )
    with torch.no_grad():
        following = torch.cat(by_the_library([targets], (batch["next_observations"], target_policy(
            batch["next_observations"]))), 1).amin(1, keepdim=True)  # fmt: skip
        target = batch["rewards"] + 0.99 * ~batch["terminals"] * following
        values = by_the_library([critics_of(loss)], (batch["observations"], batch["actions"]))
        expected = torch.cat([value - target for value in values]).norm().item()
    # 1e-5: the library computes in float32.
    assert reading.td_norm == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_a_reading_in_the_middle_of_training_changes_no_bit(name):
    looks = []

    def look(loss, optimiser):
        (states, actions), (following, next_actions) = rows(7)
        batch = SimpleNamespace(
            observations=states, actions=actions, next_observations=following, rewards=torch.ones(ROWS, 1)
        )
        training = Training(discount=0.99, optimizer=optimiser)
        looks.append(read(critics_of(loss), batch, training=training, next_actions=next_actions))

    def trained(look):
        loss = made(name)
        optimiser = torch.optim.Adam(loss.parameters(), lr=1e-3)
        targets = SoftUpdate(loss, eps=0.99)
        for step in range(10):
            optimiser.zero_grad()
            values = loss(transitions(step))
            sum(value for key, value in values.items() if key.startswith("loss_")).backward()
            look(loss, optimiser)
            optimiser.step()
            targets.step()
        return state_of(loss, optimiser)

    assert same_bits(trained(lambda *_: None), trained(look))
    assert len(looks) == 10
    assert all(reading.leading is not None for reading in looks)
