"""The growth law with a slowly moving target network, θ⁻ ← θ⁻ + τ(θ - θ⁻) after every critic step."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from seem.errors import InputError
from seem.growth.base import GrowthLaw


@dataclass(frozen=True)
class EMALaw(GrowthLaw):
    r"""An EMA target turns the blow-up into an exponential once the critic follows its target.

    With critic scale a and target scale b, :math:`\dot a = \eta a^{L-1}(g^*b^L - g a^L)` and
    :math:`\dot b = \tau(a - b)`. The SGD law holds while ηλ ≪ τ; beyond, a = ρb, :math:`\rho = (g^*/g)^{1/L}`,
    and Q grows exponentially at a rate that does not contain η.

    Attributes:
        depth: Number L of weight matrices.
        target_rate: τ in (0, 1]; 1 copies the critic.

    Raises:
        InputError: On a depth below 1 or a rate outside (0, 1].

    Source: derived (theory/ema_targets.py).

    Example:
        >>> round(EMALaw(depth=1, target_rate=0.01).growth_rate(2.0), 6)
        0.00995
    """

    target_rate: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.target_rate <= 1:
            raise InputError(f"target rate {self.target_rate} is impossible: pass a number above 0 and up to 1")

    @property
    def degree(self) -> int:
        """1: an exponential."""
        return 1

    def growth_rate(self, ratio: float) -> float:
        """Growth of ln Q per step once the critic has caught up, L·ln(1 + τ(ρ - 1)), near Lτ(ρ - 1) for small τ.

        Args:
            ratio: g*/g, the target's value over the critic's at equal parameters; γc for X* = cX.

        Returns:
            The rate; negative when the ratio is below 1.
        """
        if not ratio >= 0:
            raise InputError(f"the ratio {ratio} of target to critic is impossible: pass a number of 0 or more")
        return self.depth * math.log1p(self.target_rate * (ratio ** (1 / self.depth) - 1))

    def mode_rate(self, bootstrap: float, gram: float) -> float:
        """The linear growth rate a step of one real mode: the larger root of (μ + ηg)(μ + τ) = ητg*.

        It has the sign of ηλ = ηg* - ηg and, when positive, is smaller than it. A mode of its own has an eigenvector of
        both blocks; where they do not commute `transition` decides (theory/noncommuting_blocks.py).

        Args:
            bootstrap: ηg*, share of the bootstrap in the mode, 0 or more.
            gram: ηg, share of the critic's own kernel, 0 or more.

        Returns:
            μ, in continuous time.
        """
        half = (self.target_rate + gram) / 2
        drive = self.target_rate * (bootstrap - gram)
        # A product, where a power need not be rounded correctly: rates keep scaling exactly by powers of two.
        root = math.sqrt(half * half + drive)
        # Without the cancellation of root - half for a small drive.
        return drive / (root + half)

    def transition(self, gram: ArrayLike, bootstrap: ArrayLike) -> NDArray[np.float64]:
        """One linearised step of (u, w), w the bootstrap's lag; its largest |eigenvalue| decides stability.

        Args:
            gram: ηG(X, X), shape (M, M).
            bootstrap: ηγ diag(1-d) G(X*, X), shape (M, M).

        Returns:
            The (2M, 2M) matrix of a critic step followed by a target step; at τ = 1 its u block is I + ηA.
        """
        gram, bootstrap = np.asarray(gram, np.float64), np.asarray(bootstrap, np.float64)
        one, tau = np.eye(len(gram)), self.target_rate
        return np.block([[one - gram + tau * bootstrap, -tau * one], [(tau - 1) * bootstrap, (1 - tau) * one]])
