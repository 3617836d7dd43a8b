"""Batches as libraries name their parts: each is understood, refused, or said to be missing."""

import inspect

import pytest
import torch
from torch import nn

from seem.batches import NO_TERMINALS, thinned
from seem.dynamics import Training
from seem.errors import InputError
from seem.reading import read

M, TRAINING = 12, Training(discount=0.9, lr=1e-3)


class Critic(nn.Module):
    """Q(s, a) with two arguments."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(7, 16), nn.Tanh(), nn.Linear(16, 1))

    def forward(self, s, a):
        return self.net(torch.cat([s, a], 1))


@pytest.fixture
def rows():
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=generator)

    return {
        "observations": draw(M, 5),
        "actions": draw(M, 2),
        "rewards": draw(M),
        "next_observations": draw(M, 5),
        "next_actions": draw(M, 2),
        "terminals": (torch.arange(M) % 3 == 0).float(),
    }


@pytest.fixture
def critic():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Critic()


def renamed(rows, **names):
    return {names.get(name, name): value for name, value in rows.items()}


def same(one, other):
    """Whether two readings say the same."""
    names = ("leading", "td_norm", "growth", "rayleigh", "mean_abs_q", "alignment", "notes", "successors")
    return all(getattr(one, name) == getattr(other, name) for name in names)


TIANSHOU = {"observations": "obs", "actions": "act", "rewards": "rew", "next_observations": "obs_next"}


def test_names_of_libraries_mean_the_same(rows, critic):
    plain = read(critic, rows, training=TRAINING)
    assert same(read(critic, renamed(rows, **TIANSHOU, terminals="terminated"), training=TRAINING), plain)
    assert plain.td_norm is not None
    assert plain.notes == ()


class Nested(dict):
    """Stands for a TensorDict, which is no mapping and holds another one under "next"."""


def test_what_lies_under_next_is_of_this_step(rows, critic):
    following = Nested(observation=rows["next_observations"], reward=rows["rewards"], done=rows["terminals"][:, None])
    other = {"observation": rows["observations"], "action": rows["actions"], "next_actions": rows["next_actions"]}
    plain = read(critic, rows, training=TRAINING)
    for before in ({}, {"done": torch.ones(M, 1)}, {"reward": torch.zeros(M)}):
        assert same(read(critic, other | before | {"next": following}, training=TRAINING), plain)
    del following["done"]
    assert read(critic, other | {"done": torch.ones(M), "next": following}, training=TRAINING).notes == (NO_TERMINALS,)


@pytest.mark.parametrize("name", ["not_done", "not_dones", "nonterminals", "masks"])
@pytest.mark.parametrize("kind", [float, bool])
def test_rows_that_go_on_are_no_terminals(rows, critic, name, kind):
    other = {key: value for key, value in rows.items() if key != "terminals"}
    other[name] = (1 - rows["terminals"]).numpy().astype(kind)[:, None]
    assert same(read(critic, other, training=TRAINING), read(critic, rows, training=TRAINING))


def test_a_batch_without_terminals_says_so(rows, critic):
    none = read(critic, {key: value for key, value in rows.items() if key != "terminals"}, training=TRAINING)
    zeros = read(critic, rows | {"terminals": torch.zeros(M)}, training=TRAINING)
    assert none.notes == (NO_TERMINALS,)
    assert none.leading == zeros.leading
    assert zeros.notes == ()
    assert none.leading != read(critic, rows, training=TRAINING).leading


def test_the_steps_behind_a_return_give_its_discount(rows, critic):
    steps = 1 + torch.arange(M) % 3
    by_steps = read(critic, rows | {"intervals": steps[:, None]}, training=TRAINING)
    by_row = read(critic, rows | {"discounts": 0.9**steps}, training=TRAINING)
    assert by_steps.leading == pytest.approx(by_row.leading, rel=1e-6)  # the discounts are float32
    assert by_steps.td_norm == pytest.approx(by_row.td_norm, rel=1e-6)
    assert by_steps.leading != read(critic, rows, training=TRAINING).leading
    one = read(critic, rows | {"intervals": torch.ones(M)}, training=TRAINING)
    assert same(one, read(critic, rows, training=TRAINING))


@pytest.mark.parametrize("steps", [0, -1, 1.5])
def test_steps_that_are_none_are_refused(rows, critic, steps):
    with pytest.raises(InputError, match="whole numbers from 1 on"):
        read(critic, rows | {"intervals": torch.full((M,), steps)}, training=TRAINING)


def test_masks_are_zero_or_one(rows, critic):
    other = {key: value for key, value in rows.items() if key != "terminals"}
    with pytest.raises(InputError, match=r"is 0\.5"):
        read(critic, other | {"masks": torch.full((M,), 0.5)}, training=TRAINING)


@pytest.mark.parametrize(
    "names",
    [{"terminals": "not_done"}, {"terminals": "dones"}, {"observations": "obs", "next_observations": "obs_next"}],
)
def test_a_batch_of_fewer_rows_has_all_its_parts(rows, critic, names):
    whole = renamed(rows | {"intervals": 1 + torch.arange(M) % 3}, **names)
    fewer = {name: values[::11] for name, values in whole.items()}
    assert same(read(critic, thinned(whole, 2), training=TRAINING), read(critic, fewer, training=TRAINING))


@pytest.mark.parametrize("width", [1, 3])
def test_next_actions_of_another_shape_are_refused(rows, critic, width):
    with pytest.raises(InputError, match="those of the batch"):
        read(critic, rows | {"next_actions": torch.zeros(M, width)}, training=TRAINING)
    with pytest.raises(InputError, match="the policy's actions have shape"):
        read(critic, rows, policy=nn.Linear(5, width), training=TRAINING)


def test_discrete_actions_may_be_a_column_or_not(rows):
    class Table(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(5, 3)

        def forward(self, s, a):
            return self.net(s).gather(1, a.reshape(-1, 1).long())

    column = rows | {"actions": torch.ones(M, 1).long(), "next_actions": torch.zeros(M).long()}
    assert read(Table(), column, training=TRAINING).leading is not None


def test_a_successor_that_the_critic_does_not_take_is_one_sentence():
    rows = {"x": torch.ones(4, 3), "x_next": torch.ones(4, 5), "td_error": torch.ones(4)}
    with pytest.raises(InputError, match="the critic fails on the rows"):
        read(nn.Linear(3, 1), rows, training=TRAINING)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("compiled", [torch.jit.script, lambda m: torch.jit.trace(m, torch.ones(2, 3))])
def test_a_torchscript_critic_is_refused(compiled):
    rows = {"x": torch.ones(4, 3), "x_next": torch.ones(4, 3), "td_error": torch.ones(4)}
    with pytest.raises(InputError, match="TorchScript"):
        read(compiled(nn.Linear(3, 1)), rows, training=TRAINING)


def test_sparse_rows_are_refused(rows, critic):
    with pytest.raises(InputError, match="observations is a sparse tensor"):
        read(critic, rows | {"observations": rows["observations"].to_sparse()}, training=TRAINING)


@pytest.mark.parametrize("training", [None, {"discount": 0.9}, 0.9])
def test_a_training_that_is_none_is_refused(rows, critic, training):
    bare = inspect.unwrap(read)  # without jaxtyping's checks, which stand before its own in the tests and nowhere else
    with pytest.raises(InputError, match=r"pass seem\.Training"):
        bare(critic, rows, training=training)


@pytest.mark.parametrize("dtype", [torch.int32, torch.float16, torch.complex64])
def test_a_dtype_that_is_not_computed_in_is_refused(rows, critic, dtype):
    with pytest.raises(InputError, match="is impossible"):
        read(critic, rows, training=TRAINING, dtype=dtype)


class TestArrays:
    """Looks at arrays of another framework."""

    @pytest.fixture
    def blocks(self):
        generator = torch.Generator().manual_seed(1)
        gradients, following = torch.randn(2, 4, 9, generator=generator, dtype=torch.float64)
        return {"gradients": gradients, "gradients_next": following, "td_error": torch.ones(4)}

    def test_discounts_and_ends_by_row_count(self, blocks):
        ends, discounts = torch.tensor([1.0, 0.0, 0.0, 1.0]), torch.tensor([0.5, 0.9, 0.3, 1.0], dtype=torch.float64)
        gradients, following = blocks["gradients"], blocks["gradients_next"]
        matrix = ((1 - ends) * discounts)[:, None] * (following @ gradients.T) - gradients @ gradients.T
        expected = torch.linalg.eigvals(matrix).real.max().item()
        for extra in ({"terminals": ends}, {"dones": ends}, {"masks": 1 - ends}):
            found = read(None, blocks | extra | {"discounts": discounts}, training=TRAINING)
            assert found.leading == pytest.approx(expected, rel=1e-9)
            assert found.notes == ()

    def test_steps_behind_a_return_count(self, blocks):
        found = read(None, blocks | {"intervals": torch.full((4,), 2)}, training=TRAINING)
        assert found.leading == pytest.approx(read(None, blocks, training=Training(discount=0.81)).leading, rel=1e-12)
        assert found.notes == (NO_TERMINALS,)

    @pytest.mark.parametrize("name", ["rewards", "discont", "gram_nxt"])
    def test_a_part_that_means_nothing_here_is_refused(self, blocks, name):
        with pytest.raises(InputError, match=f"{name} is no part"):
            read(None, blocks | {name: torch.ones(4)}, training=TRAINING)
