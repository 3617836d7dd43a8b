"""Readings of critics and batches as other people have them, against dense eigenvalues and real steps."""

import copy
from collections import namedtuple
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from reference.tests.critic_kinds import Ensemble, Kind, TwoArguments, build, frozen, oracle
from seem.dynamics import Training
from seem.forecasting import forecast
from seem.heading import alignment
from seem.reading import read
from seem.spectrum import seem_matrix, take_reading, twin_seem_matrix

M = 24
TRAINING = Training(discount=0.9, lr=1e-2)


def drawn(seed=0, dtype=torch.float32, rows=M):
    """A critic of (s, a), and its batch by names."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        critic = TwoArguments().to(dtype)
    states, next_states = torch.randn(2, rows, 5, generator=generator, dtype=dtype)
    actions, next_actions = torch.randn(2, rows, 3, generator=generator, dtype=dtype)
    batch = {
        "observations": states,
        "actions": actions,
        "rewards": torch.randn(rows, generator=generator, dtype=dtype),
        "next_observations": next_states,
        "terminals": (torch.rand(rows, generator=generator) < 0.2).to(dtype),
        "next_actions": next_actions,
    }
    return critic, batch


def blocks(critic, batch):
    kind = Kind([copy.deepcopy(critic)], (batch["observations"], batch["actions"]),
                (batch["next_observations"], batch["next_actions"]))  # fmt: skip
    gram, gram_next = oracle(kind)
    return gram[0, 0], gram_next[0, 0]


def dense(matrix):
    return torch.linalg.eigvals(matrix).real.max().item()


def near(value, rel=1e-9):
    """1e-9: eigenvalues of matrices of condition below a thousand, in float64."""
    return pytest.approx(value, rel=rel, abs=1e-12)


def test_a_float32_critic_is_read_in_float64():
    critic, batch = drawn()
    reading = read(critic, batch, training=TRAINING)
    gram, gram_next = blocks(critic, batch)
    matrix = seem_matrix(gram, gram_next, 0.9, batch["terminals"].double())
    assert reading.leading == near(dense(matrix))
    assert reading.dtype == "float64"
    assert reading.critics[0].leading == near(reading.leading)
    assert reading.normalised == near(reading.leading / matrix.norm().item())
    with torch.no_grad():
        exact = copy.deepcopy(critic).double()
        values = exact(batch["observations"].double(), batch["actions"].double())[:, 0]
        following = exact(batch["next_observations"].double(), batch["next_actions"].double())[:, 0]
    u = values - batch["rewards"] - 0.9 * (1 - batch["terminals"]) * following
    assert reading.td_norm == near(u.norm().item(), 1e-6)
    assert reading.growth == near(((u + 2 * 1e-2 / M * matrix @ u).norm() / u.norm()).item(), 1e-6)


def columns(batch):
    return {name: value[:, None] if value.ndim == 1 else value for name, value in batch.items()}


Named = namedtuple("Named", ["observations", "actions", "next_observations", "dones", "rewards"])
SHAPES = {
    "columns": columns,
    "float64 rows": lambda b: {name: value.double() for name, value in b.items()},
    "arrays": lambda b: {name: value.numpy() for name, value in b.items()},
    "columns of arrays": lambda b: {name: value.numpy() for name, value in columns(b).items()},
    "boolean terminals": lambda b: b | {"terminals": b["terminals"].bool()[:, None]},
    "integer terminals": lambda b: b | {"terminals": b["terminals"].int()},
    "other names": lambda b: {
        "states": b["observations"], "actions": b["actions"], "reward": b["rewards"],
        "next_obs": b["next_observations"],
        "dones": b["terminals"], "next_actions": b["next_actions"],
    },
    "an object": lambda b: SimpleNamespace(**b),
    "raw": lambda b: {
        "x": (b["observations"], b["actions"]), "x_next": (b["next_observations"], b["next_actions"]),
        "terminals": b["terminals"],
    },
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_a_batch_may_have_any_form(shape):
    critic, batch = drawn()
    plain, other = (read(critic, b, training=TRAINING) for b in (batch, SHAPES[shape](batch)))
    assert other.leading == near(plain.leading)
    if shape != "raw":
        assert other.growth == near(plain.growth)
    else:
        assert other.growth is None
        assert "rewards" in other.why("growth")


def test_tuples_and_named_tuples_with_a_policy():
    critic, batch = drawn()
    policy = nn.Linear(5, 3)
    parts = [batch[name] for name in ("observations", "actions", "rewards", "next_observations", "terminals")]
    named = Named(parts[0], parts[1], parts[3], parts[4][:, None], parts[2][:, None])
    batch["next_actions"] = policy(batch["next_observations"]).detach()
    plain = read(critic, batch, training=TRAINING)
    policies = {
        "a module": policy,
        "a function": lambda s: policy(s),
        "a method": policy.forward,
        "of arrays": lambda s: policy(torch.as_tensor(s)).detach().numpy(),
    }
    for given in (tuple(parts), named):
        for name, one in policies.items():
            other = read(critic, given, policy=one, training=TRAINING)
            assert other.leading == near(plain.leading), name
            assert other.successors == "the policy's actions"


def test_dictionaries_of_observations_and_whole_numbers():
    class OfGoals(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.linear = nn.Embedding(4, 3), nn.Linear(8, 1)

        def forward(self, observations, actions):
            return self.linear(torch.cat((observations["state"], observations["goal"], self.embed(actions)), 1))

    generator = torch.Generator().manual_seed(0)
    observations = [{"state": torch.randn(6, 3, generator=generator), "goal": torch.randn(6, 2, generator=generator)}
                    for _ in range(2)]  # fmt: skip
    actions = torch.randint(0, 4, (2, 6), generator=generator)
    critic = OfGoals()
    batch = {"observations": observations[0], "actions": actions[0], "next_observations": observations[1],
             "next_actions": actions[1].numpy(), "rewards": np.zeros(6)}  # fmt: skip
    reading = read(critic, batch, training=TRAINING)

    def rows(s, a):
        weights = critic.linear.weight.detach()[0, 5:].double()
        data = torch.cat((s["state"], s["goal"], critic.embed(a)), 1).double()
        one_hot = torch.nn.functional.one_hot(a, 4).double()
        return torch.cat((data, torch.ones(6, 1), torch.einsum("mv,d->mvd", one_hot, weights).flatten(1)), 1).detach()

    here, there = (rows(s, a) for s, a in zip(observations, actions, strict=True))
    assert reading.leading == near(dense(0.9 * there @ here.T - here @ here.T))


@pytest.mark.parametrize("shape", [(M,), (M, 1)])
def test_a_discount_by_row(shape):
    critic, batch = drawn()
    discounts = 0.99 ** torch.arange(1, M + 1, dtype=torch.float64)
    gram, gram_next = blocks(critic, batch)
    expected = dense(seem_matrix(gram, gram_next, discounts, batch["terminals"].double()))
    x, x_next = (batch["observations"], batch["actions"]), (batch["next_observations"], batch["next_actions"])
    given = discounts.reshape(shape)
    raw = take_reading(critic, x, x_next, torch.ones(M, 1), batch["terminals"][:, None], discount=given, lr=1e-3)
    assert raw.leading == near(expected)
    assert read(critic, batch, training=Training(discount=given, lr=1e-3)).leading == near(expected)
    by_batch = read(critic, batch | {"discounts": given}, training=TRAINING)
    assert by_batch.leading == near(expected)
    assert by_batch.discount_margin.stable is None


def test_twins_have_their_joint_value_beside_their_own():
    (first, batch), (second, _) = drawn(0), drawn(1)
    reading = read([first, second], batch, training=TRAINING)
    pairs = [blocks(critic, batch) for critic in (first, second)]
    with torch.no_grad():
        q1, q2 = (critic(batch["next_observations"], batch["next_actions"])[:, 0] for critic in (first, second))
    grams, grams_next = zip(*pairs, strict=True)
    terminals = batch["terminals"].double()
    joint = twin_seem_matrix(grams, grams_next, 0.9, terminals, (q1 <= q2).double())
    assert reading.leading == near(dense(joint))
    assert reading.own == near(tuple(dense(seem_matrix(*pair, 0.9, terminals)) for pair in pairs))
    mean = read([first, second], batch, training=TRAINING, backup="mean")
    by_hand = read([first, second], batch, training=TRAINING, backup=lambda values: values.mean(0))
    half = twin_seem_matrix(grams, grams_next, 0.9, terminals, torch.full((M,), 0.5, dtype=torch.float64))
    assert mean.leading == near(dense(half))
    assert by_hand.leading == near(mean.leading)


@pytest.mark.parametrize("name", ["shared encoder object", "twins in one module"])
def test_the_joint_growth_is_that_of_a_real_step(name):
    """Critics that share parameters move each other: a tiny step of both losses, targets copied."""
    kind = build(name, torch.float64)
    kind.x, kind.x_next, rows = kind.x.double(), kind.x_next.double(), len(kind.x)
    rewards = torch.linspace(-1, 1, rows, dtype=torch.float64)
    batch = {"x": kind.x, "x_next": kind.x_next, "rewards": rewards}
    lr = 1e-6
    reading = read(kind.modules, batch, training=Training(discount=0.9, lr=lr))

    def values(x):
        return torch.stack(
            [part[:, 0] for m in kind.modules for part in (m(x) if isinstance(m(x), tuple) else (m(x),))]
        )

    def errors():
        return values(kind.x) - (rewards + 0.9 * values(kind.x_next).amin(0)).detach()

    before = errors()
    before.square().mean(1).sum().backward()
    with torch.no_grad():
        for parameter in {id(p): p for m in kind.modules for p in m.parameters()}.values():
            parameter -= lr * parameter.grad
    grown = (errors().norm() / before.norm()).item()
    # 1e-4: the second order in a step of 1e-6.
    assert reading.growth - 1 == pytest.approx(grown - 1, rel=1e-4)


def test_one_head_of_a_stack_has_its_own_alignment_and_norm():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        stack = Ensemble().double()
        x, x_next = torch.randn(2, M, 8, dtype=torch.float64)

    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.stack = stack

        def forward(self, x):
            return self.stack(x)[3]

    u = torch.linspace(-1, 2, M, dtype=torch.float64)
    own = [part[3] for part in (stack.first, stack.bias, stack.last)]
    parts = [part.detach().clone().requires_grad_() for part in own]
    value = (torch.relu(x @ parts[0] + parts[1]) @ parts[2])[:, 0]
    gradients = torch.autograd.grad(value @ u, parts)
    theta, g = (torch.cat([part.detach().flatten() for part in these]) for these in (parts, gradients))
    expected = (-(g @ theta) / (g.norm() * theta.norm())).item()
    assert alignment(Head(), x, u) == near(expected)
    batch = {"x": x, "x_next": x_next, "td_error": u}
    picks = [(Head(), None), (stack, 3), (stack, lambda made: made[3])]
    for module, outputs in picks:
        reading = read(module, batch, training=TRAINING, outputs=outputs)
        assert reading.alignment == near((expected,))
        assert reading.parameter_norm == near((theta.norm().item(),))
    raw = take_reading(Head(), x, x_next, u, torch.zeros(M), discount=0.9, lr=1e-3)
    assert raw.parameter_norm == near(theta.norm().item())


LOSSES = {
    "half": (Training(discount=0.9, lr=0.3, loss_scale=0.5), lambda u: 0.5 * u.square().mean()),
    "plain": (Training(discount=0.9, lr=0.3), lambda u: u.square().mean()),
    "huber": (Training(discount=0.9, lr=0.3, huber_knee=0.7),
              lambda u: nn.functional.huber_loss(u, torch.zeros_like(u), delta=0.7)),
    "weights": (Training(discount=0.9, lr=0.3, row_weights=torch.linspace(0, 2, M)),
                lambda u: (torch.linspace(0, 2, M) * u.square()).mean()),
    "frozen": (Training(discount=0.9, lr=0.3, targets="frozen"), lambda u: u.square().mean()),
}  # fmt: skip


@pytest.mark.parametrize("loss", LOSSES)
def test_growth_is_that_of_the_real_step_of_a_linear_critic(loss):
    training, function = LOSSES[loss]
    generator = torch.Generator().manual_seed(0)
    x, x_next = torch.randn(2, M, 4, generator=generator, dtype=torch.float64)
    rewards = torch.randn(M, generator=generator, dtype=torch.float64)
    critic = nn.Linear(4, 1).double()
    target = nn.Linear(4, 1).double()
    batch = {"x": x, "x_next": x_next, "rewards": rewards}
    held = loss == "frozen"
    reading = read(critic, batch, training=training, target_critics=target if held else None)

    def error():
        following = (target if held else critic)(x_next)[:, 0].detach()
        return critic(x)[:, 0] - rewards - 0.9 * following

    before = error()
    function(before).backward()
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter -= 0.3 * parameter.grad
    # 1e-12: a linear critic's step has no second order.
    assert reading.growth == pytest.approx((error().norm() / before.norm()).item(), rel=1e-12)
    assert (reading.rate is None) == (loss in ("huber", "frozen"))


def test_without_bootstrap_nothing_excites_itself_in_low_precision_or_rank():
    wide = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 1)).bfloat16()
    narrow = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 1))
    x, x_next = torch.randn(2, 256, 6, generator=torch.Generator().manual_seed(0))
    for critic in (wide, narrow):
        batch = {"x": x, "x_next": x_next, "td_error": torch.ones(256)}
        reading = read(critic, batch, training=Training(discount=0.0, lr=1e-3))
        # 1e-13: zero eigenvalues of the rank-deficient kernel, rounded in float64.
        assert reading.normalised <= 1e-13
        assert reading.critical_discount is None or reading.critical_discount > 0
        said = forecast([reading], depth=2, dtype="float32", step=0)
        assert "crash" not in (said.reason or "") or said.crash_step == float("inf")


def test_a_frozen_layer_counts_nowhere():
    net = frozen()
    x, x_next = torch.randn(2, M, 8, generator=torch.Generator().manual_seed(0))
    reading = read(net, {"x": x, "x_next": x_next, "td_error": torch.ones(M)}, training=TRAINING)
    gram, gram_next = (block[0, 0] for block in oracle(Kind([copy.deepcopy(net)], x, x_next)))
    assert reading.leading == near(dense(0.9 * gram_next - gram))
    trained = [p.detach().double() for p in net.parameters() if p.requires_grad]
    assert reading.parameter_norm == near((torch.cat([p.flatten() for p in trained]).norm().item(),), 1e-6)


def test_only_what_the_live_optimiser_holds_is_trained():
    net, thawed = frozen(), frozen()
    thawed.load_state_dict(net.state_dict())
    thawed.requires_grad_(True)
    held = [p for p, q in zip(thawed.parameters(), net.parameters(), strict=True) if q.requires_grad]
    x, x_next = torch.randn(2, M, 8, generator=torch.Generator().manual_seed(0))
    batch = {"x": x, "x_next": x_next, "td_error": torch.ones(M)}
    live = read(thawed, batch, training=Training(discount=0.9, optimizer=torch.optim.SGD(held, lr=1e-2)))
    assert live.leading == near(read(net, batch, training=TRAINING).leading)
    assert live.growth == near(read(net, batch, training=TRAINING).growth)


@pytest.mark.parametrize(
    "make",
    [torch.optim.Adam, torch.optim.AdamW, lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.9),
     lambda p: torch.optim.SGD(p, lr=1e-2, weight_decay=1e-3)],
)  # fmt: skip
def test_what_holds_under_plain_descent_only_is_none_with_a_reason_elsewhere(make):
    critic, batch = drawn()
    optimiser = make(critic.parameters())
    reading = read(critic, batch, training=Training(discount=0.9, optimizer=optimiser))
    plain = read(critic, batch, training=TRAINING)
    for name in ("step_size", "rate", "growth", "rayleigh", "excitation_gain", "overshoot_gain", "largest_step_size"):
        assert getattr(reading, name) is None
        assert type(optimiser).__name__ in reading.why(name)
        assert getattr(plain, name) is not None or name == "largest_step_size"
    assert reading.leading == plain.leading
    assert all(getattr(reading.critics[0], name) is None for name in ("step_size", "growth", "rate", "rayleigh"))
    said = forecast([reading], depth=2, dtype="float32", step=0)
    assert said.crash_step == float("inf")
    assert "plain gradient descent" in said.reason


def test_a_diverged_critic_is_a_result():
    critic, batch = drawn()
    with torch.no_grad():
        critic.net[0].weight *= float("inf")
    reading = read(critic, batch, training=TRAINING)
    assert reading.leading is None
    assert "floating-point range" in reading.why("leading")
    assert "blown up" in forecast([reading], depth=2, dtype="float32", step=0).reason


def test_a_diverged_policy_is_a_result():
    critic, batch = drawn()
    reading = read(critic, batch | {"next_actions": torch.full((M, 3), torch.nan)}, training=TRAINING)
    assert reading.leading is None
    raw = SHAPES["raw"](batch)
    nowhere = tuple(part * torch.nan for part in raw["x_next"])
    assert take_reading(critic, raw["x"], nowhere, torch.ones(M), torch.zeros(M), discount=0.9, lr=0.1) is None


def test_a_compiled_critic_is_read_as_what_it_is():
    critic, batch = drawn()
    compiled = torch.compile(critic, backend="eager")
    assert read(compiled, batch, training=TRAINING).leading == read(critic, batch, training=TRAINING).leading


def test_arrays_of_another_framework_give_the_same_reading():
    (first, batch), (second, _) = drawn(0), drawn(1)
    terminals = batch["terminals"].numpy()
    u = torch.randn(2, M, generator=torch.Generator().manual_seed(0)).numpy()
    pairs = [blocks(critic, batch) for critic in (first, second)]
    raw = SHAPES["raw"](batch)
    with torch.no_grad():
        values = [critic(*raw["x_next"])[:, 0].numpy() for critic in (first, second)]
    common = {"td_error": u, "terminals": terminals, "values_next": np.stack(values)}
    modules = read([first, second], raw | {"td_error": u}, training=TRAINING)
    gram, gram_next = (np.stack([pair[i].numpy() for pair in pairs]) for i in (0, 1))
    arrays = read(None, common | {"gram": gram, "gram_next": gram_next}, training=TRAINING)
    for name in ("leading", "growth", "rayleigh", "normalised", "td_norm"):
        assert getattr(arrays, name) == near(getattr(modules, name), 1e-6)
    assert arrays.alignment is None
    assert "arrays" in arrays.why("alignment")
