"""Strategies for critics and their inputs; they say what is valid, never how often."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from properties.strategies.scales import scales
from seem.networks import ACTIVATIONS, MLP, MLPConfig
from seem.normalisation import NORMALISATIONS as KINDS
from seem.normalisation import RECORDS, parse

PIECEWISE_LINEAR = ("relu", "leaky_relu", "identity")
"""Activations that are homogeneous of degree 1."""
NORMALISATIONS = tuple(kind for kind in KINDS if kind != "none")
"""Every kind of normalisation."""
WITH_EPSILON = tuple(kind.name for kind in RECORDS.values() if kind.gain == "optional")
"""Kinds that divide by statistics, to which ε is added, and whose affine can be off."""
OF_CENTRED_ROWS = tuple(kind.name for kind in RECORDS.values() if kind.centred)
"""Kinds whose every output depends on all units of a row: without affine no unit of theirs can be dead."""


@dataclass(frozen=True)
class Case:
    """A critic in evaluation mode with inputs X and X*, all float64; its repr is the recipe.

    Attributes:
        config: Shape of the critic.
        inputs: Number of input components.
        rows: Number of rows of X and of X*.
        seed: Of the generator of all numbers.
        weight_scale: Factor on the initial weights and biases.
        trained: Whether gains, shifts and statistics have left their initial values.
        dead: Hidden units (layer, unit) whose ReLU never fires, both counted from 1 and 0.
    """

    config: MLPConfig
    inputs: int
    rows: int
    seed: int
    weight_scale: float = 1.0
    trained: bool = False
    dead: tuple[tuple[int, int], ...] = ()

    @torch.no_grad()
    def draw(self) -> tuple[MLP, torch.Tensor, torch.Tensor]:
        """The network, X and X*, each (rows, inputs), from the case's own generator."""
        generator = torch.Generator().manual_seed(self.seed)
        network = MLP(self.inputs, 1, self.config, generator=generator, dtype=torch.float64)
        x, x_next = torch.randn(2, self.rows, self.inputs, generator=generator, dtype=torch.float64)
        for parameter in network.linears.parameters():
            parameter *= self.weight_scale
        if self.trained:
            train(network, generator)
        for layer, unit in self.dead:
            kill(network, layer, unit)
        return network.eval(), x, x_next


@torch.no_grad()
def train(network: MLP, generator: torch.Generator) -> None:
    """Move all that starts at a special value: gains, shifts, statistics, and normed weights off their vectors."""
    for norm in network.norms:
        for parameter in norm.parameters():
            parameter += 0.5 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
        if isinstance(norm, nn.BatchNorm1d):
            norm.running_mean.normal_(generator=generator)
            norm.running_var.uniform_(0.5, 2.0, generator=generator)
    for linear in network.linears:
        if is_parametrized(linear):
            for parameter in linear.parametrizations.parameters():
                parameter *= torch.empty_like(parameter).uniform_(0.7, 1.3, generator=generator)


@torch.no_grad()
def kill(network: MLP, layer: int, unit: int) -> None:
    """Make the input of a hidden unit's ReLU 0 or less, whatever the network's input.

    Args:
        network: A ReLU network.
        layer: Hidden layer, from 1.
        unit: Unit of the layer, from 0.
    """
    linear, norm = network.linears[layer - 1], network.norms[layer - 1]
    # A direction of length 0 has no WeightNorm; the gain, its first parameter, may be 0.
    weights = next(linear.parametrizations.parameters()) if is_parametrized(linear) else linear.weight
    weights[unit] = 0
    for part, value in ((linear, -1.0), (norm, -1.0)):
        if getattr(part, "bias", None) is not None:
            part.bias[unit] = value
    if getattr(norm, "weight", None) is not None:
        norm.weight[unit] = 0
    if isinstance(norm, nn.BatchNorm1d):
        norm.running_mean[unit] = 1


