"""What one look at the critics of one training says: cheap fields, and dearer ones on demand."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from jaxtyping import Complex
from torch import Tensor

from seem.enclosure import Enclosure
from seem.leading import Leading
from seem.margins import DiscountMargin, discount_margin, largest_step
from seem.modes import DAMPING
from seem.rates import gains
from seem.spectrum import CriticReading, describe, eigenvalues
from seem.under_optimiser import UnderOptimiser

UNCERTIFIED = "no eigenvalue was certified within what the reading was to cost: its bounds say what is known"
OVERFLOWED = "the kernel or the TD error has left the floating-point range: the critic has blown up"


@dataclass(frozen=True, eq=False)
class Reading:
    """What one look at the critics of one training says.

    The fields are cheap: one forward and two backward passes per critic, the blocks, and the leading eigenvalue. The
    properties marked *all eigenvalues* cost a dense eigenvalue computation (of size NM, and for `critics` N of size M)
    when they are first asked for, those marked *scan* some dozens.

    Attributes:
        step: Critic steps taken before it.
        rows: M.
        step_size: η of the sum loss; None where a step is not one of plain gradient descent.
        leading: SEEM of the joint matrix, max Re λ(A), per unit of η; with one critic its own. None after an overflow,
            and where a solver with a bounded cost certified none.
        leading_imaginary: Imaginary part of that eigenvalue, not negative.
        own: Each critic's own leading eigenvalue, as if it alone gave the backup; None with a solver of bounded cost.
        certificate: Why it is the leading one, of the true float64 matrix.
        normalised: leading / ‖A‖_F.
        rayleigh: uᵀAu/uᵀu over all critics; None where the flow is not plain gradient descent.
        growth: ‖u‖ after the next step over ‖u‖ now, to first order, with the loss and targets of the training.
        alignment: Each critic's cosine between -Φᵀu and its parameters.
        parameter_norm: Each critic's ‖θ‖.
        td_norm: ‖u‖ over all critics.
        mean_abs_q: Mean |Q| over rows and critics.
        max_abs_q: Largest |Q|.
        dtype: Of the copies whose gradients the blocks are.
        way: How the blocks were made.
        successors: Where X* came from.
        reasons: Why a field is None, by its name.
        notes: What was changed to make the critics readable.
        under_optimiser: The step of the live optimiser, linearised, where `seem.read` was asked for it (*dear*).
        bounds: What ``leading`` lies between; both ends are it where it was certified. None after an overflow, and
            where a solver of bounded cost left them out too.
    """

    step: int
    rows: int
    step_size: float | None
    leading: float | None
    leading_imaginary: float | None
    own: tuple[float, ...] | None
    certificate: Leading | None
    normalised: float | None
    rayleigh: float | None
    growth: float | None
    alignment: tuple[float, ...] | None
    parameter_norm: tuple[float, ...] | None
    td_norm: float | None
    mean_abs_q: float | None
    max_abs_q: float | None
    dtype: str
    way: str
    successors: str
    reasons: Mapping[str, str]
    notes: tuple[str, ...]
    parts: "Parts | None" = field(repr=False)
    under_optimiser: UnderOptimiser | None = field(default=None, repr=False)
    bounds: Enclosure | None = None

    @property
    def overflowed(self) -> bool:
        """Whether kernel or TD error have left the floating-point range."""
        return self.parts is None

    @property
    def rate(self) -> float | None:
        """ηλ, the growth per step in the leading mode; None where a step is not one of plain gradient descent."""
        held = self.step_size is None or self.leading is None or "rate" in self.reasons
        return None if held else self.step_size * self.leading  # type: ignore[operator]

    @property
    def excited(self) -> bool | None:
        """Whether a mode excites itself, under the live optimiser where its step was linearised; else by SEEM.

        None within rounding of zero or where bounds do not tell, which a gate takes for yes, and after an overflow.
        """
        if self.under_optimiser is not None:
            return self.under_optimiser.excited
        if self.leading is None or self.parts is None:
            return None if self.bounds is None else self.bounds.excited
        return None if abs(self.leading) <= DAMPING * self.parts.matrix.norm().item() else self.leading > 0

    @cached_property
    def eigenvalues(self) -> Complex[Tensor, " NM"] | None:
        """Of the joint matrix, by falling real part (*all eigenvalues*); None after an overflow."""
        return None if self.parts is None else eigenvalues(self.parts.matrix)

    @property
    def excitation_gain(self) -> float | None:
        """Largest |1 + ηλ| over Re λ > 0 (*all eigenvalues*)."""
        return self._gains[0]

    @property
    def overshoot_gain(self) -> float | None:
        """Largest |1 + ηλ| over Re λ ≤ 0; above 1 the step size itself is unstable (*all eigenvalues*)."""
        return self._gains[1]

    @property
    def trailing(self) -> float | None:
        """Min Re λ, which the step size must not overshoot (*all eigenvalues*)."""
        return None if self.eigenvalues is None else self.eigenvalues[-1].real.item()

    @cached_property
    def _gains(self) -> tuple[float | None, float | None]:
        if self.rate is None or self.eigenvalues is None or self.step_size is None:
            return None, None
        return gains(self.eigenvalues, self.step_size)

    @cached_property
    def largest_step_size(self) -> float | None:
        """The largest η that does not overshoot (*all eigenvalues*); None with a reason in `why`."""
        if "largest_step_size" in self.reasons or self.eigenvalues is None or self.parts is None:
            return None
        return largest_step(self.eigenvalues, 1e-12 * self.parts.matrix.norm().item())

    @cached_property
    def discount_margin(self) -> DiscountMargin | None:
        """The critical discount, stability at the present one, and the nearest switch (*scan*)."""
        if self.parts is None:
            return None
        return discount_margin(self.parts.joint_gram, self.parts.bootstrap, self.parts.discount)

    @property
    def critical_discount(self) -> float | None:
        """γ_c: the infimum of the γ in [0, 1] at which a mode grows; None where none does (*scan*)."""
        return None if self.discount_margin is None else self.discount_margin.critical

    @cached_property
    def critics(self) -> tuple[CriticReading | None, ...]:
        """A full reading of each critic on its own (*all eigenvalues*)."""
        return () if self.parts is None else self.parts.readings(self)

    def why(self, name: str) -> str | None:
        """Why a field is None, or None.

        Args:
            name: The field.
        """
        if name in self.reasons:
            return self.reasons[name]
        if name == "largest_step_size" and self.parts is not None and self.largest_step_size is None:
            return "a mode grows at any step size"
        return OVERFLOWED if self.parts is None else None


@dataclass(frozen=True, eq=False)
class Parts:
    """The matrices behind a reading, float64 on the CPU.

    Attributes:
        matrix: The joint A, with the loss's row weights, shape (NM, NM).
        joint_gram: The joint G(X, X) between the roots of the row weights, shape (NM, NM).
        bootstrap: The joint bootstrap block without γ, likewise.
        own_matrices: Each critic's own A.
        own_grams: Each critic's own G(X, X).
        error: u, shape (N, M); None without one.
        values: Q(X), shape (N, M).
        discount: γ where it is one number.
    """

    matrix: Tensor
    joint_gram: Tensor
    bootstrap: Tensor
    own_matrices: tuple[Tensor, ...]
    own_grams: tuple[Tensor, ...]
    error: Tensor | None
    values: Tensor
    discount: float | None

    def readings(self, whole: Reading) -> tuple[CriticReading | None, ...]:
        """See `Reading.critics`."""
        if self.error is None:
            return ()
        step_size = None if whole.rate is None or whole.growth is None else whole.step_size
        return tuple(
            describe(
                matrix,
                gram,
                self.error[index],
                step_size=step_size,
                values=self.values[index],
                alignment=0.0 if whole.alignment is None else whole.alignment[index],
                parameter_norm=0.0 if whole.parameter_norm is None else whole.parameter_norm[index],
                step=whole.step,
                index=index,
            )
            for index, (matrix, gram) in enumerate(zip(self.own_matrices, self.own_grams, strict=True))
        )
