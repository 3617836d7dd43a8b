"""Stacked agents follow the runs of single agents."""

from dataclasses import replace

import pytest
import torch

from seem.agents.stacked_td3 import SAMPLED_STEPS, StackedTD3
from seem.agents.td3 import TD3, TD3Config
from seem.errors import InputError
from seem.networks import ACTIVATIONS, MLPConfig
from seem.transitions import Transitions

SEEDS = (0, 1, 2)
STEPS = 7
TOLERANCE = 1e-12
"""Two orders of summation in float64, over a few steps of networks of size one: some thousand roundings."""


def transitions(rows=64, observation_dim=5, action_dim=2):
    generator = torch.Generator().manual_seed(0)
    drawn = {"generator": generator, "dtype": torch.float64}
    return Transitions(
        observations=torch.randn(rows, observation_dim, **drawn),
        actions=torch.rand(rows, action_dim, **drawn) * 2 - 1,
        rewards=torch.randn(rows, **drawn),
        next_observations=torch.randn(rows, observation_dim, **drawn),
        terminals=(torch.rand(rows, **drawn) < 0.2).double(),
    )


def agents(config, seeds=SEEDS):
    return [TD3(config, 5, 2, seed=seed, dtype=torch.float64) for seed in seeds]


def generators():
    return [torch.Generator().manual_seed(seed) for seed in SEEDS]


def network_config(**changes):
    return MLPConfig(**({"depth": 3, "width": 8} | changes))


SHAPES = [{"activation": name} for name in ACTIVATIONS]
SHAPES += [{"normalisation": "layer", "activation": name} for name in ("relu", "gelu")]
SHAPES += [{"normalisation": "layer", "normalised_layers": (2,), "affine": False}, {"bias": False}, {"depth": 1}]
SETTINGS = [
    {"critic_optimiser": "sgd", "target_rate": 1.0, "target_interval": 1},
    {"critic_optimiser": "sgd", "momentum": 0.9, "target_noise": 0.0},
    {"critic_optimiser": "adam", "behaviour_cloning": 0.5, "actor_interval": 3},
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_every_member_follows_its_single_run(shape, settings):
    config = TD3Config(network_config(**shape), network_config(**shape), critic_lr=1e-2, **settings)
    configs = [replace(config, discount=0.9 + 0.03 * seed) for seed in SEEDS]
    singles, copies = ([agents(c, (s,))[0] for s, c in zip(SEEDS, configs, strict=True)] for _ in range(2))
    data, stack = transitions(), StackedTD3(copies)
    *_, (values, targets) = stack.train(stack.table(data), 16, STEPS, generators())
    for index, (single, generator) in enumerate(zip(singles, generators(), strict=True)):
        for _ in range(STEPS):
            expected = single.update(data.select(torch.randint(len(data), (16,), generator=generator)))
        torch.testing.assert_close((values[index], targets[index]), expected, rtol=TOLERANCE, atol=TOLERANCE)
        stack.store(index, copies[index])
        for name in ("actor", "critics", "target_actor", "target_critics"):
            pairs = zip(getattr(copies[index], name).parameters(), getattr(single, name).parameters(), strict=True)
            for stored, followed in pairs:
                torch.testing.assert_close(stored, followed, rtol=TOLERANCE, atol=TOLERANCE)


def test_rows_drawn_in_blocks_are_the_rows_of_single_draws():
    data, config = transitions(), TD3Config(network_config(), network_config())
    stack = StackedTD3(agents(config))
    seen = []
    stack.update = lambda rows: seen.append(rows) or (rows, rows)
    list(stack.train(stack.table(data), 16, SAMPLED_STEPS + 3, generators()))
    assert len(seen) == SAMPLED_STEPS + 3
    for index, generator in enumerate(generators()):
        for rows in seen:
            single = torch.randint(len(data), (16,), generator=generator)
            assert torch.equal(rows[index, :, -2], data.rewards[single])


def test_a_members_run_does_not_depend_on_the_others():
    config, data = TD3Config(network_config(), network_config()), transitions()
    alone, together = StackedTD3(agents(config, (1,))), StackedTD3(agents(config))
    *_, (values, _) = alone.train(alone.table(data), 16, STEPS, generators()[1:2])
    *_, (others, _) = together.train(together.table(data), 16, STEPS, generators())
    torch.testing.assert_close(values[0], others[1], rtol=TOLERANCE, atol=TOLERANCE)


def test_agents_that_differ_or_have_been_trained_are_refused():
    config = TD3Config(network_config(), network_config())
    with pytest.raises(InputError, match="only the discount may differ"):
        StackedTD3([*agents(config), *agents(replace(config, critic_lr=1.0))])
    trained = agents(config)
    trained[0].steps = 1
    with pytest.raises(InputError, match="have not been trained"):
        StackedTD3(trained)


def test_networks_that_cannot_be_stacked_are_refused():
    with pytest.raises(InputError, match="train this one by itself"):
        StackedTD3(agents(TD3Config(network_config(normalisation="rms"), network_config())))
    mixed = [TD3(TD3Config(), size, 2, seed=0) for size in (3, 4)]
    with pytest.raises(InputError, match="one shape"):
        StackedTD3(mixed)
    with pytest.raises(InputError, match="do not hold norms"):
        StackedTD3(agents(TD3Config(network_config(), network_config(), hold_norms=True)))
