"""What libraries do to their critics and batches, without the libraries: outputs, policies, hooks, copies."""

import copy
from collections import namedtuple

import pytest
import torch
from torch import nn

from reference.tests.critic_kinds import TwoArguments
from reference.tests.test_read import TRAINING, drawn, near
from seem.copies import private_copy
from seem.dynamics import Training
from seem.errors import InputError
from seem.reading import read

Output = namedtuple("Output", ["q_value", "quantiles", "taus"])
STEPS = ("growth", "rate", "rayleigh", "excitation_gain", "overshoot_gain", "largest_step_size")


class Wrapped(nn.Module):
    """A critic that returns a named tuple, some of whose parts are None."""

    def __init__(self, net, quantiles=None):
        super().__init__()
        self.net, self.quantiles = net, quantiles

    def forward(self, states, actions):
        value = self.net(states, actions)
        return Output(value, None if self.quantiles is None else value.expand(-1, self.quantiles), None)


def test_parts_of_an_output_that_are_none_do_not_count():
    critic, batch = drawn()
    plain = read(critic, batch, training=TRAINING)
    assert read(Wrapped(critic), batch, training=TRAINING).leading == near(plain.leading)
    twins = read([Wrapped(critic), Wrapped(copy.deepcopy(critic))], batch, training=TRAINING)
    assert twins.own == pytest.approx((plain.leading, plain.leading))
    with pytest.raises(InputError, match="outputs="):
        read(Wrapped(critic, quantiles=7), batch, training=TRAINING)
    picked = read(Wrapped(critic, quantiles=7), batch, training=TRAINING, outputs=lambda made: made.q_value)
    assert picked.leading == near(plain.leading)


def test_a_critic_that_returns_nothing_is_refused():
    class Nothing(TwoArguments):
        def forward(self, states, actions):
            return Output(None, None, None)

    with pytest.raises(InputError, match="returns nothing"):
        read(Nothing(), drawn()[1], training=TRAINING)


def test_an_explicit_policy_wins_over_the_actions_that_a_batch_recorded():
    critic, batch = drawn()
    policy = nn.Linear(5, 3)
    wanted = read(critic, batch, training=TRAINING, next_actions=policy(batch["next_observations"]).detach())
    recorded = read(critic, batch, training=TRAINING)
    found = read(critic, batch, training=TRAINING, policy=policy)
    assert found.leading == near(wanted.leading)
    assert found.leading != near(recorded.leading, 1e-3)
    assert found.successors == "the policy's actions"
    with pytest.raises(InputError, match="both policy and next_actions"):
        read(critic, batch, training=TRAINING, policy=policy, next_actions=batch["next_actions"])


@pytest.mark.parametrize("hook", ["register_hook", "register_post_accumulate_grad_hook"])
def test_a_hook_on_a_gradient_leaves_the_kernel_and_takes_what_is_said_of_the_next_step(hook):
    critic, batch = drawn()
    plain = read(critic, batch, training=TRAINING)
    handle = getattr(critic.net[0].weight, hook)(lambda gradient: None)
    hooked = read([critic], batch, training=TRAINING)
    assert hooked.leading == near(plain.leading)
    assert plain.growth is not None
    for name in STEPS:
        assert getattr(hooked, name) is None, name
        assert "net.0.weight" in hooked.why(name), name
    trains_the_rest = torch.optim.SGD(critic.net[2].parameters(), lr=1e-2)
    other = read(critic, batch, training=Training(discount=0.9, optimizer=trains_the_rest))
    assert other.growth is not None
    handle.remove()
    assert read(critic, batch, training=TRAINING).growth == near(plain.growth)


def test_a_module_that_casts_to_float32_may_be_told_which_output_counts():
    class Casting(nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, states, actions):
            value = self.net(*(torch.as_tensor(part, dtype=torch.float32) for part in (states, actions)))
            return {"value": value, "spare": states}

    critic, batch = drawn()
    plain = read(critic, batch, training=TRAINING)
    found = read(Casting(critic), batch, training=TRAINING, outputs=lambda made: made["value"])
    assert found.dtype == "float64"
    assert found.leading == near(plain.leading)


def test_a_module_that_copies_itself_and_holds_buffers_alone_is_converted():
    class Frozen(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("weight", torch.ones(3))

        def __deepcopy__(self, memo):
            made = Frozen()
            made.weight = self.weight.clone()
            return made

    original = Frozen()
    (made,) = private_copy([original], torch.float64, torch.device("cpu"))
    assert made.weight.dtype == torch.float64
    assert original.weight.dtype == torch.float32