def configs(
    *,
    activations: Sequence[str] = tuple(ACTIVATIONS),
    bias: bool | None = None,
    normalised: bool | None = None,
    normalisations: Sequence[str] = ("layer",),
    first: bool = False,
    affine: bool | None = None,
    epsilons: Sequence[float] = (1e-5, 1e-2, 1.0),
    depth: tuple[int, int] = (1, 4),
    width: tuple[int, int] = (2, 6),
) -> st.SearchStrategy[MLPConfig]:
    """Shapes of perceptrons.

    Args:
        activations: Which activations may be drawn.
        bias: Whether layers have biases; None draws it.
        normalised: Whether hidden layers, all or some, are normalised; None draws it. True draws at least two layers.
        normalisations: Which kinds may be drawn, of `NORMALISATIONS`; group's option is drawn.
        first: Whether the normalised layers, of which there is always one, are drawn with the first among them.
        affine: Whether there are learnable gains and shifts, for kinds that leave a choice; None draws it.
        epsilons: Which ε may be drawn. With 0 a layer that is silent on a row has no normalised value.
        depth: Smallest and largest number of weight matrices.
        width: Smallest and largest number of hidden units, the smallest at least 2.

    Returns:
        A strategy that shrinks to a linear function of one weight matrix.

    Raises:
        InvalidArgument: When an argument is impossible.
    """
    _check_names("activations", activations, tuple(ACTIVATIONS))
    _check_names("normalisations", normalisations, NORMALISATIONS)
    # Groups of one unit would all be 0.
    for name, (smallest, largest), least in (("depth", depth, 1), ("width", width, 2)):
        if not least <= smallest <= largest:
            raise InvalidArgument(f"{name}={(smallest, largest)} is impossible: pass {least} <= smallest <= largest")
    if normalised and depth[1] < 2:
        raise InvalidArgument(f"depth={depth} leaves no hidden layer to normalise: pass a largest depth of 2 or more")
    if not epsilons or not all(0 <= epsilon < float("inf") for epsilon in epsilons):
        raise InvalidArgument(f"epsilons={epsilons} is impossible: pass numbers of 0 or more")
    for kind in normalisations:
        if not _legal(kind, width[0], epsilons):
            raise InvalidArgument(f"epsilons={epsilons} has none for {RECORDS[kind].title}: pass a positive one too")
    smallest = max(depth[0], 2) if normalised else depth[0]
    return _configs(
        st.sampled_from(activations),
        _choice(bias),
        _choice(normalised),
        st.sampled_from(normalisations),
        first,
        _choice(affine),
        tuple(epsilons),
        st.integers(smallest, depth[1]),
        st.integers(*width),
    )


def _legal(kind: str, width: int, epsilons: Sequence[float]) -> list[float]:
    """Those ε with which there is such a normalisation."""
    plainest = parse(RECORDS[kind]().choices(width)[0])
    return [epsilon for epsilon in epsilons if plainest.problem(width, True, epsilon) is None]


def _choice(wanted: bool | None) -> st.SearchStrategy[bool]:
    return st.booleans() if wanted is None else st.just(wanted)


def _check_names(argument: str, names: Sequence[str], known: tuple[str, ...]) -> None:
    if not names or not set(names) <= set(known):
        raise InvalidArgument(f"{argument}={names} is impossible: pass some of {', '.join(known)}")


@st.composite
def _configs(
    draw: st.DrawFn, activations, biases, normalised, kinds, first, affines, epsilons, depths, widths
) -> MLPConfig:
    plain = MLPConfig(
        depth=draw(depths, label="depth"),
        width=draw(widths, label="width"),
        activation=draw(activations, label="activation"),
        bias=draw(biases, label="bias"),
    )
    if plain.depth == 1 or not draw(normalised, label="normalised"):
        return plain
    kind = draw(kinds, label="normalisation")
    settings = {}
    if kind in WITH_EPSILON:
        settings = {
            "affine": draw(affines, label="affine"),
            "epsilon": draw(st.sampled_from(_legal(kind, plain.width, epsilons)), label="epsilon"),
        }
    choices = RECORDS[kind]().choices(plain.width)
    kind = draw(st.sampled_from(choices), label="option") if len(choices) > 1 else choices[0]
    placed = draw(st.sets(st.integers(1, plain.depth - 1), min_size=0 if first else 1), label="normalised layers")
    placed |= {1} if first else set()
    return replace(plain, normalisation=kind, normalised_layers=tuple(sorted(placed)), **settings)


