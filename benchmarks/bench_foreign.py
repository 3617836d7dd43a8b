"""Kernel blocks of critics that are not this package's: layer by layer from a copy, against torch.func."""

from collections.abc import Callable
from functools import partial

import torch
from cases import ACTIONS, OBSERVATIONS, Row, compare, critic_and_rows
from interleave import interleave, untimed
from ntk_peers import blocks_by_torch_func
from torch import Tensor, nn

from seem.dynamics import Training
from seem.ntk import gram_blocks, read_kernel
from seem.reading import read

FUNC, OWN = "torch.func per-sample gradients", "the closed form of this package's critics"
TARGETS = {"twins": 20.0, "conv": 2.0, "transformer": 2.0}
OWN_TARGET = 1 / 1.5
Inputs = tuple[Tensor, ...]


class Twin(nn.Module):
    """A critic of (s, a) as d3rlpy builds it: an encoder of two hidden layers, and a head."""

    def __init__(self) -> None:
        super().__init__()
        layers = (nn.Linear(OBSERVATIONS + ACTIONS, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU())
        self.encoder, self.head = nn.Sequential(*layers), nn.Linear(256, 1)

    def forward(self, states: Tensor, actions: Tensor) -> Tensor:
        """Q(s, a), shape (rows, 1)."""
        return self.head(self.encoder(torch.cat((states, actions), 1)))


class Window(nn.Module):
    """A transformer of about 100,000 parameters over a window of 20 steps."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.embed = nn.Linear(OBSERVATIONS + ACTIONS, width)
        self.position = nn.Parameter(0.02 * torch.randn(20, width))
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, 1)

    def forward(self, window: Tensor) -> Tensor:
        """Q of the last step, shape (rows, 1)."""
        return self.head(self.encoder(self.embed(window) + self.position)[:, -1])


def conv() -> nn.Module:
    """A small convolutional critic of 3 × 32 × 32 images."""
    layers = (nn.Conv2d(3, 16, 4, 2), nn.ReLU(), nn.Conv2d(16, 32, 3, 2), nn.ReLU(), nn.Flatten())
    return nn.Sequential(*layers, nn.Linear(32 * 7 * 7, 128), nn.ReLU(), nn.Linear(128, 1))


def case(kind: str, rows: int) -> tuple[list[nn.Module], Inputs, Inputs]:
    """Modules with X and X*, float64 as readings are."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        makers = {"twins": [Twin, Twin], "conv": [conv], "transformer": [Window]}
        modules = [make() for make in makers[kind]]
        shapes = {
            "twins": [(OBSERVATIONS,), (ACTIONS,)],
            "conv": [(3, 32, 32)],
            "transformer": [(20, OBSERVATIONS + ACTIONS)],
        }
        x, x_next = (tuple(torch.randn(rows, *shape).double() for shape in shapes[kind]) for _ in range(2))
    return [module.double() for module in modules], x, x_next


def measure(kind: str, rows: int, rounds: int) -> list[Row]:
    """Blocks of one kind of critic; for twins beside the closed form and the whole reading.

    Args:
        kind: "twins", "conv" or "transformer".
        rows: N.
        rounds: Rounds of the interleaved run.
    """
    modules, x, x_next = case(kind, rows)
    given = x if len(x) > 1 else x[0]
    given_next = x_next if len(x) > 1 else x_next[0]
    ours = partial(read_kernel, modules, given, given_next)
    found = ours().blocks
    for index, module in enumerate(modules):
        # 1e-12: two orders of summation in float64.
        expected = blocks_by_torch_func(module, x, x_next)
        for mine, theirs in zip((found.gram[index, index], found.gram_next[index, index]), expected, strict=True):
            assert (mine - theirs).norm() <= 1e-12 * theirs.norm()
    ways: dict[str, Callable[[], float | None]] = {
        "ours": untimed(ours),
        FUNC: untimed(lambda: [blocks_by_torch_func(module, x, x_next) for module in modules]),
    }
    note = f"{sum(p.numel() for p in modules[0].parameters()):,} parameters each; {found.way}, from a copy, checked"
    if kind == "twins":
        own, y, y_next = critic_and_rows(rows, dtype=torch.float64)
        ways[OWN] = untimed(lambda: [gram_blocks(own, y, y_next) for _ in modules])
        batch = {"x": given, "x_next": given_next, "td_error": torch.ones(2, rows)}
        ways["read"] = untimed(lambda: read(modules, batch, training=Training(discount=0.99, lr=3e-4)))
    timings = interleave(ways, rounds)
    if kind == "twins":
        whole, blocks = 1e3 * timings["read"].median, 1e3 * timings["ours"].median
        note += f"; a whole reading {whole:.0f} ms, blocks {blocks:.0f} ms of it, the rest eigenvalues"
    peers = [(timings[FUNC], TARGETS[kind])] + ([(timings[OWN], OWN_TARGET)] if kind == "twins" else [])
    return compare("foreign critics", f"N = {rows:,}, {kind}, float64", timings["ours"], [*peers], note=note)
