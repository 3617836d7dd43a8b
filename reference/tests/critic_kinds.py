"""Critics as other people write them: a builder for each kind, with rows X and X*, and the row-by-row oracle."""

# ruff: noqa: D101, D102, D103 - the critics under test are known by their names

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

ROWS = 12


@dataclass
class Kind:
    """A kind of critic: its modules, and its rows X and X*."""

    modules: list[nn.Module]
    x: object
    x_next: object


def table(width=8, rows=ROWS):
    return torch.randn(rows, width), torch.randn(rows, width)


class TwoArguments(nn.Module):
    def __init__(self, net=None):
        super().__init__()
        self.net = net or nn.Sequential(nn.Linear(8, 16), nn.ReLU(inplace=True), nn.Linear(16, 1))

    def forward(self, states, actions):
        return self.net(torch.cat((states, actions), 1))


class Images(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.ReLU(), nn.GroupNorm(2, 6),
            nn.Conv2d(6, 6, 3, groups=2, padding="same", bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(),
            nn.Linear(6 * 25, 1),
        )  # fmt: skip

    def forward(self, images):
        return self.net(images.float() / 255)


class Tokens(nn.Module):
    """A transformer over a window of tokens, with positions and a class token; rows first or second."""

    def __init__(self, batch_first=True):
        super().__init__()
        self.batch_first = batch_first
        self.embed = nn.Embedding(10, 8, padding_idx=0)
        self.position = nn.Parameter(torch.randn(20, 8))
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=batch_first)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, 1)

    def forward(self, tokens):
        h = self.embed(tokens) + self.position[: tokens.shape[1]]
        h = torch.cat((self.token.expand(len(h), -1, -1), h), 1)
        h = self.encoder(h) if self.batch_first else self.encoder(h.transpose(0, 1)).transpose(0, 1)
        return self.head(h[:, 0])


class Window(nn.Module):
    """A transformer over 20 steps of states and actions, a token each, which sees what came before."""

    def __init__(self, steps=20, width=12):
        super().__init__()
        self.states, self.actions = nn.Linear(4, width), nn.Linear(2, width)
        self.position = nn.Embedding(steps, width)
        layer = nn.TransformerEncoderLayer(width, 3, 24, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, 1)

    def forward(self, states, actions):
        place = self.position(torch.arange(states.shape[1]))
        tokens = torch.stack((self.states(states) + place, self.actions(actions) + place), 2).flatten(1, 2)
        unseen = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1], dtype=tokens.dtype)
        return self.head(self.encoder(tokens, mask=unseen)[:, -1])


class Recurrent(nn.Module):
    def __init__(self, cell=nn.LSTM):
        super().__init__()
        self.cell, self.head = cell(4, 6, batch_first=True), nn.Linear(6, 1)

    def forward(self, sequence):
        start = torch.zeros(1, len(sequence), 6)
        state = (start, start) if isinstance(self.cell, nn.LSTM) else start
        return self.head(self.cell(sequence, state)[0][:, -1])


class Ensemble(nn.Module):
    """A stack of ten critics, as SAC-N has them."""

    def __init__(self, critics=10, by_addition=True):
        super().__init__()
        self.by_addition = by_addition
        self.first, self.last = (nn.Parameter(torch.randn(critics, a, b) / a) for a, b in ((8, 16), (16, 1)))
        self.bias = nn.Parameter(torch.randn(critics, 1, 16))

    def forward(self, x):
        if self.by_addition:
            return torch.relu(x @ self.first + self.bias) @ self.last
        return torch.bmm(torch.relu(torch.baddbmm(self.bias, x.expand(10, -1, -1), self.first)), self.last)[..., 0]


class Twins(nn.Module):
    """Two heads on one encoder, which give a tuple as stable-baselines3's do."""

    def __init__(self):
        super().__init__()
        self.encoder, self.q1, self.q2 = nn.Linear(8, 16), nn.Linear(16, 1), nn.Linear(16, 1)

    def forward(self, x):
        h = torch.tanh(self.encoder(x))
        return self.q1(h), self.q2(h)


