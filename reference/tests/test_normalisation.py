"""Normalisations against their formulas in Python floats, their initial state, and what is refused."""

import copy
import math

import pytest
import torch

from seem.errors import InputError
from seem.networks import MLP, MLPConfig, parameter_list
from seem.normalisation import NORMALISATIONS, RECORDS, LayerScale, parse
from seem.normalisation.units import ScaledUnits
from seem.records import canonical_json

WIDTH, EPSILON = 6, 0.5


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def built(dtype: torch.dtype = torch.float64, **options) -> MLP:
    config = MLPConfig(**{"depth": 3, "width": WIDTH, "epsilon": EPSILON} | options)
    return MLP(3, 1, config, generator=generator(), dtype=dtype).eval()


def inputs(rows: int = 5) -> torch.Tensor:
    return torch.randn(rows, 3, generator=generator(1), dtype=torch.float64)


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def standardise(z: list[float]) -> list[float]:
    spread = math.sqrt(mean([(entry - mean(z)) ** 2 for entry in z]) + EPSILON)
    return [(entry - mean(z)) / spread for entry in z]


def by_record(text: str, norm: torch.nn.Module, z: torch.Tensor) -> torch.Tensor:
    """Rows before their gain and shift, by the formula that the kind's record writes out."""
    kind = parse(text)
    return (z - kind.centre(norm, z)) / kind.divisor(norm, z)


def slow_module(kind: str, norm: torch.nn.Module, z: list[float]) -> list[float]:
    """One row before its gain and shift; a kind without a formula here has its record's."""
    if kind == "layer":
        return standardise(z)
    if kind == "rms":
        return [entry / math.sqrt(mean([other**2 for other in z]) + EPSILON) for entry in z]
    if kind == "group":
        size = len(z) // norm.num_groups
        return [entry for start in range(0, len(z), size) for entry in standardise(z[start : start + size])]
    if kind == "batch":
        statistics = zip(z, norm.running_mean.tolist(), norm.running_var.tolist(), strict=True)
        return [(entry - centre) / math.sqrt(variance + EPSILON) for entry, centre, variance in statistics]
    return by_record(kind, norm, torch.tensor([z], dtype=torch.float64))[0].tolist()


def slow_weights(kind: str, linear: torch.nn.Module) -> list[list[float]]:
    """The weights that a row is multiplied by."""
    if kind == "weight":
        gains, directions = (parameter.tolist() for parameter in linear.parametrizations.weight.parameters())
        lengths = [math.sqrt(sum(v * v for v in direction)) for direction in directions]
        rows = zip(gains, directions, lengths, strict=True)
        return [[gain * v / length for v in direction] for (gain,), direction, length in rows]
    if kind == "spectral":
        weight = linear.parametrizations.weight.original.tolist()
        left, right = (vector.tolist() for vector in linear.parametrizations.weight.buffers())
        sigma = sum(u * w * v for u, row in zip(left, weight, strict=True) for w, v in zip(row, right, strict=True))
        return [[w / sigma for w in row] for row in weight]
    return linear.weight.tolist()


def slow_row(network: MLP, row: list[float]) -> float:
    """ReLU(g∘norm(W h + b) + t) layer after layer in Python floats."""
    kind = network.config.kind
    for linear, norm in zip(network.linears, [*network.norms, None], strict=True):
        weights = slow_weights(kind, linear) if norm is not None else linear.weight.tolist()
        z = [
            sum(map(math.prod, zip(w, row, strict=True))) + b
            for w, b in zip(weights, linear.bias.tolist(), strict=True)
        ]
        if norm is None:
            return z[0]
        gains, shifts = getattr(norm, "weight", None), getattr(norm, "bias", None)
        row = slow_module(kind, norm, z)
        row = [g * entry for g, entry in zip(gains.tolist(), row, strict=True)] if gains is not None else row
        row = [entry + t for entry, t in zip(row, shifts.tolist(), strict=True)] if shifts is not None else row
        row = [max(entry, 0.0) for entry in row]
    raise AssertionError


