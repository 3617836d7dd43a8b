"""A reading leaves the critic, its training and every random generator as they were, bit for bit, come what may."""

import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import seem
from reference.tests.critic_kinds import KINDS, build, call
from seem.dynamics import Training
from seem.errors import InputError
from seem.reading import read

PACKAGE = str(Path(seem.__file__).parent)


def everything(kind, optimiser, marks):
    """All bits of a training: parameters, buffers, gradients, modes, hooks, optimiser, generators."""
    keys, place = np.random.get_state()[1:3]  # noqa: NPY002 - the global generator is what is checked
    arrays = np.append(keys.astype(np.int64), place)
    state = [torch.get_rng_state(), torch.tensor(random.getstate()[1]), torch.from_numpy(arrays)]
    for module in kind.modules:
        state += [tensor.detach().clone() for tensor in module.state_dict().values()]
        state += [p.grad.clone() for p in module.parameters() if p.grad is not None]
        for part in module.modules():
            state.append(torch.tensor([part.training, len(part._forward_hooks), len(part._forward_pre_hooks)]))
            state.append(torch.tensor([len(getattr(part, "seen", []))]))
    for group in optimiser.state_dict()["state"].values():
        state += [value.clone() for value in group.values() if isinstance(value, torch.Tensor)]
    assert [id(p) for m in kind.modules for p in m.parameters()] == marks["parameters"]
    assert [p.requires_grad for m in kind.modules for p in m.parameters()] == marks["trained"]
    assert [sorted(m.__dict__) for whole in kind.modules for m in whole.modules()] == marks["attributes"]
    return state


def trained(name, act):
    """Ten steps of a regression; ``act`` looks on before the sixth."""
    kind = build(name)
    torch.manual_seed(0), random.seed(0), np.random.seed(0)  # noqa: NPY002
    parameters = list({id(p): p for m in kind.modules for p in m.parameters() if p.requires_grad}.values())
    optimiser = torch.optim.Adam(parameters, lr=1e-2)
    target = torch.randn(len(kind.x[0] if isinstance(kind.x, tuple) else kind.x))

    def step():
        optimiser.zero_grad()
        noise = float(np.random.rand()) + random.random() + torch.rand(())  # noqa: NPY002, S311
        loss = sum((call(module, kind.x) - target - 0.01 * noise).square().mean() for module in kind.modules)
        loss.backward()
        optimiser.step()

    marks = {}
    for count in range(10):
        if count == 5:
            marks["parameters"] = [id(p) for m in kind.modules for p in m.parameters()]
            marks["trained"] = [p.requires_grad for m in kind.modules for p in m.parameters()]
            marks["attributes"] = [sorted(m.__dict__) for whole in kind.modules for m in whole.modules()]
            act(kind)
        step()
    return everything(kind, optimiser, marks)


def numpys_state():
    """All of numpy's global generator, its place in the stream too."""
    state = np.random.get_state()  # noqa: NPY002 - the global generator is what is checked
    return [part.tolist() if isinstance(part, np.ndarray) else part for part in state]


def reading(kind):
    count = sum(len(call_quietly(module, kind.x)) for module in kind.modules)
    rows = len(kind.x[0] if isinstance(kind.x, tuple) else kind.x)
    batch = {"x": kind.x, "x_next": kind.x_next, "td_error": torch.ones(count, rows)}
    return read(kind.modules, batch, training=Training(discount=0.9, lr=1e-3))


def call_quietly(module, x):
    """As many entries as the module has critics, without evaluating it."""
    heads = 10 if "Ensemble" in type(module).__name__ else 2 if type(module).__name__ == "Twins" else 1
    return [None] * heads


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", KINDS)
def test_a_training_with_a_reading_is_the_training_without(name):
    without, beside = trained(name, lambda kind: None), trained(name, reading)
    assert len(without) == len(beside)
    assert all(torch.equal(a, b) for a, b in zip(without, beside, strict=True))


class Bomb:
    """Raises at the n-th call of a function of the package."""

    def __init__(self, error, at):
        self.error, self.left, self.calls = error, at, 0

    def __call__(self, frame, event, argument):
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            self.calls += 1
            if self.calls == self.left:
                raise self.error("boom")


