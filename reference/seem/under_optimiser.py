r"""A critic under the optimiser that really trains it: the linearised step from its live state.

With the second moment frozen the step is linear in the critics, the memory and the targets, and everything that moves u
lies in the span of :math:`DJ^\top` and of a few constant directions: the present memory, the targets' lag and, under
weight decay, the parameters themselves. So a step acts on some vectors of one number per row and critic (exact for a
critic that is linear in its parameters; else to first order, while the minimum of the targets and D stay):

.. math:: u = u_0 + Ka - qJw - \Gamma\left[K^*c - eJ^*w + (p-1)J^*\ell\right] + (f-1)J\theta_0
   - (\varphi-1)\,\Gamma J^*\theta_0,

with w what the memory alone would subtract, and ℓ the lag. Clipping by the norm, a Huber knee and row weights act on u
and stay exact.

Source: derived (theory/preconditioned_step.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from seem.leading import Leading, leading_eigenvalue
from seem.margins import reduced
from seem.modes import ACCEPTED, DAMPING, GROWING, Driver, Matrix, Mode, Rows, leading_mode, stable_factors
from seem.step_rules import StepRule

Vector = NDArray[np.float64]
NOT_GROWING = "no growing mode: below 1 the radius tends to 1 with the kernel's tail and says nothing; see growth_over"
CLIPPED = "the gradient is clipped now: a step loses the direction of u, and there is no growth per step"


@dataclass(frozen=True, eq=False)
class UnderOptimiser:
    """What one look says of critics under their live optimiser; n = NM rows of N critics.

    The blocks are taken at the reading, which is dear: explicit gradients of all rows. Costs of the rest: `leading` one
    certified eigenvalue, `growth_over` a few products a step, `radius` and `driver` all eigenvalues (of size n with
    copied targets, else 3n), `stable_factors` with averaged targets some dozens of them.

    Attributes:
        rule: The optimiser's scalars.
        kernel: K = J D Jᵀ, shape (n, n); D holds the learning rates.
        bootstrap: Γ K*, from the targets' own gradients at X*, shape (n, n).
        plain: J Jᵀ, shape (n, n), which clipping measures the gradient with.
        error: u₀, shape (n,), or None.
        memory: J w and ΓJ* w, w what the memory alone would subtract at the next step; shape (n,) each.
        lag: ΓJ* ℓ.
        parameters: J θ₀ and ΓJ* θ₀.
        share: h, the gradient is h Jᵀ W u.
        weights: W, shape (n,).
        knee: Huber's, or None.
        clip_norm: What the gradient's norm is held to, or None.
        rate: τ.
        interval: Steps between two changes of the targets.
        step: Critic steps taken before the reading.
        notes: What was assumed.
        reasons: Why something is None, by its name.
    """

    rule: StepRule
    kernel: Float[np.ndarray, "n n"]
    bootstrap: Float[np.ndarray, "n n"]
    plain: Float[np.ndarray, "n n"]
    error: Float[np.ndarray, " n"] | None
    memory: tuple[Vector, Vector]
    lag: Vector
    parameters: tuple[Vector, Vector]
    share: float
    weights: Vector
    knee: float | None = None
    clip_norm: float | None = None
    rate: float = 1.0
    interval: int = 1
    step: int = 0
    notes: tuple[str, ...] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def certificate(self) -> Leading:
        """The leading eigenvalue of W^½(ΓK* - K)W^½ in the row space, without the zeros that missing rank adds."""
        driven = self.rows.bootstrap - self.rows.kernel
        return leading_eigenvalue(driven if len(driven) else np.zeros((1, 1)))

    @property
    def leading(self) -> float:
        """Max Re λ(ΓK* - K): SEEM with the optimiser's own D between the gradients."""
        return self.certificate.value.real

    @property
    def rate_per_step(self) -> float:
        """X = hλ, what ηλ is under plain gradient descent."""
        return self.share * self.leading

    @property
    def excited(self) -> bool | None:
        """Whether a mode excites itself: the sign of `leading`; None within rounding, which a gate takes for yes."""
        if not len(self.rows.kernel):
            return False
        room = DAMPING * float(np.linalg.norm(self.rows.bootstrap - self.rows.kernel))
        return None if abs(self.leading) <= room else self.leading > 0

    @cached_property
    def rows(self) -> Rows:
        """Both blocks in the row space."""
        blocks = (torch.from_numpy(self._weighted(block)) for block in (self.kernel, self.bootstrap))
        return Rows(*reduced(*blocks), self.rule, self.share, self.rate, self.interval)

    @cached_property
    def mode(self) -> Mode | None:
        """The fastest mode (*all eigenvalues*); None with a reason in `why`."""
        found = None if self.why_no_mode() else leading_mode(self.rows)
        return None if found is None or found.backward_error > ACCEPTED else found

    @property
    def growing(self) -> bool | None:
        """Whether a mode grows at these learning rates; None with a reason in `why`."""
        return None if self.mode is None else self.mode.growth > 1 + GROWING

    @property
    def radius(self) -> float | None:
        """ρ > 1, the growth per step of the fastest mode; None where none grows, or with another reason in `why`."""
        return self.mode.growth if self.mode is not None and self.growing else None

    @property
    def driver(self) -> Driver | None:
        """What makes the fastest mode grow: self-excitation, overshoot, or a resonance of memory or targets."""
        return None if self.mode is None else self.mode.driver

    @cached_property
    def stable_factors(self) -> tuple[tuple[float, float], ...] | None:
        """Factors on the present learning rates at which no mode grows (*scan* where targets are averaged)."""
        return None if self.why_no_mode() else stable_factors(self.rows)

    def growth_over(self, steps: int) -> float | None:
        """‖u‖ after some steps over ‖u‖ now, rolled out from the present state; None with a reason in `why`.

        Args:
            steps: How many.
        """
        path = self.path(steps)
        if path is None:
            return None
        sizes = np.linalg.norm(path, axis=1)
        return float(sizes[-1] / sizes[0]) if sizes[0] else None

    def path(self, steps: int) -> Float[np.ndarray, "steps n"] | None:
        """U now and after each of some steps, shape (steps + 1, n); None with a reason in `why`.

        Args:
            steps: How many; infinite numbers say that it overflows.
        """
        if self.why("path") is not None or self.error is None:
            return None
        rule, n, made = self.rule, len(self.error), []
        a, b, c = np.zeros(n), np.zeros(n), np.zeros(n)
        q, e, y, mu, f, p, phi = 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0
        with np.errstate(over="ignore", invalid="ignore"):
            for k in range(steps + 1):
                own = self.kernel @ a - q * self.memory[0] + (f - 1) * self.parameters[0]
                targets = self.bootstrap @ c - e * self.memory[1] + (p - 1) * self.lag + (phi - 1) * self.parameters[1]
                u = self.error + own - targets
                made.append(u)
                pull, s = self._pull(u) + rule.pull * a, rule.correction(k)
                b = rule.memory * b + rule.inflow * pull
                mu, y = rule.memory * mu - rule.inflow * rule.pull * q, rule.memory * y + rule.inflow * rule.pull * f
                kept = 1 - rule.shrink
                a = kept * a - s * (rule.direct * pull + rule.through * b)
                q = kept * q + s * (rule.through * mu - rule.direct * rule.pull * q)
                f = kept * f - s * (rule.direct * rule.pull * f + rule.through * y)
                if (self.step + k + 1) % self.interval == 0:
                    stay, tau = 1 - self.rate, self.rate
                    c, e, p, phi = stay * c + tau * a, stay * e + tau * q, stay * p, stay * phi + tau * f
        return np.stack(made)

    def _pull(self, u: Vector) -> Vector:
        """What b takes up: hWu, clipped at the knee, and with it the whole gradient by its norm."""
        pull = self.share * self.weights * (u if self.knee is None else np.clip(u, -self.knee, self.knee))
        return pull * self._clip(pull)

    def _clip(self, pull: Vector) -> float:
        if self.clip_norm is None:
            return 1.0
        norm = float(np.sqrt(max(pull @ self.plain @ pull, 0.0)))
        return min(1.0, self.clip_norm / (norm + 1e-6))  # torch's clip_grad_norm_

    def _weighted(self, block: Matrix) -> Matrix:
        roots = np.sqrt(self.weights)
        return roots[:, None] * block * roots[None]

    def why_no_mode(self) -> str | None:
        """Why there is no growth per step to speak of, or None."""
        if self.rule.obstacle:
            return self.rule.obstacle
        if self.error is not None and self.knee is not None and (np.abs(self.error) > self.knee).any():
            return "some rows are past the Huber knee, where the pull no longer grows with u"
        if self.clip_norm is not None:
            if self.error is None:
                return "whether the gradient is clipped is not known without a TD error"
            if self._clip(self.share * self.weights * self.error) < 1:
                return CLIPPED
        return None

    def why(self, name: str) -> str | None:
        """Why something is None, or None.

        Args:
            name: A property, or "path" and "growth_over".
        """
        if name in self.reasons:
            return self.reasons[name]
        if name in ("path", "growth_over"):
            missing = "there is no TD error: give rewards, targets or td_error" if self.error is None else None
            return self.rule.obstacle or missing
        if name in ("mode", "growing", "radius", "driver", "stable_factors"):
            reason = self.why_no_mode()
            if reason is None and name != "stable_factors" and self.mode is None:
                reason = "the critics have no kernel on these rows, or its modes could not be found to rounding"
            return reason or (NOT_GROWING if name in ("radius", "driver") and not self.growing else None)
        return None