CONFIGS = [
    *({"normalisation": kind} for kind in NORMALISATIONS if kind != "group"),
    {"normalisation": "group:2"},
    {"normalisation": "group:3", "affine": False},
    {"normalisation": "rms", "affine": False},
    {"normalisation": "batch", "affine": False},
    {"normalisation": "scale:0.1"},
]


@pytest.mark.parametrize("options", CONFIGS, ids=str)
def test_forward_equals_the_formula_in_python_floats(options):
    network = built(**options).requires_grad_(False)
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.is_floating_point():  # all but BatchNorm's count of batches; variances stay positive
            tensor += 0.5 * torch.rand(tensor.shape, generator=generator(2), dtype=torch.float64)
    expected = [slow_row(network, row) for row in inputs().tolist()]
    # 1e-13: some twenty float64 operations per layer on numbers of size 1 to 10.
    torch.testing.assert_close(network(inputs())[:, 0].tolist(), expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("kind", NORMALISATIONS)
def test_a_record_says_what_its_kind_is(kind):
    text = RECORDS[kind]().choices(WIDTH)[-1]
    record, network = parse(text), built(normalisation=text).requires_grad_(False)
    for tensor in (*network.norms.parameters(), *network.norms.buffers()):
        if tensor.is_floating_point():
            tensor += 0.5 * torch.rand(tensor.shape, generator=generator(2), dtype=torch.float64)
    norm, z = network.norms[0], 3 * torch.randn(7, WIDTH, generator=generator(3), dtype=torch.float64)
    rows = record.standardised(norm, z)
    # 1e-14: a handful of roundings of numbers of size 1.
    torch.testing.assert_close(rows, by_record(text, norm, z), rtol=1e-14, atol=1e-14)
    shift = 0.0 if getattr(norm, "bias", None) is None else norm.bias
    torch.testing.assert_close(norm(z), getattr(norm, "weight", 1.0) * rows + shift)
    parameters = {name.split(".")[-1] for layer in network.norms for name, _ in layer.named_parameters()}
    parametrised = any("parametrizations" in name for name, _ in network.named_parameters())
    assert (record.gain != "never") == ("weight" in parameters or kind == "weight")
    assert (record.parametrisation is not None) == parametrised
    if record.by_row:
        assert rows.norm(dim=1).max() <= WIDTH**0.5
        # Each row by itself, and so the same beside others.
        torch.testing.assert_close(record.standardised(norm, z[:1]), rows[:1])
    if record.centred:
        torch.testing.assert_close(rows.sum(1), torch.zeros(7, dtype=torch.float64), rtol=0, atol=1e-14)
    if record.gain == "optional":
        bare = built(normalisation=text, affine=False)
        assert not list(bare.norms.parameters())
    assert all(parse(choice).problem(WIDTH, True, EPSILON) is None for choice in record.choices(WIDTH))


@pytest.mark.parametrize("kind", NORMALISATIONS)
def test_only_chosen_layers_are_normalised(kind):
    text = RECORDS[kind]().choices(WIDTH)[-1]
    network = built(depth=4, normalisation=text, normalised_layers=(2,))
    plain = built(depth=4)
    names, bare = set(network.state_dict()), set(plain.state_dict())
    assert {name for name in names ^ bare if not name.startswith(("linears.1.", "norms.1."))} == set()
    modules = [type(norm) for norm in network.norms]
    assert modules[0] is modules[2] is torch.nn.Identity
    assert (names == bare and modules[1] is torch.nn.Identity) == (kind == "none")


@pytest.mark.parametrize("kind", NORMALISATIONS)
def test_weights_come_from_the_generator_alone(kind):
    text = RECORDS[kind]().choices(WIDTH)[-1]
    torch.manual_seed(0)
    state = torch.get_rng_state()
    network, again, narrow = (
        built(normalisation=text),
        built(normalisation=text),
        built(torch.float32, normalisation=text),
    )
    assert torch.equal(torch.get_rng_state(), state), "the global generator has moved"
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
        assert torch.equal(tensor.to(narrow.state_dict()[name].dtype), narrow.state_dict()[name])
    effective = zip(network.linears, built().linears, strict=True)
    if kind != "spectral":
        # 1e-15: WeightNorm divides by a row's length and multiplies by it.
        assert all(torch.allclose(a.weight, b.weight, rtol=1e-15, atol=0) for a, b in effective)


def test_spectral_norm_starts_at_one_with_its_vectors_at_rest():
    network = built(normalisation="spectral")
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for linear in network.linears[:-1]:
        # 1e-14: one singular value decomposition of a small matrix.
        assert torch.linalg.matrix_norm(linear.weight, 2).item() == pytest.approx(1, abs=1e-14)
    network.train()(inputs())
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=1e-14)


