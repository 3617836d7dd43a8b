r"""The SEEM matrix, its spectrum, and what a `CriticReading` says of them.

:math:`A = \gamma\,\mathrm{diag}(1-d)\,G(X^*, X) - G(X, X)` drives the TD error, :math:`u_{t+1} \approx
(I + \eta A) u_t`. It is not symmetric and its leading eigenvalues may be a complex pair beside a far larger
negative part, where iterative solvers fail silently; so all eigenvalues are computed, in float64 on the CPU.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn

from seem.dynamics import Numbers, check_learning_rate
from seem.heading import heading
from seem.isolation import untouched
from seem.ntk import read_kernel
from seem.rates import gains, motion, reciprocal_condition, semi_gradient_norm
from seem.raw_form import check_error, check_one_critic, check_rows_of
from seem.trees import Tree


@dataclass(frozen=True)
class CriticReading:
    """What one look at one critic says, by all eigenvalues of its own matrix.

    What counts in steps of plain gradient descent is None where the step is another one (see `seem.dynamics`).

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
    step_size: float | None
    leading: float
    leading_imaginary: float
    second: float
    trailing: float
    normalised: float
    numerical_abscissa: float
    rayleigh: float | None
    growth: float | None
    excitation_gain: float | None
    overshoot_gain: float | None
    alignment: float
    reciprocal_condition: float
    gradient_norm: float
    kernel_norm: float
    td_norm: float
    mean_abs_q: float
    max_abs_q: float
    parameter_norm: float

    @property
    def rate(self) -> float | None:
        """ηλ, the growth per step in the leading mode."""
        return None if self.step_size is None else self.step_size * self.leading


def seem_matrix(
    gram: Float[Tensor, "M M"],
    gram_next: Float[Tensor, "M M"],
    discount: float | Float[Tensor, " M"],
    terminals: Float[Tensor, " M"],
) -> Float[Tensor, "M M"]:
    r"""The matrix :math:`A = \gamma\,\mathrm{diag}(1-d)\,G(X^*, X) - G(X, X)`.

    Args:
        gram: G(X, X), shape (M, M).
        gram_next: G(X*, X) with rows X*, shape (M, M).
        discount: γ in [0, 1], one number or one per row, shape (M,).
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
    if isinstance(discount, Tensor):
        discount = discount.reshape(-1, 1)
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
    x: Tree,
    x_next: Tree,
    td_error: Tensor,
    terminals: Tensor,
    *,
    discount: Numbers,
    lr: float,
    step: int = 0,
    index: int = 0,
    dtype: torch.dtype | None = torch.float64,
) -> CriticReading | None:
    """Read one critic, in the raw form (X, X*, u) and under plain gradient descent; `seem.read` takes any other.

    Args:
        critic: A module with one output per row; it is copied, never touched.
        x: X = (s, a), shape (M, inputs), or a tuple of tensors for a module of several arguments.
        x_next: X* = (s', π(s')), likewise.
        td_error: u = f(X) - target, shape (M,) or (M, 1).
        terminals: d, shape (M,) or (M, 1).
        discount: γ in [0, 1], one number or one per row.
        lr: Learning rate of the mean-squared loss over the rows; η = 2·lr/M.
        step: Critic steps taken so far.
        index: Which critic it is.
        dtype: Of the kernel's blocks, from a copy of the parameters; None keeps the critic's own. Eigenvalues are
            of float64 in any case.

    Returns:
        The reading, or None when the critic's kernel has left the floating-point range.

    Raises:
        InputError: When the critic cannot be read, or the rows, γ, lr or terminals are impossible.

    Example:
        A linear critic whose successor is three times as far out grows at (γ·3 - 1)·x² = 1.97 per unit η:

        >>> import torch
        >>> critic = torch.nn.Linear(1, 1, bias=False)
        >>> x = torch.ones(1, 1)
        >>> reading = take_reading(critic, x, 3 * x, torch.ones(1), torch.zeros(1), discount=0.99, lr=0.5)
        >>> round(reading.leading, 6), round(reading.growth, 6)
        (1.97, 2.97)
    """
    with untouched():
        check_learning_rate(lr)
        error, discounts, ends = check_rows_of(x, x_next, td_error, terminals, discount)
        kernel = read_kernel(critic, x, x_next, dtype=dtype)
        check_one_critic(kernel)
        check_error(error, kernel)
        gram, gram_next = (
            block[0, 0].to("cpu", torch.float64) for block in (kernel.blocks.gram, kernel.blocks.gram_next)
        )
        cosine, norm = heading(kernel, error[None])
        return describe(
            seem_matrix(gram, gram_next, discounts, ends),
            gram,
            error,
            step_size=2 * lr / len(error),
            values=kernel.values[0],
            alignment=cosine[0],
            parameter_norm=norm[0],
            step=step,
            index=index,
        )


def describe(
    matrix: Float[Tensor, "M M"],
    gram: Float[Tensor, "M M"],
    error: Float[Tensor, " M"],
    *,
    step_size: float | None,
    values: Float[Tensor, " M"],
    alignment: float,
    parameter_norm: float,
    step: int,
    index: int,
) -> CriticReading | None:
    """A critic's reading from its blocks.

    Args:
        matrix: A, float64 on the CPU.
        gram: G(X, X), likewise.
        error: u, likewise.
        step_size: η of the sum loss; None leaves what counts in steps out.
        values: Q(X).
        alignment: Cosine between -Φᵀu and θ.
        parameter_norm: ‖θ‖.
        step: Critic steps taken so far.
        index: Which critic it is.

    Returns:
        The reading, or None when a norm has left the floating-point range.
    """
    # The Frobenius norms must be finite too, or the normalised value means nothing.
    if not torch.isfinite(torch.stack((matrix.norm(), gram.norm(), error.norm()))).all():
        return None
    rows = len(error)
    spectrum = eigenvalues(matrix)
    behind = min(2 if spectrum[0].imag else 1, rows - 1)
    excitation, overshoot = (None, None) if step_size is None else gains(spectrum, step_size)
    rayleigh, growth = motion(matrix, error, step_size or 0.0)
    return CriticReading(
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
        rayleigh=None if step_size is None else rayleigh,
        growth=None if step_size is None else growth,
        excitation_gain=excitation,
        overshoot_gain=overshoot,
        alignment=alignment,
        reciprocal_condition=reciprocal_condition(spectrum),
        gradient_norm=semi_gradient_norm(gram, error),
        kernel_norm=gram.norm().item(),
        td_norm=error.norm().item(),
        mean_abs_q=values.abs().mean().item(),
        max_abs_q=values.abs().max().item(),
        parameter_norm=parameter_norm,
    )
