"""What the tests of every agent share: batches, and optimisers written out."""

import torch

from seem.transitions import Transitions


def draw_batch(rows: int = 9, seed: int = 0, dtype: torch.dtype = torch.float64) -> Transitions:
    """Transitions with three state and two action components; every fourth one is terminal."""
    generator = torch.Generator().manual_seed(seed)
    return Transitions(
        torch.randn(rows, 3, generator=generator, dtype=dtype),
        torch.rand(rows, 2, generator=generator, dtype=dtype) * 2 - 1,
        torch.randn(rows, generator=generator, dtype=dtype),
        torch.randn(rows, 3, generator=generator, dtype=dtype),
        (torch.arange(rows) % 4 == 0).to(dtype),
    )


def leaves(module: torch.nn.Module) -> list[torch.Tensor]:
    """Copies of a module's parameters, each a leaf of its own."""
    return [parameter.detach().clone().requires_grad_() for parameter in module.parameters()]


class SlowOptimiser:
    """Heavy ball and Adam, one parameter after the other, as their papers print them.

    Adam is Kingma and Ba 2015, algorithm 1; heavy ball is Polyak's v ← βv + g, θ ← θ - lr·v.
    """

    def __init__(self, parameters, name, lr, momentum=0.0):
        self.parameters, self.name, self.lr, self.momentum = parameters, name, lr, momentum
        self.first = [torch.zeros_like(parameter) for parameter in parameters]
        self.second = [torch.zeros_like(parameter) for parameter in parameters]
        self.steps = 0

    def step(self, loss):
        """Take one step down a loss."""
        self.steps += 1
        gradients = torch.autograd.grad(loss, self.parameters)
        for i, (parameter, gradient) in enumerate(zip(self.parameters, gradients, strict=True)):
            if self.name == "sgd":
                self.first[i] = self.momentum * self.first[i] + gradient
                change = self.first[i]
            else:
                self.first[i] = 0.9 * self.first[i] + 0.1 * gradient
                self.second[i] = 0.999 * self.second[i] + 0.001 * gradient**2
                mean = self.first[i] / (1 - 0.9**self.steps)
                change = mean / ((self.second[i] / (1 - 0.999**self.steps)).sqrt() + 1e-8)
            with torch.no_grad():
                parameter -= self.lr * change