def test_layer_scale_starts_at_its_option_and_has_one_gain_a_unit():
    assert torch.equal(
        built(normalisation="scale:0.25").norms[1].weight, torch.full((WIDTH,), 0.25, dtype=torch.float64)
    )
    plain, scaled = built(), built(normalisation="scale")
    assert isinstance(scaled.norms[0], ScaledUnits)
    assert torch.equal(scaled(inputs()), plain(inputs()))
    assert len(parameter_list(scaled)) == len(parameter_list(plain)) + 2


@pytest.mark.parametrize("kind", ["batch", "weight", "spectral"])
def test_copies_and_saved_states_are_the_same_function(kind):
    network = built(normalisation=kind)
    loaded = built(normalisation=kind, bias=True)
    for parameter in loaded.parameters():
        parameter.data += 1
    loaded.load_state_dict(network.state_dict())
    assert torch.equal(copy.deepcopy(network)(inputs()), network(inputs()))
    assert torch.equal(loaded(inputs()), network(inputs()))


def test_canonical_json_of_a_shape_is_as_recorded():
    """Run keys hash this text: a new field would orphan every recorded run."""
    assert canonical_json(MLPConfig(normalisation="layer")) == (
        '{"activation":"relu","affine":true,"bias":true,"depth":3,"epsilon":1e-05,"normalisation":"layer",'
        '"normalised_layers":null,"width":256}'
    )


def test_kinds_and_options():
    assert MLPConfig(normalisation="group").kind == "group"
    assert MLP(3, 1, MLPConfig(normalisation="group"), generator=generator()).norms[0].num_groups == 32
    assert parse("scale:-2") == LayerScale(-2.0)


@pytest.mark.parametrize(
    ("bad", "remedy"),
    [
        ({"normalisation": "instance"}, "choose one of none, layer, rms, group, batch, weight, spectral, scale"),
        ({"normalisation": "layer:2"}, "pass 'layer'"),
        ({"normalisation": "group:two"}, "pass one, as in group:8"),
        ({"normalisation": "group:"}, "pass one, as in group:8"),
        ({"normalisation": "group", "width": 100}, "32 groups do not split width 100 .* pass group:G"),
        ({"normalisation": "group:2.5", "width": 5}, "pass group:G"),
        ({"normalisation": "group:nan"}, "pass group:G"),
        ({"normalisation": "group:0"}, "pass group:G"),
        ({"normalisation": "group:8", "width": 8}, "of 2 units or more"),
        ({"normalisation": "scale:inf"}, "pass a finite number"),
        ({"normalisation": "scale:nan"}, "pass a finite number"),
        ({"normalisation": "weight", "affine": False}, "leave affine on"),
        ({"normalisation": "scale", "affine": False}, "leave affine on"),
        ({"normalisation": "batch", "epsilon": 0.0}, "positive epsilon"),
    ],
)
def test_an_impossible_normalisation_is_refused_in_one_sentence(bad, remedy):
    with pytest.raises(InputError, match=remedy) as caught:
        MLPConfig(**bad)
    assert "\n" not in str(caught.value)
    assert ". " not in str(caught.value)
