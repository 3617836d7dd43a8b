"""Strategies for policy evaluation: one critic or twins on a batch, and their TD errors after one step."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from hypothesis import strategies as st
from torch import Tensor
from torch.func import functional_call

from properties.strategies.networks import Case, cases
from properties.strategies.scales import discounts
from seem.networks import MLP
from seem.ntk import gram_blocks
from seem.spectrum import seem_matrix, twin_seem_matrix

SMOOTH = ("tanh", "gelu", "silu", "identity")
"""Activations without a kink in any derivative."""
STEPS = range(1, 6)
"""Besides 0 the multiples of η/2 at which `quartering` looks: enough for three third differences."""


@dataclass(frozen=True)
class ProblemCase:
    """Critics that learn from the smaller of their values at X*; its repr is the recipe.

    Attributes:
        critic: The first critic, X and X*.
        terminals: For each row whether it ends an episode.
        discount: γ.
        twin_seed: Seed of a second critic of the same shape; None leaves it out.
    """

    critic: Case
    terminals: tuple[bool, ...]
    discount: float
    twin_seed: int | None = None

    def draw(self) -> "Problem":
        """The problem in float64; rewards are standard normal, from the critic's seed."""
        network, x, x_next = self.critic.draw()
        critics = [network]
        if self.twin_seed is not None:
            critics.append(replace(self.critic, seed=self.twin_seed).draw()[0])
        generator = torch.Generator().manual_seed(self.critic.seed)
        rewards = torch.randn(self.critic.rows, generator=generator, dtype=torch.float64)
        terminals = torch.tensor(self.terminals, dtype=torch.float64)
        return Problem(tuple(critics), x, x_next, rewards, terminals, self.discount)