class Checkpointed(nn.Module):
    def __init__(self, reentrant):
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 1)
        self.reentrant = reentrant

    def forward(self, x):
        def middle(h):
            return torch.tanh(self.middle(h))

        return self.last(checkpoint(middle, torch.relu(self.first(x)), use_reentrant=self.reentrant))


class Unused(nn.Module):
    """A head that no value depends on, and a part that is detached."""

    def __init__(self):
        super().__init__()
        self.used, self.detached, self.spare = nn.Linear(8, 1), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.used(x + self.detached(x).detach())


def frozen():
    net = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1))
    net[0].requires_grad_(False)
    net[2].weight.requires_grad_(False)
    return net


def shared():
    encoder = nn.Sequential(nn.Linear(8, 16), nn.ReLU())
    return [nn.Sequential(encoder, nn.Linear(16, 1)), nn.Sequential(encoder, nn.Linear(16, 1))]


def tied():
    linear = nn.Linear(8, 8)
    other = nn.Linear(8, 8, bias=False)
    other.weight = linear.weight
    return nn.Sequential(linear, nn.Tanh(), linear, nn.ReLU(), other, nn.Tanh(), nn.Linear(8, 1))


def normed(norm):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the old ones are deprecated, and used
        return nn.Sequential(norm(nn.Linear(8, 9)), nn.Tanh(), norm(nn.Linear(9, 9)), nn.ReLU(), nn.Linear(9, 1))


def net(*layers):
    return nn.Sequential(nn.Linear(8, 12), *layers, nn.Linear(12, 1))


def hooked():
    made, seen = net(nn.ReLU()), []
    made[0].register_forward_hook(lambda module, inputs, output: seen.append(output.detach().clone()))
    made[1].register_forward_pre_hook(lambda module, inputs: (inputs[0] * 2,))
    made.seen = seen
    return made


KINDS: dict[str, Callable[[], Kind]] = {
    "two arguments, written in place": lambda: Kind([TwoArguments()], *zip(table(5), table(3), strict=True)),
    "shared encoder object": lambda: Kind(shared(), *table()),
    "twins in one module": lambda: Kind([Twins()], *table()),
    "tied weights": lambda: Kind([tied()], *table()),
    "frozen layer": lambda: Kind([frozen()], *table()),
    "unused and detached parts": lambda: Kind([Unused()], *table()),
    "LayerNorm": lambda: Kind([net(nn.LayerNorm(12), nn.GELU())], *table()),
    "RMSNorm": lambda: Kind([net(nn.RMSNorm(12), nn.SiLU())], *table()),
    "BatchNorm in evaluation mode": lambda: Kind([net(nn.BatchNorm1d(12), nn.ReLU()).eval()], *table()),
    "PReLU": lambda: Kind([net(nn.PReLU())], *table()),
    "dropout in evaluation mode": lambda: Kind([net(nn.ReLU(), nn.Dropout(0.5)).eval()], *table()),
    "old weight norm": lambda: Kind([normed(nn.utils.weight_norm)], *table()),
    "weight norm": lambda: Kind([normed(nn.utils.parametrizations.weight_norm)], *table()),
    "old spectral norm in training mode": lambda: Kind([normed(nn.utils.spectral_norm)], *table()),
    "spectral norm in training mode": lambda: Kind([normed(nn.utils.parametrizations.spectral_norm)], *table()),
    "uint8 images": lambda: Kind([Images().eval()], *torch.randint(0, 256, (2, ROWS, 3, 9, 9), dtype=torch.uint8)),
    "conv over time": lambda: Kind(
        [nn.Sequential(nn.Conv1d(4, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 5, 1))], *torch.randn(2, ROWS, 4, 7)
    ),
    "tokens": lambda: Kind([Tokens()], *torch.randint(0, 10, (2, ROWS, 5))),
    "tokens, rows second": lambda: Kind([Tokens(batch_first=False)], *torch.randint(0, 10, (2, ROWS, 5))),
    "as many tokens as rows": lambda: Kind([Tokens(batch_first=False)], *torch.randint(0, 10, (2, ROWS, ROWS - 1))),
    "a window of 20 states and actions": lambda: Kind(
        [Window()], *zip(torch.randn(2, ROWS, 20, 4), torch.randn(2, ROWS, 20, 2), strict=True)
    ),
    "LSTM": lambda: Kind([Recurrent()], *torch.randn(2, ROWS, 5, 4)),
    "GRU": lambda: Kind([Recurrent(nn.GRU)], *torch.randn(2, ROWS, 5, 4)),
    "stacked ensemble": lambda: Kind([Ensemble()], *table()),
    "stacked ensemble by baddbmm": lambda: Kind([Ensemble(by_addition=False)], *table()),
    "checkpointing": lambda: Kind([Checkpointed(False)], *table()),
    "re-entrant checkpointing": lambda: Kind([Checkpointed(True)], *table()),
    "DataParallel": lambda: Kind([nn.DataParallel(net(nn.ReLU()))], *table()),
    "hooks": lambda: Kind([hooked()], *table()),
}