def bombed(error, at, counted=None):
    def act(kind):
        bomb, before = Bomb(error, at), sys.gettrace()
        sys.settrace(bomb)
        try:
            reading(kind)
        except (KeyboardInterrupt, MemoryError, InputError):
            pass
        finally:
            sys.settrace(before)
        if counted is not None:
            counted.append(bomb.calls)

    return act


INTERRUPTED = (
    "shared encoder object",
    "tokens",
    "LSTM",
    "old spectral norm in training mode",
    "old weight norm",
    "hooks",
)


@pytest.mark.filterwarnings("ignore::FutureWarning")
# A bomb may go off while an abandoned generator is closed, which Python tells and passes over.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("name", INTERRUPTED)
def test_a_reading_that_is_stopped_at_any_stage_leaves_the_training_alone(name, error):
    counted = []
    without = trained(name, lambda kind: None)
    trained(name, bombed(error, 0, counted))
    assert counted[0] > 50
    for at in sorted({1, *np.geomspace(2, counted[0], 12).astype(int).tolist()}):
        beside = trained(name, bombed(error, at))
        assert all(torch.equal(a, b) for a, b in zip(without, beside, strict=True)), f"stopped at call {at}"


@pytest.mark.parametrize("count", range(1, 8))
def test_a_forward_that_raises_leaves_the_training_alone(count):
    class Fragile(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.calls = nn.Linear(8, 1), 0

        def forward(self, x):
            self.calls += 1
            if self.calls == count:
                raise KeyboardInterrupt
            torch.rand(1), random.random(), np.random.rand()  # noqa: NPY002, S311
            return self.linear(x)

    critic, training = Fragile(), Training(discount=0.9, lr=1e-3)
    before = torch.get_rng_state(), random.getstate(), numpys_state()
    bits = [p.detach().clone() for p in critic.parameters()]
    batch = {"x": torch.ones(3, 8), "x_next": torch.zeros(3, 8), "td_error": torch.ones(3)}
    with pytest.raises(KeyboardInterrupt):
        read(critic, batch, training=training)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert numpys_state() == before[2]
    assert critic.calls == 0
    assert all(torch.equal(a, b) for a, b in zip(critic.parameters(), bits, strict=True))


@pytest.mark.parametrize("around", ["no_grad", "inference", "autocast", "grad"])
def test_what_stands_around_the_call_changes_nothing(around):
    contexts = {
        "no_grad": torch.no_grad,
        "inference": torch.inference_mode,
        "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
        "grad": torch.enable_grad,
    }
    kind = build("LayerNorm")
    plain = reading(kind)
    with contexts[around]():
        inside = torch.randn(2)
        kind.x = kind.x.clone()  # an inference tensor, within
        other = reading(kind)
        assert torch.is_grad_enabled() == (around in ("autocast", "grad"))
        assert torch.is_autocast_enabled("cpu") == (around == "autocast")
        assert inside.is_inference() == (around == "inference")
    assert other.leading == plain.leading
    assert other.growth == plain.growth


def test_a_lock_does_not_hinder_a_copy():
    import threading

    class Locked(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.lock = nn.Linear(8, 1), threading.Lock()

        def forward(self, x):
            with self.lock:
                return self.linear(x)

    batch = {"x": torch.eye(8), "x_next": torch.zeros(8, 8), "td_error": torch.ones(8)}
    assert read(Locked(), batch, training=Training(discount=0.9, lr=1e-3)).leading == pytest.approx(-1)


def test_a_replaced_forward_is_that_of_the_copy():
    """A closure over the original module would compute with the original's parameters."""
    critic = nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 1))
    critic.forward = lambda x: 2 * critic[1](critic[0](x))
    plain = nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 1))
    plain.load_state_dict(critic.state_dict())
    batch = {"x": torch.eye(8), "x_next": torch.zeros(8, 8), "td_error": torch.ones(8)}
    training = Training(discount=0.9, lr=1e-3)
    doubled, single = read(critic, batch, training=training), read(plain, batch, training=training)
    assert doubled.eigenvalues[-1].real.item() == pytest.approx(4 * single.eigenvalues[-1].real.item(), rel=1e-12)
