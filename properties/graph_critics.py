"""Critics whose layers form a graph: residual, transformer and convolutional, with a last normalisation or without.

Each normalises inside its branches; the skip connections around them pass none. What `final` adds stands where all
paths have met, so that every path from the input to the head passes it.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

KINDS = ("residual", "transformer", "convolutional")


@dataclass(frozen=True)
class GraphCase:
    """A critic with skip connections; its repr is the recipe.

    Attributes:
        kind: One of `KINDS`.
        inputs: Number of input components.
        width: Units, or channels, of the stream; even.
        blocks: Number of residual blocks.
        final: Whether a normalisation stands before the head.
        epsilon: Of every normalisation.
        seed: Of the weights.
    """

    kind: str
    inputs: int
    width: int
    blocks: int
    final: bool
    epsilon: float
    seed: int

    def draw(self) -> tuple[nn.Module, Tensor, Tensor]:
        """The critic in float64, x0 and a direction v, each (inputs,)."""
        generator = torch.Generator().manual_seed(self.seed)
        network = {"residual": Residual, "transformer": Transformer, "convolutional": Convolutional}[self.kind](self)
        network = network.double().eval()
        with torch.no_grad():
            for parameter in network.parameters():
                fan_in = parameter[0].numel() if parameter.dim() > 1 else 4
                parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) / fan_in**0.5)
            for module in network.modules():
                if isinstance(module, nn.LayerNorm | nn.GroupNorm):
                    module.weight.abs_().add_(0.5)
        x0, v = torch.randn(2, self.inputs, generator=generator, dtype=torch.float64)
        return network, x0, v


class Residual(nn.Module):
    """Pre-LN residual blocks on a vector."""

    def __init__(self, case: GraphCase) -> None:
        super().__init__()
        self.stem = nn.Linear(case.inputs, case.width)
        self.blocks = nn.ModuleList(feed_forward(case) for _ in range(case.blocks))
        self.final = nn.LayerNorm(case.width, eps=case.epsilon) if case.final else nn.Identity()
        self.head = nn.Linear(case.width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Values, shape (N, 1), of inputs (N, inputs)."""
        stream = self.stem(x)
        for block in self.blocks:
            stream = stream + block(stream)
        return self.head(self.final(stream))


class Transformer(nn.Module):
    """Pre-LN transformer blocks, one token an input component."""

    def __init__(self, case: GraphCase) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.empty(case.inputs, case.width))
        self.position = nn.Parameter(torch.empty(case.inputs, case.width))
        self.blocks = nn.ModuleList(
            nn.ModuleList(
                [nn.LayerNorm(case.width, eps=case.epsilon), nn.Linear(case.width, 3 * case.width), feed_forward(case)]
            )
            for _ in range(case.blocks)
        )
        self.final = nn.LayerNorm(case.width, eps=case.epsilon) if case.final else nn.Identity()
        self.head = nn.Linear(case.width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Values, shape (N, 1), of inputs (N, inputs)."""
        stream = x[:, :, None] * self.embedding + self.position
        for norm, mixed, block in self.blocks:
            query, key, value = mixed(norm(stream)).chunk(3, dim=-1)
            weights = torch.softmax(query @ key.transpose(1, 2) / query.shape[-1] ** 0.5, dim=-1)
            stream = stream + weights @ value
            stream = stream + block(stream)
        return self.head(self.final(stream).mean(1))


class Convolutional(nn.Module):
    """Residual convolutions with GroupNorm in their branches, on the input as a signal of one channel."""

    def __init__(self, case: GraphCase) -> None:
        super().__init__()
        self.stem = nn.Conv1d(1, case.width, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.GroupNorm(2, case.width, eps=case.epsilon),
                nn.Conv1d(case.width, case.width, 3, padding=1),
                nn.ReLU(),
                nn.Conv1d(case.width, case.width, 3, padding=1),
            )
            for _ in range(case.blocks)
        )
        self.final = nn.GroupNorm(2, case.width, eps=case.epsilon) if case.final else nn.Identity()
        self.head = nn.Linear(case.width * case.inputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Values, shape (N, 1), of inputs (N, inputs)."""
        stream = self.stem(x[:, None])
        for block in self.blocks:
            stream = stream + block(stream)
        return self.head(self.final(stream).flatten(1))


def feed_forward(case: GraphCase) -> nn.Sequential:
    """A branch: LayerNorm, two linear layers, a ReLU between them."""
    return nn.Sequential(
        nn.LayerNorm(case.width, eps=case.epsilon),
        nn.Linear(case.width, case.width),
        nn.ReLU(),
        nn.Linear(case.width, case.width),
    )