def build(name: str, dtype: torch.dtype = torch.float32) -> Kind:
    """The kind by its name, always the same."""
    with torch.random.fork_rng():
        torch.manual_seed(sum(map(ord, name)))
        made = KINDS[name]()
    for module in made.modules:
        module.to(dtype)
    return made


def call(module: nn.Module, x: object) -> torch.Tensor:
    """All values of a module, shape (n, M)."""
    rows = len(x[0] if isinstance(x, tuple) else x)
    made = module(*x) if isinstance(x, tuple) else module(x)
    parts = made if isinstance(made, tuple) else (made,)
    # (N, M) or (N, M, 1) of a stack, else (M, 1).
    return torch.cat([part.reshape(-1, rows) for part in parts])


def oracle(kind: Kind) -> tuple[torch.Tensor, torch.Tensor]:
    """G_ij(X, X) and G_ij(X*, X) by float64 autograd row by row; the kind's modules are converted for it."""
    modules = [getattr(module, "module", module) for module in kind.modules]
    parameters = list({id(p): p for module in modules for p in module.parameters() if p.requires_grad}.values())
    for module in modules:
        module.double()
        for part in module.modules():
            part.training = part.training and "pectral" not in f"{type(part).__name__} {part._forward_pre_hooks}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "float", torch.Tensor.double)
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        try:
            here, there = (gradient_rows(modules, parameters, x) for x in (kind.x, kind.x_next))
        finally:
            torch.set_default_dtype(before)
    return torch.einsum("iap,jbp->ijab", here, here), torch.einsum("iap,jbp->ijab", there, here)


def gradient_rows(modules, parameters, x) -> torch.Tensor:
    """Gradients of all critics by all parameters, shape (N, M, P), one backward pass each."""
    parts = x if isinstance(x, tuple) else (x,)
    parts = tuple(part.double() if part.is_floating_point() else part for part in parts)
    gradients: list[list[torch.Tensor]] = []
    for row in range(len(parts[0])):
        single = tuple(part[row : row + 1] for part in parts)
        count = sum(len(call(m, single if isinstance(x, tuple) else single[0])) for m in modules)
        gradients = gradients or [[] for _ in range(count)]
        for critic in range(count):
            for parameter in parameters:
                parameter.grad = None
            # Each with a graph of its own: re-entrant checkpointing allows one pass.
            torch.cat([call(m, single if isinstance(x, tuple) else single[0]) for m in modules])[critic, 0].backward()
            flat = [torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in parameters]
            gradients[critic].append(torch.cat(flat))
    return torch.stack([torch.stack(one) for one in gradients])