@dataclass(frozen=True)
class Problem:
    """K critics on M transitions; the TD errors of all critics are one vector of K·M numbers.

    Attributes:
        critics: One critic, or twins that both learn from the smaller target.
        x: X, shape (M, inputs).
        x_next: X*, likewise.
        rewards: r, shape (M,).
        terminals: d, shape (M,).
        discount: γ.
        motion: Velocity of X*, which moves by η·motion during a step of size η; 0 or (M, inputs).
    """

    critics: tuple[MLP, ...]
    x: Tensor
    x_next: Tensor
    rewards: Tensor
    terminals: Tensor
    discount: float
    motion: Tensor | float = 0.0

    @cached_property
    def gradients(self) -> list[dict[str, Tensor]]:
        """For each critic the gradient of torch's mean-squared loss by its parameters, the target frozen."""
        target = self.errors_and_target(0.0)[1]
        found = []
        for critic in self.critics:
            parameters = dict(critic.named_parameters())
            with torch.enable_grad():
                loss = torch.nn.functional.mse_loss(critic(self.x).squeeze(1), target)
            found.append(dict(zip(parameters, torch.autograd.grad(loss, list(parameters.values())), strict=True)))
        return found

    @property
    def speed(self) -> float:
        """‖Φᵀu‖, how far the parameters of all critics move per unit of η."""
        squares = sum(g.square().sum().item() for gradients in self.gradients for g in gradients.values())
        return len(self.x) / 2 * squares**0.5

    @torch.no_grad()
    def values(self, x: Tensor, eta: float) -> Tensor:
        """Each critic's values after a step of size η, shape (K, rows)."""
        lr = eta * len(self.x) / 2
        found = []
        for index, critic in enumerate(self.critics):
            parameters = dict(critic.named_parameters())
            if eta:
                parameters = {name: p - lr * self.gradients[index][name] for name, p in parameters.items()}
            found.append(functional_call(critic, parameters, (x,)).squeeze(1))
        return torch.stack(found)

    def errors_and_target(self, eta: float) -> tuple[Tensor, Tensor]:
        """TD errors u (K·M,) and their target (M,) after a step of size η = 2·lr/M of gradient descent."""
        both = self.values(torch.cat((self.x, self.x_next + eta * self.motion)), eta)
        values, next_values = both.split(len(self.x), dim=1)
        target = self.rewards + self.discount * (1 - self.terminals) * next_values.amin(0)
        return (values - target).flatten(), target

    def errors(self, eta: float) -> Tensor:
        """TD errors u after a step of size η, shape (K·M,)."""
        return self.errors_and_target(eta)[0]

    @property
    def first_is_smaller(self) -> Tensor:
        """Diagonal of D1 of twins, shape (M,)."""
        first, second = self.values(self.x_next, 0.0)
        return (first <= second).double()

    def matrix(self) -> Tensor:
        """A of one critic, or the block matrix of twins, shape (K·M, K·M)."""
        grams, grams_next = zip(*(gram_blocks(critic, self.x, self.x_next) for critic in self.critics), strict=True)
        if len(self.critics) == 1:
            return seem_matrix(grams[0], grams_next[0], self.discount, self.terminals)
        return twin_seem_matrix(grams, grams_next, self.discount, self.terminals, self.first_is_smaller)

    def pieces(self, eta: float) -> list[Tensor]:
        """On which side of every kink the critics are: signs of the inputs of activations, order of twins at X*."""
        seen: list[Tensor] = []
        if self.critics[0].config.activation in SMOOTH and len(self.critics) == 1:
            return seen

        def recorded(activation: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
            def record(z: Tensor) -> Tensor:
                seen.append(z > 0)
                return activation(z)

            return record

        activations = [critic.activation for critic in self.critics]
        for critic, activation in zip(self.critics, activations, strict=True):
            critic.activation = recorded(activation)
        values = self.values(torch.cat((self.x, self.x_next + eta * self.motion)), eta)[:, len(self.x) :]
        for critic, activation in zip(self.critics, activations, strict=True):
            critic.activation = activation
        return [*seen, values[0] <= values[-1]]

    def small_step(self, largest: float = 2.0**-8) -> float:
        """A step size at which nothing but the curvature of the critics bends u.

        Args:
            largest: Bound on the motion of the parameters, small beside weights and inputs of size one.

        Returns:
            The largest η, by halving, for which no kink is crossed at any of the steps of `quartering`.
        """
        eta = largest / max(self.speed, torch.finfo(torch.float64).tiny)
        before = self.pieces(0.0)
        for _ in range(50):
            steps = (self.pieces(k * eta / 2) for k in STEPS)
            if all(torch.equal(was, now) for after in steps for was, now in zip(before, after, strict=True)):
                break
            eta /= 2
        return eta


def quartering(errors: Callable[[float], Tensor], first_order: Tensor, eta: float) -> tuple[float, float]:
    r"""Whether the residual R(η) = u(η) - u(0) - η·first_order is of second order, by a single halving.

    With h = η/2 one has R(η) - 4R(η/2) = u(2h) - 4u(h) + 3u(0) + 2h·first_order. If first_order is u'(0) this is
    (2/3)h³u''' to leading order, and h³u''' is what third differences of u measure; if it is not, an error of first
    order in η remains.

    Args:
        errors: u as a function of the step size, smooth up to 5η/2.
        first_order: What u'(0) is claimed to be.
        eta: η.

    Returns:
        ‖R(η) - 4R(η/2)‖ and its bound: twice the largest third difference (three times what is expected, for
        the change of u''' between the nodes) and rounding.
    """
    u = [errors(k * eta / 2) for k in (0, *STEPS)]
    gap = u[2] - 4 * u[1] + 3 * u[0] + eta * first_order
    thirds = [(u[k + 3] - 3 * u[k + 2] + 3 * u[k + 1] - u[k]).norm().item() for k in range(len(u) - 3)]
    # A forward pass of at most 4 layers rounds some hundred times, in units of numbers of about the size of u.
    rounding = 1e-13 * max(1.0, u[0].norm().item())
    return gap.norm().item(), 2 * max(thirds) + rounding


@st.composite
def problems(draw: st.DrawFn, *, twins: bool = False, **shape) -> ProblemCase:
    """Policy evaluation with one critic or twins.

    Args:
        draw: Given by Hypothesis.
        twins: Whether there is a second critic; it may be equal to the first.
        shape: Arguments of `cases`.
    """
    critic = draw(cases(**shape), label="critic")
    seeds = st.just(critic.seed) | st.integers(0, 2**32 - 1)
    return ProblemCase(
        critic=critic,
        terminals=tuple(draw(st.tuples(*[st.booleans()] * critic.rows), label="terminals")),
        discount=draw(discounts(), label="discount"),
        twin_seed=draw(seeds, label="twin_seed") if twins else None,
    )
