"""Drawn networks are what their recipe says: valid, of every kind, with dead units dead, and they shrink well."""

from dataclasses import replace

import pytest
import torch
from hypothesis import find, given
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument

from properties.meta.search import SEARCH
from properties.strategies.networks import (
    EVERY_KIND,
    NORMALISATIONS,
    PIECEWISE_LINEAR,
    WITH_EPSILON,
    Case,
    cases,
    configs,
    mortal_layers,
    powers_of_two,
)
from seem.networks import ACTIVATIONS, MLPConfig

SMALLEST = Case(MLPConfig(depth=1, width=2, bias=False), inputs=1, rows=1, seed=0)


def before_activations(network, x):
    """Every hidden layer's input of its non-linearity."""
    values = []
    for linear, norm in zip(network.linears[:-1], network.norms, strict=True):
        values.append(norm(linear(x)))
        x = network.activation(values[-1])
    return values


@given(case=cases(**EVERY_KIND))
def test_draws_are_finite_float64_of_the_recipe(case):
    network, x, x_next = case.draw()
    assert not network.training
    assert x.shape == x_next.shape == (case.rows, case.inputs)
    for tensor in (x, x_next, network(x), network(x_next)):
        assert tensor.dtype == torch.float64
        assert torch.isfinite(tensor).all()
    assert network(x).shape == (case.rows, 1)
    assert network.config == case.config


@given(case=cases(**EVERY_KIND))
def test_a_recipe_draws_the_same_twice_and_survives_its_repr(case):
    again = eval(repr(case))  # noqa: S307 - the repr is what a failure prints
    assert again == case
    for one, other in zip(case.draw()[0].state_dict().values(), again.draw()[0].state_dict().values(), strict=True):
        assert torch.equal(one, other)


@given(case=cases(normalised=True, **EVERY_KIND))
def test_a_normalised_case_has_a_normalised_layer(case):
    assert any(case.config.is_normalised(layer) for layer in range(1, case.config.depth))


@given(case=cases(**EVERY_KIND), factor=powers_of_two())
def test_weight_scale_multiplies_linear_layers_and_nothing_else(case, factor):
    plain = replace(case, weight_scale=1.0, trained=False, dead=())
    before, after = (recipe.draw() for recipe in (plain, replace(plain, weight_scale=factor)))
    assert torch.equal(before[1], after[1])
    for (name, one), other in zip(before[0].named_parameters(), after[0].parameters(), strict=True):
        assert torch.equal(one * (factor if name.startswith("linears.") else 1.0), other)


@given(case=cases(normalised=True, normalisations=NORMALISATIONS, trained=True))
def test_training_moves_every_gain_shift_and_statistic(case):
    network, fresh = case.draw()[0], replace(case, trained=False).draw()[0]
    moved = 0
    for (name, tensor), start in zip(network.state_dict().items(), fresh.state_dict().values(), strict=True):
        special = name.startswith("norms.") or ".original" in name
        if special and not name.endswith("num_batches_tracked"):
            assert (tensor != start).all(), name
            moved += 1
        else:
            assert torch.equal(tensor, start), name
    assert moved or not case.config.affine


@given(case=cases(activations=("relu",), **(EVERY_KIND | {"dead": True})), size=powers_of_two(-20, 20))
def test_dead_units_never_fire(case, size):
    network, x, x_next = case.draw()
    values = before_activations(network, size * torch.cat((x, x_next)))
    for layer, unit in case.dead:
        # torch's ReLU has derivative 0 at 0.
        assert values[layer - 1][:, unit].max() <= 0, f"unit {unit} of layer {layer}"


@given(case=cases(activations=("relu",), **(EVERY_KIND | {"dead": True})))
def test_a_layer_keeps_a_unit_and_dead_means_some(case):
    assert bool(case.dead) == bool(mortal_layers(case.config))
    for layer in range(1, case.config.depth):
        assert sum(dead_layer == layer for dead_layer, _ in case.dead) < case.config.width


@given(data=st.data(), smallest=st.integers(2, 4), more=st.integers(0, 2), bias=st.booleans(), affine=st.booleans())
def test_arguments_are_kept(data, smallest, more, bias, affine):
    bounds = (smallest, smallest + more)
    kind = data.draw(st.sampled_from(NORMALISATIONS), label="kind")
    strategy = cases(
        depth=bounds,
        width=bounds,
        inputs=bounds,
        rows=bounds,
        bias=bias,
        affine=affine,
        normalised=True,
        normalisations=(kind,),
        activations=PIECEWISE_LINEAR,
        epsilons=(0.25,),
    )
    case = data.draw(strategy, label="case")
    for number in (case.config.depth, case.config.width, case.inputs, case.rows):
        assert bounds[0] <= number <= bounds[1]
    assert (case.config.bias, case.config.kind) == (bias, kind)
    assert case.config.activation in PIECEWISE_LINEAR
    if kind in WITH_EPSILON:
        assert (case.config.affine, case.config.epsilon) == (affine, 0.25)
    assert (case.weight_scale, case.trained, case.dead) == (1.0, False, ())


