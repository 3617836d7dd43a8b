"""A perceptron and two optimisers transcribed slowly: one row at a time, the chain rule written out, in numpy."""

import math

import numpy as np
from numpy.typing import NDArray
from torch import nn

from seem.networks import MLP

Vector = NDArray[np.float64]
Numbers = dict[str, Vector]


class SlowNetwork:
    """A perceptron of `seem.networks` for one row: its value, and its gradient by the chain rule."""

    def __init__(self, module: MLP) -> None:
        self.config = module.config
        self.take(module)

    def take(self, module: nn.Module) -> None:
        """Copy the parameters of a module of the same shape."""
        self.parameters = {name: value.detach().numpy().copy() for name, value in module.named_parameters()}

    def __call__(self, x: Vector) -> Vector:
        """The output (outputs,) for one input (inputs,)."""
        return self._forward(x)[0]

    def _forward(self, x: Vector) -> tuple[Vector, list[tuple[Vector, Vector, float, Vector]]]:
        tape, depth = [], self.config.depth
        for layer in range(depth):
            inputs = x
            z = self.parameters[f"linears.{layer}.weight"] @ x + self.parameters.get(f"linears.{layer}.bias", 0.0)
            if layer == depth - 1:
                return z, [*tape, (inputs, z, 1.0, z)]
            centred, deviation = z, 1.0
            if self.config.is_normalised(layer + 1):
                deviation = math.sqrt(z.var() + self.config.epsilon)
                centred = (z - z.mean()) / deviation
                z = centred * self._gain(layer) + self.parameters.get(f"norms.{layer}.bias", 0.0)
            x = np.tanh(z) if self.config.activation == "tanh" else np.maximum(z, 0.0)
            tape.append((inputs, centred, deviation, x))
        raise AssertionError("a network has at least one layer")

    def _gain(self, layer: int) -> Vector | float:
        return self.parameters.get(f"norms.{layer}.weight", 1.0)

    def gradients(self, x: Vector, upstream: Vector) -> tuple[Numbers, Vector]:
        """Gradients of ⟨upstream, f(x)⟩ in the parameters, by name, and in x, (inputs,)."""
        found: Numbers = {}
        tape = self._forward(x)[1]
        for layer in reversed(range(self.config.depth)):
            inputs, centred, deviation, out = tape[layer]
            if layer < self.config.depth - 1:
                upstream = upstream * (1 - out**2 if self.config.activation == "tanh" else out > 0)
                if self.config.is_normalised(layer + 1):
                    found[f"norms.{layer}.weight"], found[f"norms.{layer}.bias"] = upstream * centred, upstream
                    scaled = upstream * self._gain(layer)
                    upstream = (scaled - scaled.mean() - centred * (scaled * centred).mean()) / deviation
            found[f"linears.{layer}.weight"] = np.outer(upstream, inputs)
            found[f"linears.{layer}.bias"] = upstream
            upstream = self.parameters[f"linears.{layer}.weight"].T @ upstream
        return {name: found[name] for name in self.parameters}, upstream


class SlowOptimiser:
    """Heavy ball (Polyak 1964: v ← βv + g, θ ← θ - lr·v) or Adam (Kingma and Ba 2015, algorithm 1)."""

    def __init__(self, parameters: Numbers, name: str, lr: float, momentum: float = 0.0) -> None:
        self.name, self.lr, self.momentum, self.steps = name, lr, momentum, 0
        self.first = {key: np.zeros_like(value) for key, value in parameters.items()}
        self.second = {key: np.zeros_like(value) for key, value in parameters.items()}

    def step(self, parameters: Numbers, gradients: Numbers, rounding: float) -> Numbers:
        """Change the parameters; returns how far a gradient's error of ``rounding`` can have moved each of them."""
        self.steps += 1
        errors = {}
        for key, gradient in gradients.items():
            if self.name == "sgd":
                self.first[key] = self.momentum * self.first[key] + gradient
                change = self.first[key]
                errors[key] = np.full_like(change, self.lr * self.steps * rounding)  # v sums at most all gradients
            else:
                self.first[key] = 0.9 * self.first[key] + 0.1 * gradient
                self.second[key] = 0.999 * self.second[key] + 0.001 * gradient**2
                mean = self.first[key] / (1 - 0.9**self.steps)
                size = np.sqrt(self.second[key] / (1 - 0.999**self.steps)) + 1e-8
                change = mean / size
                # m̂ and √v̂ are means of the gradients, so each is wrong by at most ``rounding``.
                errors[key] = self.lr * (1 + abs(change)) * rounding / size
            parameters[key] = parameters[key] - self.lr * change
        return errors


def misfit(module: nn.Module, expected: Numbers, errors: Numbers | None = None) -> float:
    """Largest difference between a module's parameters and the expected ones, as a share of what rounding allows."""
    shares = [0.0]
    for name, value in module.named_parameters():
        found = value.detach().numpy()
        # Subtracted only where they differ: the logarithm of temperature 0 is, and stays, -inf.
        differs = np.subtract(found, expected[name], out=np.zeros_like(found), where=found != expected[name])
        # Beside the gradient's error there are the roundings of the step itself, at most four.
        allowed = (errors or {}).get(name, 0.0) + 4 * np.finfo(float).eps * (1 + abs(found))
        shares.append((abs(differs) / allowed).max())
    return max(shares)