def cases(
    *,
    inputs: tuple[int, int] = (1, 4),
    rows: tuple[int, int] = (1, 5),
    weight_scales: st.SearchStrategy[float] | None = None,
    trained: bool | None = False,
    dead: bool | None = False,
    **shape,
) -> st.SearchStrategy[Case]:
    """Critics with inputs.

    Args:
        inputs: Smallest and largest number of input components.
        rows: Smallest and largest number of rows.
        weight_scales: Factors on the initial weights; None leaves them.
        trained: Whether gains, shifts and statistics have left their initial values; None draws it.
        dead: Whether units of ReLU layers are dead, where they can be; None draws it.
        shape: Arguments of `configs`.

    Returns:
        A strategy that shrinks to a linear function of one input on one row.

    Raises:
        InvalidArgument: When an argument is impossible.
    """
    for name, (smallest, largest) in (("inputs", inputs), ("rows", rows)):
        if not 1 <= smallest <= largest:
            raise InvalidArgument(f"{name}={(smallest, largest)} is impossible: pass 1 <= smallest <= largest")
    return _cases(
        configs(**shape),
        st.integers(*inputs),
        st.integers(*rows),
        st.just(1.0) if weight_scales is None else weight_scales,
        _choice(trained),
        _choice(dead),
    )


@st.composite
def _cases(draw: st.DrawFn, shapes, inputs, rows, weight_scales, trained, dead) -> Case:
    config = draw(shapes, label="config")
    has_kind = config.normalisation != "none"
    return Case(
        config=config,
        inputs=draw(inputs, label="inputs"),
        rows=draw(rows, label="rows"),
        seed=draw(st.integers(0, 2**32 - 1), label="seed"),
        weight_scale=draw(weight_scales, label="weight_scale"),
        trained=has_kind and draw(trained, label="trained"),
        dead=draw(_dead_units(config), label="dead units") if draw(dead, label="dead") else (),
    )


def mortal_layers(config: MLPConfig) -> list[int]:
    """Hidden layers of a network whose units can be dead on every input: with ReLU, and not normalised for good."""
    if config.activation != "relu":
        return []
    lively = config.kind in OF_CENTRED_ROWS and not config.affine
    return [layer for layer in range(1, config.depth) if not (lively and config.is_normalised(layer))]


@st.composite
def _dead_units(draw: st.DrawFn, config: MLPConfig) -> tuple[tuple[int, int], ...]:
    layers = mortal_layers(config)
    if not layers:
        return ()
    # One unit of a layer is spared: a layer of zero weights has no spectral norm.
    units = [(layer, unit) for layer in layers for unit in range(1, config.width)]
    return tuple(sorted(draw(st.sets(st.sampled_from(units), min_size=1, max_size=3))))


def powers_of_two(smallest: int = -8, largest: int = 8) -> st.SearchStrategy[float]:
    """Scales that multiply floating-point numbers without rounding; they shrink to 1.

    Args:
        smallest: Exponent of the smallest.
        largest: Exponent of the largest.

    Raises:
        InvalidArgument: When the exponents are out of order or leave float64's normal range.
    """
    if not -1022 <= smallest <= largest <= 1023:
        raise InvalidArgument(f"exponents {smallest} to {largest} are impossible: pass -1022 <= smallest <= largest")
    return st.integers(smallest, largest).map(lambda exponent: 2.0**exponent)


EVERY_KIND = {
    "normalisations": NORMALISATIONS,
    "trained": None,
    "dead": None,
    "weight_scales": st.just(1.0) | powers_of_two(-3, 3) | scales(-3, 3),
}
"""Arguments of `cases` that leave no kind of network out; ε = 0 apart, whose networks need not be finite."""
