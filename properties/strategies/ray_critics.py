"""Strategy for critics that are on the self-similar ray: bias-free, every gradient of f a multiple of θ."""

from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument

from seem.networks import MLP, MLPConfig
from seem.spectrum import CriticReading, take_reading


@dataclass(frozen=True)
class RayCritic:
    """A critic on the ray and its rows; the repr is the recipe.

    All rows are multiples of one positive unit vector, and the weight matrices are outer products of such vectors
    with one norm: f(x) = scale^L·x on a row of size x, and its gradient is L·scale^(2L-2)·x times θ/‖θ‖².

    Attributes:
        depth: Number L of weight matrices.
        width: Hidden units.
        inputs: Input components.
        here: For each row, x as a multiple of the unit vector.
        there: For each row, x* likewise.
        discount: γ.
        rate: ηλ at the start; its sign is that of the drive.
        scale: Norm of each weight matrix.
        dtype: Floating dtype.
        seed: Of the directions.
        activation: Of the hidden layers, homogeneous of degree 1.
        bias: Whether there are biases; with them the critic is off the ray.
    """

    depth: int
    width: int
    inputs: int
    here: tuple[float, ...]
    there: tuple[float, ...]
    discount: float
    rate: float
    scale: float = 1.0
    dtype: str = "float64"
    seed: int = 0
    activation: str = "relu"
    bias: bool = False

    @property
    def drive(self) -> float:
        """Σ(γx* - x)x: the eigenvalue λ of A over the kernel L·scale^(2L-2) of a row of size 1."""
        return sum((self.discount * there - here) * here for here, there in zip(self.here, self.there, strict=True))

    @property
    def lr(self) -> float:
        """Learning rate of the mean-squared loss, η = 2·lr/M."""
        kernel = self.depth * self.scale ** (2 * self.depth - 2)
        return self.rate * len(self.here) / (2 * kernel * self.drive)

    def draw(self) -> tuple[MLP, torch.Tensor, torch.Tensor]:
        """The network, X and X*, each (rows, inputs), of the case's dtype."""
        dtype = getattr(torch, self.dtype)
        generator = torch.Generator().manual_seed(self.seed)
        config = MLPConfig(self.depth, self.width, activation=self.activation, bias=self.bias)
        network = MLP(self.inputs, 1, config, generator=generator, dtype=dtype)
        sizes = [self.inputs, *[self.width] * (self.depth - 1), 1]
        # Positive components keep every hidden unit active.
        units = [0.5 + torch.rand(size, generator=generator, dtype=torch.float64) for size in sizes]
        units = [unit / unit.norm() for unit in units]
        with torch.no_grad():
            for linear, below, above in zip(network.linears, units[:-1], units[1:], strict=True):
                linear.weight.copy_(self.scale * torch.outer(above, below))
        x, x_next = (torch.tensor(rows, dtype=torch.float64)[:, None] * units[0] for rows in (self.here, self.there))
        return network, x.to(dtype), x_next.to(dtype)

    def read(self) -> CriticReading:
        """The first reading."""
        network, x, x_next = self.draw()
        error = (network(x) - self.discount * network(x_next)).squeeze(1).detach()
        made = take_reading(
            network, x, x_next, error, torch.zeros_like(error), discount=self.discount, lr=self.lr, step=0
        )
        assert made is not None, "its kernel has overflowed"
        return made


def ray_critics(
    *,
    depths: tuple[int, int] = (1, 4),
    rates: tuple[float, float] = (0.1, 5.0),
    dtypes: tuple[str, ...] = ("float64", "float32"),
) -> st.SearchStrategy[RayCritic]:
    """Critics on the ray with one to three rows; they shrink to one row of a narrow critic.

    Args:
        depths: Smallest and largest number of weight matrices.
        rates: Smallest and largest ηλ, both positive (ReLU) or both negative (linear units, whose sign may change).
        dtypes: Floating dtypes.

    Raises:
        InvalidArgument: When a depth is below 1, a pair is out of order or the rates include zero.
    """
    if not 1 <= depths[0] <= depths[1]:
        raise InvalidArgument(f"depths={depths} is impossible: pass (smallest, largest) of at least 1")
    if not rates[0] <= rates[1] or rates[0] * rates[1] <= 0:
        raise InvalidArgument(f"rates={rates} is impossible: pass (smallest, largest) of the same sign")
    return _ray_critics(st.integers(*depths), st.floats(*rates), st.sampled_from(dtypes))


@st.composite
def _ray_critics(draw: st.DrawFn, depths, rates, dtypes) -> RayCritic:
    rate = draw(rates, label="rate")
    here = draw(st.lists(st.floats(0.5, 1.0), min_size=1, max_size=3), label="here")
    others = draw(st.tuples(*[st.floats(0.0, 1.0)] * (len(here) - 1)), label="there")
    discount = draw(st.floats(0.5, 1.0), label="discount")
    drive = draw(st.floats(0.5, 2.0), label="drive") * (1 if rate > 0 else -1)
    # The first row's x* gives the drive its value; it is positive for a positive drive, as the others give 3/4 at most.
    rest = sum((discount * there - x) * x for x, there in zip(here[1:], others, strict=True))
    first = (drive - rest + here[0] ** 2) / (discount * here[0])
    return RayCritic(
        depth=draw(depths, label="depth"),
        width=draw(st.integers(1, 4), label="width"),
        inputs=draw(st.integers(1, 3), label="inputs"),
        here=tuple(here),
        there=(first, *others),
        discount=discount,
        rate=rate,
        scale=2.0 ** draw(st.integers(-2, 2), label="log2 scale"),
        dtype=draw(dtypes, label="dtype"),
        seed=draw(st.integers(0, 2**32 - 1), label="seed"),
        activation="relu" if rate > 0 else "identity",
    )