@given(config=configs(normalised=True, first=True))
def test_the_first_layer_is_normalised_when_asked(config):
    assert config.is_normalised(1)


@given(config=configs())
def test_the_default_kind_is_layernorm(config):
    assert config.kind in ("none", "layer")


KINDS = {
    **{f"activation {name}": lambda case, name=name: case.config.activation == name for name in ACTIVATIONS},
    **{kind: lambda case, kind=kind: case.config.kind == kind for kind in ("none", *NORMALISATIONS)},
    "several groups": lambda case: case.config.normalisation == "group:2",
    "linear": lambda case: case.config.depth == 1,
    "deepest": lambda case: case.config.depth == 4 and case.config.width == 6,
    "biases": lambda case: case.config.bias,
    "LayerNorm in one layer of three": lambda case: (case.config.depth, case.config.normalised_layers) == (4, (2,)),
    "LayerNorm in every layer": lambda case: (case.config.depth, case.config.normalised_layers) == (3, (1, 2)),
    "LayerNorm without affine": lambda case: case.config.kind == "layer" and not case.config.affine,
    "epsilon 0": lambda case: case.config.epsilon == 0,
    "a trained network": lambda case: case.trained,
    "two dead units": lambda case: len(case.dead) == 2,
    "a dead unit under LayerNorm": lambda case: case.dead and case.config.is_normalised(case.dead[0][0]),
    "weights scaled by a power of two": lambda case: case.weight_scale == 4,
    # Between two powers of two.
    "weights scaled with rounding": lambda case: 1.1 < case.weight_scale < 1.9,
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_network_is_found(kind):
    # find raises when 2000 examples do not hold one.
    strategy = cases(epsilons=(1e-5, 0.0), **EVERY_KIND)
    assert KINDS[kind](find(strategy, KINDS[kind], settings=SEARCH))


def test_shrinks_to_a_linear_function():
    assert find(cases(**EVERY_KIND), lambda _: True) == SMALLEST


@pytest.mark.parametrize("kind", NORMALISATIONS)
def test_a_normalised_network_shrinks_to_one_hidden_layer(kind):
    smallest = find(cases(**EVERY_KIND), lambda case: case.config.kind == kind)
    assert replace(smallest, config=SMALLEST.config) == SMALLEST
    config = MLPConfig(
        depth=2,
        width=2,
        bias=False,
        normalisation="group:1" if kind == "group" else kind,
        normalised_layers=(1,),
        affine=kind not in WITH_EPSILON,
    )
    assert smallest.config == config


def test_a_dead_unit_shrinks_to_a_plain_network_with_one():
    smallest = find(cases(**EVERY_KIND), lambda case: case.dead)
    assert smallest == replace(SMALLEST, config=replace(SMALLEST.config, depth=2), dead=((1, 1),))


def test_powers_of_two_shrink_to_one():
    assert find(powers_of_two(), lambda _: True) == 1


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        ({"activations": ("sigmoid",)}, "activations"),
        ({"activations": ()}, "activations"),
        ({"normalisations": ("none",)}, "normalisations"),
        ({"normalisations": ("group:2",)}, "normalisations"),
        ({"depth": (0, 2)}, "depth=.*1 <= smallest"),
        ({"depth": (3, 2)}, "depth=.*1 <= smallest"),
        ({"depth": (1, 1), "normalised": True}, "a largest depth of 2"),
        ({"width": (1, 2)}, "width=.*2 <= smallest"),
        ({"epsilons": ()}, "epsilons"),
        ({"epsilons": (-1.0,)}, "epsilons"),
        ({"epsilons": (float("inf"),)}, "epsilons"),
        ({"epsilons": (0.0,), "normalisations": ("batch",)}, "a positive one too"),
        ({"inputs": (0, 1)}, "inputs"),
        ({"rows": (2, 1)}, "rows"),
    ],
    ids=str,
)
def test_an_impossible_argument_is_named(arguments, remedy):
    with pytest.raises(InvalidArgument, match=remedy):
        cases(**arguments)


def test_impossible_powers_are_named():
    with pytest.raises(InvalidArgument, match="-1023 to 0"):
        powers_of_two(-1023, 0)
