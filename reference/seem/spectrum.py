r"""The SEEM matrix, its spectrum, and a Reading of a critic.

:math:`A = \gamma\,\mathrm{diag}(1-d)\,G(X^*, X) - G(X, X)` drives the TD error, :math:`u_{t+1} \approx
(I + \eta A) u_t`. It is not symmetric and its leading eigenvalues may be a complex pair beside a far larger
negative part, where iterative solvers fail silently; so all eigenvalues are computed, in float64 on the CPU.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn

from seem.networks import parameter_list
from seem.ntk import Inputs, evaluate, gram_blocks


@dataclass(frozen=True)
class Reading:
    """What one look at a critic says; every number is a float or an integer.

    Attributes:
        step: Critic steps taken before the reading.
        critic: Which of the agent's critics (0 or 1).
        rows: Number M of transitions.
        step_size: η of the sum loss, 2·lr/M with torch's mean-squared loss.
        leading: SEEM, max Re λ(A): raw, of the sum-loss matrix; per unit of η.
        leading_imaginary: Imaginary part of that eigenvalue, not negative.
        second: Real part of the next eigenvalue (a complex pair counts once).
        trailing: min Re λ(A), which the step size must not overshoot.
        normalised: leading / ‖A‖_F, in [-1, 1]; what the paper's figures show.
        numerical_abscissa: λ_max((A + Aᵀ)/2), the largest possible instantaneous growth rate.
        rayleigh: uᵀAu/uᵀu, the instantaneous growth rate of ‖u‖; 0 when u = 0.
        growth: ‖(I + ηA)u‖/‖u‖, the growth of ‖u‖ that the first-order theory predicts for the next step.
        excitation_gain: Largest |1 + ηλ| over Re λ > 0; 1 when there is none.
        overshoot_gain: Largest |1 + ηλ| over Re λ ≤ 0; above 1 the step size itself is unstable.
        alignment: Cosine between -Φᵀu and θ; 1 on the self-similar ray.
        reciprocal_condition: min |λ(A)| / max |λ(A)|, in [0, 1]; 0 when A is singular or vanishes.
        gradient_norm: ‖Φᵀu‖, the size of the semi-gradient of the sum loss.
        kernel_norm: ‖G(X, X)‖_F.
        td_norm: ‖u‖.
        mean_abs_q: Mean |Q| over the rows.
        max_abs_q: Largest |Q| over the rows.
        parameter_norm: ‖θ‖ of this critic.

    Source: A and u are the paper's (section 2 of its text, recalled numbering); numerical abscissa,
    Rayleigh quotient and the two gains are derived.
    """

    step: int
    critic: int
    rows: int
    step_size: float
    leading: float
    leading_imaginary: float
    second: float
    trailing: float
    normalised: float
    numerical_abscissa: float
    rayleigh: float
    growth: float
    excitation_gain: float
    overshoot_gain: float
    alignment: float
    reciprocal_condition: float
    gradient_norm: float
    kernel_norm: float
    td_norm: float
    mean_abs_q: float
    max_abs_q: float
    parameter_norm: float

    @property
    def rate(self) -> float:
        """ηλ, the growth per step in the leading mode."""
        return self.step_size * self.leading


def seem_matrix(
    gram: Float[Tensor, "M M"],
    gram_next: Float[Tensor, "M M"],
    discount: float,
    terminals: Float[Tensor, " M"],
) -> Float[Tensor, "M M"]:
    r"""The matrix :math:`A = \gamma\,\mathrm{diag}(1-d)\,G(X^*, X) - G(X, X)`.

    Args:
        gram: G(X, X), shape (M, M).
        gram_next: G(X*, X) with rows X*, shape (M, M).
        discount: γ in [0, 1].
        terminals: d, shape (M,): 1 on true terminals, which have no successor.

    Returns:
        A, shape (M, M), of the blocks' dtype; not symmetric.

    Source: paper, TD error iteration (printed); the terminal mask is this project's (the authors' code
    has none).

    Example:
        >>> import torch
        >>> one = torch.ones(1, 1)
        >>> seem_matrix(one, 3 * one, 0.5, torch.zeros(1)).item()
        0.5
        >>> seem_matrix(one, 3 * one, 0.5, torch.ones(1)).item()
        -1.0
    """
    return discount * (1 - terminals)[:, None] * gram_next - gram


def twin_seem_matrix(
    grams: tuple[Float[Tensor, "M M"], Float[Tensor, "M M"]],
    grams_next: tuple[Float[Tensor, "M M"], Float[Tensor, "M M"]],
    discount: float,
    terminals: Float[Tensor, " M"],
    first_is_smaller: Float[Tensor, " M"],
) -> Float[Tensor, "N N"]:
    r"""First-order matrix of twin critics that both learn from the smaller of their targets, N = 2M.

    With D1 = diag[Q1(X*) ≤ Q2(X*)], D2 = I - D1:
    :math:`\dot u_i = -G_i(X,X)u_i + \gamma(D_1 G_1(X^*,X)u_1 + D_2 G_2(X^*,X)u_2)`.

    Args:
        grams: G_i(X, X) of both critics.
        grams_next: G_i(X*, X) of both critics.
        discount: γ in [0, 1].
        terminals: d, shape (M,).
        first_is_smaller: Diagonal of D1, 1 or 0, shape (M,).

    Returns:
        The (2M, 2M) matrix acting on (u_1, u_2).

    Source: derived.
    """
    mask = discount * (1 - terminals)
    bootstraps = [
        (mask * chosen)[:, None] * block
        for chosen, block in zip((first_is_smaller, 1 - first_is_smaller), grams_next, strict=True)
    ]
    row = torch.cat(bootstraps, dim=1)
    return torch.cat((row, row)) - torch.block_diag(*grams)


def eigenvalues(matrix: Float[Tensor, "M M"]) -> Complex[Tensor, " M"]:
    """All eigenvalues, sorted by falling real part; of a complex pair the positive imaginary part comes first.

    Args:
        matrix: A square, finite matrix of any floating dtype, on any device.

    Returns:
        complex128 on the CPU, shape (M,).
    """
    matrix = matrix.detach().to("cpu", torch.float64)
    scale = matrix.abs().max().clamp_min(torch.finfo(torch.float64).tiny)
    values = torch.linalg.eigvals(matrix / scale)  # scaled, so that a nearly overflowing critic is still read
    order = sorted(range(len(values)), key=lambda i: (-values[i].real.item(), -values[i].imag.item()))
    return values[order] * scale


def take_reading(
    critic: nn.Module,
    x: Inputs,
    x_next: Inputs,
    td_error: Float[Tensor, " M"],
    terminals: Float[Tensor, " M"],
    *,
    discount: float,
    lr: float,
    step: int = 0,
    index: int = 0,
) -> Reading | None:
    """Read a critic: SEEM, the gains, the Rayleigh quotient of u, the alignment, and the sizes.

    Args:
        critic: A module with one output per row; see `seem.ntk.gram_blocks`.
        x: X = (s, a), shape (M, inputs), or a tuple of tensors for a module of several arguments.
        x_next: X* = (s', π(s')), likewise.
        td_error: u = f(X) - target, shape (M,).
        terminals: d, shape (M,).
        discount: γ in [0, 1].
        lr: Learning rate of the mean-squared loss over the rows; η = 2·lr/M.
        step: Critic steps taken so far.
        index: Which critic it is.

    Returns:
        The reading, or None when the critic's kernel has left the floating-point range.

    Example:
        A linear critic whose successor is three times as far out grows at (γ·3 - 1)·x² = 1.97 per unit η:

        >>> import torch
        >>> critic = torch.nn.Linear(1, 1, bias=False)
        >>> x = torch.ones(1, 1)
        >>> reading = take_reading(critic, x, 3 * x, torch.ones(1), torch.zeros(1), discount=0.99, lr=0.5)
        >>> round(reading.leading, 6), round(reading.growth, 6)
        (1.97, 2.97)
    """
    gram, gram_next = (block.to("cpu", torch.float64) for block in gram_blocks(critic, x, x_next))
    terminals, error = (values.detach().to("cpu", torch.float64) for values in (terminals, td_error))
    matrix = seem_matrix(gram, gram_next, discount, terminals)
    # The Frobenius norms must be finite too, or the normalised value means nothing.
    if not torch.isfinite(torch.stack((matrix.norm(), gram.norm(), error.norm()))).all():
        return None
    rows = len(error)
    step_size = 2 * lr / rows
    spectrum = eigenvalues(matrix)
    behind = min(2 if spectrum[0].imag else 1, rows - 1)
    gains = (1 + step_size * spectrum).abs()
    excited = spectrum.real > 0
    rayleigh, growth = motion(matrix, error, step_size)
    values = evaluate(critic, x).detach()
    return Reading(
        step=step,
        critic=index,
        rows=rows,
        step_size=step_size,
        leading=spectrum[0].real.item(),
        leading_imaginary=spectrum[0].imag.item(),
        second=spectrum[behind].real.item(),
        trailing=spectrum[-1].real.item(),
        normalised=(spectrum[0].real / matrix.norm().clamp_min(torch.finfo(torch.float64).tiny)).item(),
        numerical_abscissa=torch.linalg.eigvalsh((matrix + matrix.T) / 2)[-1].item(),
        rayleigh=rayleigh,
        growth=growth,
        excitation_gain=gains[excited].amax().item() if excited.any() else 1.0,
        overshoot_gain=gains[~excited].amax().item() if not excited.all() else 1.0,
        alignment=alignment(critic, x, td_error),
        reciprocal_condition=_reciprocal_condition(spectrum),
        gradient_norm=_semi_gradient_norm(gram, error),
        kernel_norm=gram.norm().item(),
        td_norm=error.norm().item(),
        mean_abs_q=values.abs().mean().item(),
        max_abs_q=values.abs().max().item(),
        parameter_norm=_norm(parameter_list(critic)),
    )


def motion(matrix: Float[Tensor, "M M"], error: Float[Tensor, " M"], step_size: float) -> tuple[float, float]:
    """Where the TD error is heading: uᵀAu/uᵀu and ‖(I + ηA)u‖/‖u‖; 0 and 0 without an error.

    Args:
        matrix: A, shape (M, M), float64.
        error: u, shape (M,), float64.
        step_size: η of the sum loss.

    Returns:
        The Rayleigh quotient of u and the growth of its norm that the next step should bring.
    """
    direction = error / error.norm().clamp_min(torch.finfo(torch.float64).tiny)
    pushed = matrix @ direction
    return (direction @ pushed).item(), (direction + step_size * pushed).norm().item()


def alignment(critic: nn.Module, x: Inputs, td_error: Float[Tensor, " M"]) -> float:
    """Cosine between the negative semi-gradient -Φ(X)ᵀu and the parameters θ; 0 when either vanishes.

    Args:
        critic: A module with one output per row.
        x: X, shape (M, inputs), or a tuple of tensors.
        td_error: u, shape (M,).

    Returns:
        A number in [-1, 1]; 1 on the self-similar ray of the SGD law.
    """
    parameters = parameter_list(critic)
    error = td_error.detach().to("cpu", torch.float64)  # float32's norm overflows long before the kernel does
    direction = (error / error.norm().clamp_min(torch.finfo(torch.float64).tiny)).to(td_error)
    gradients = torch.autograd.grad(evaluate(critic, x) @ direction, parameters)
    sizes = _norm(gradients) * _norm(parameters)
    product = -sum((g * p).sum().item() for g, p in zip(gradients, parameters, strict=True))
    return product / sizes if sizes > 0 else 0.0


def _semi_gradient_norm(gram: Float[Tensor, "M M"], error: Float[Tensor, " M"]) -> float:
    size = error.norm()
    direction = error / size.clamp_min(torch.finfo(torch.float64).tiny)  # uᵀGu may overflow where ‖Φᵀu‖ does not
    return (size * (direction @ gram @ direction).clamp_min(0).sqrt()).item()


def _reciprocal_condition(spectrum: Complex[Tensor, " M"]) -> float:
    sizes = spectrum.abs()
    return (sizes.min() / sizes.max()).item() if sizes.max() > 0 else 0.0


def _norm(tensors: list[Tensor] | tuple[Tensor, ...]) -> float:
    return torch.stack([tensor.detach().norm() for tensor in tensors]).norm().item()
