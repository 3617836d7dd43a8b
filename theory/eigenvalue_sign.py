r"""What the sign of :math:`\mathrm{Re}\,\lambda(A)` decides about :math:`u_{t+1} = (I + \eta A)u_t`, and what not.

An eigenvalue λ = a + ib is written by its real and imaginary parts.

Source: the criterion is the paper's (recalled, asymptotic); that the converse fails at finite η, the exact
threshold η*, the marginal cases and the rotation are derived.
"""

import sympy as sp

from theory.derivation import Derivation, Step

A_POSITIVE = sp.Symbol("a", positive=True)
REAL = sp.Symbol("a", real=True)
IMAGINARY = sp.Symbol("b", real=True)
DECAY = sp.Symbol("a", negative=True)
ETA = sp.Symbol("eta", positive=True)
RATE = sp.Symbol("omega", positive=True)
STEP = sp.Symbol("t", integer=True, nonnegative=True)
TIME = sp.Symbol("t", positive=True)
EIGENVALUES = sp.symbols("lambda_1 lambda_2", real=True)
MIXING = sp.symbols("p q", real=True)
START = sp.Matrix(sp.symbols("u_1 u_2", real=True))
RADIUS, ANGLE = sp.symbols("rho phi", positive=True)


def squared_gain(real: sp.Expr, imaginary: sp.Expr, eta: sp.Expr = ETA) -> sp.Expr:
    """|1 + η(a + ib)|²."""
    return (1 + eta * real) ** 2 + (eta * imaginary) ** 2


def threshold(real: sp.Expr, imaginary: sp.Expr) -> sp.Expr:
    """η* = -2 Re λ/|λ|²."""
    return -2 * real / (real**2 + imaginary**2)


def basis() -> sp.MatrixBase:
    """Eigenvectors (1, q) and (p, 1), not orthogonal unless p = -q."""
    p, q = MIXING
    return sp.Matrix([[1, p], [q, 1]])


def operator() -> sp.MatrixBase:
    """A matrix with eigenvalues λ1, λ2 and those eigenvectors."""
    return basis() * sp.diag(*EIGENVALUES) * basis().inv()


def solution(step: sp.Expr, start: sp.MatrixBase = START) -> sp.MatrixBase:
    """u_t = S diag((1 + ηλ)^t) S⁻¹ u_0."""
    powers = sp.diag(*[(1 + ETA * value) ** step for value in EIGENVALUES])
    return basis() * powers * basis().inv() * start


def rotation(angle: sp.Expr) -> sp.MatrixBase:
    """Rotation of the plane."""
    return sp.Matrix([[sp.cos(angle), -sp.sin(angle)], [sp.sin(angle), sp.cos(angle)]])


def spiral(time: sp.Expr) -> sp.MatrixBase:
    """e^{tA} of A = [[a, -b], [b, a]]."""
    return sp.exp(REAL * time) * rotation(IMAGINARY * time)


def _gains() -> Derivation:
    gain = squared_gain(REAL, IMAGINARY)
    modulus = REAL**2 + IMAGINARY**2
    return Derivation(
        "Eigenvalue sign and spectral radius",
        "criterion: paper (recalled); threshold and failing converse derived",
        (
            Step(
                "excitation",
                "Re λ > 0 and η > 0 give |1 + ηλ| > 1: the spectral radius of I + ηA exceeds 1.",
                ("Re λ = a > 0", "η > 0"),
                squared_gain(A_POSITIVE, IMAGINARY),
                sp.Integer(1),
                relation=">",
                witness=2 * ETA * A_POSITIVE + ETA**2 * (A_POSITIVE**2 + IMAGINARY**2),
            ),
            Step(
                "threshold",
                "|1 + ηλ|² - 1 = η|λ|²(η - η*) with η* = -2 Re λ/|λ|²: stable exactly for 0 < η < η*.",
                ("λ ≠ 0",),
                gain - 1,
                ETA * modulus * (ETA - threshold(REAL, IMAGINARY)),
                ranges={REAL: (-3, -0.5)},
            ),
            Step(
                "threshold-is-positive",
                "η* > 0 when Re λ < 0: a small enough step is stable.",
                ("Re λ = a < 0",),
                threshold(DECAY, IMAGINARY),
                sp.Integer(0),
                relation=">",
                witness=-2 * DECAY / (DECAY**2 + IMAGINARY**2),
            ),
            Step(
                "overshoot",
                "The converse fails: λ = -1 at η = 3 has |1 + ηλ| = 2 > 1 with Re λ < 0.",
                ("η > η*: dropped assumption η → 0",),
                squared_gain(sp.Integer(-1), sp.Integer(0), sp.Integer(3)),
                sp.Integer(4),
                shown=sp.Subs(gain, (REAL, IMAGINARY, ETA), (-1, 0, 3)),
            ),
            Step(
                "overshoot-real",
                "For real λ = -g the threshold is η* = 2/g, the rule η λ_max(G) > 2 at γ = 0.",
                ("Im λ = 0",),
                threshold(-RADIUS, sp.Integer(0)),
                2 / RADIUS,
                shown=sp.Subs(threshold(REAL, IMAGINARY), (REAL, IMAGINARY), (-RADIUS, 0)),
            ),
            Step(
                "imaginary-axis",
                "On the imaginary axis every η > 0 grows: SEEM = 0 is not stable.",
                ("Re λ = 0", "Im λ = b"),
                squared_gain(sp.Integer(0), RADIUS),
                sp.Integer(1),
                relation=">",
                witness=ETA**2 * RADIUS**2,
            ),
            Step(
                "faster-mode-first",
                "At the threshold of the mode with smaller η* the other mode still contracts.",
                ("real λ = -g and λ = -g - h, g and h > 0", "η = 2/(g + h)"),
                sp.Integer(1),
                squared_gain(-RADIUS, sp.Integer(0), 2 / (RADIUS + ANGLE)),
                relation=">",
                witness=4 * RADIUS * ANGLE / (RADIUS + ANGLE) ** 2,
            ),
        ),
    )


def _modes() -> Derivation:
    p, q = MIXING
    first, second = EIGENVALUES
    away = {p: (0.1, 0.5), q: (-0.5, -0.1)}
    left = (basis().inv()[0, :]) * solution(STEP)
    jordan = sp.Matrix([[0, 1], [0, 0]])

    def jordan_power(step: sp.Expr) -> sp.MatrixBase:
        return sp.eye(2) + step * ETA * jordan

    return Derivation(
        "Growth needs a component on the mode",
        "derived",
        (
            Step(
                "solves-recursion",
                "u_t = S diag((1 + ηλ)^t) S⁻¹ u_0 satisfies u_{t+1} = (I + ηA)u_t.",
                ("A diagonalisable", "A fixed"),
                solution(STEP + 1),
                (sp.eye(2) + ETA * operator()) * solution(STEP),
                ranges=away,
                formula=r"u_t = S\,\mathrm{diag}\left((1 + \eta\lambda_i)^t\right)S^{-1}u_0 \Rightarrow "
                r"u_{t+1} = (I + \eta A)\,u_t",
            ),
            Step("initial-value", "It starts at u_0.", (), solution(sp.Integer(0)), START, ranges=away),
            Step(
                "component",
                "The component along the left eigenvector grows by exactly 1 + ηλ₁ a step.",
                ("A diagonalisable",),
                left,
                (1 + ETA * first) ** STEP * (basis().inv()[0, :] * START),
                ranges=away,
            ),
            Step(
                "no-component",
                "Without that component u never sees λ₁, however large: u_t = (1 + ηλ₂)^t u_0.",
                ("u_0 along the second eigenvector: dropped assumption",),
                solution(STEP, basis()[:, 1]),
                (1 + ETA * second) ** STEP * basis()[:, 1],
                ranges=away,
            ),
            Step(
                "defective",
                "Spectral radius 1 bounds nothing: for a Jordan block at λ = 0 the t-th power is I + tηA.",
                ("A = [[0, 1], [0, 0]]: dropped assumption of diagonalisability",),
                jordan_power(STEP + 1),
                (sp.eye(2) + ETA * jordan) * jordan_power(STEP),
            ),
        ),
    )


def _rotations() -> Derivation:
    matrix = sp.Matrix([[REAL, -IMAGINARY], [IMAGINARY, REAL]])
    polar = {REAL: (RADIUS * sp.cos(ANGLE) - 1) / ETA, IMAGINARY: RADIUS * sp.sin(ANGLE) / ETA}

    def power(step: sp.Expr) -> sp.MatrixBase:
        return RADIUS**step * rotation(step * ANGLE)

    flow = spiral(TIME)
    return Derivation(
        "Complex pairs rotate",
        "derived",
        (
            Step(
                "flow-equation",
                "e^{at}·Rotation(bt) solves U' = AU for A = [[a, -b], [b, a]], eigenvalues a ± ib.",
                (),
                flow.diff(TIME),
                matrix * flow,
                formula=r"U = e^{at}\begin{pmatrix}\cos bt & -\sin bt\\ \sin bt & \cos bt\end{pmatrix} \Rightarrow "
                r"U^{\prime} = AU",
            ),
            Step(
                "flow-initial",
                "It starts at the identity.",
                (),
                spiral(sp.Integer(0)),
                sp.eye(2),
                shown=sp.Subs(flow, TIME, 0),
            ),
            Step(
                "trace",
                "Its trace is 2e^{at}cos(bt): the sign of u along a fixed direction alternates.",
                (),
                flow.trace(),
                2 * sp.exp(REAL * TIME) * sp.cos(IMAGINARY * TIME),
                shown=sp.Trace(flow),
            ),
            Step(
                "period",
                "After the period 2π/b the flow is a pure stretch by e^{2πa/b}.",
                ("b > 0",),
                spiral(2 * sp.pi / IMAGINARY),
                sp.exp(2 * sp.pi * REAL / IMAGINARY) * sp.eye(2),
                ranges={IMAGINARY: (0.5, 2)},
                shown=sp.Subs(flow, TIME, 2 * sp.pi / IMAGINARY),
            ),
            Step(
                "discrete-polar",
                "With 1 + ηa = ρcos φ and ηb = ρ sin φ the step matrix is ρ·Rotation(φ).",
                (),
                (sp.eye(2) + ETA * matrix).subs(polar),
                power(sp.Integer(1)),
                shown=sp.Subs(sp.eye(2) + ETA * matrix, tuple(polar), tuple(polar.values())),
            ),
            Step(
                "discrete-recursion",
                "So its t-th power is ρ^t·Rotation(tφ): period 2π/φ steps.",
                (),
                power(STEP + 1),
                power(sp.Integer(1)) * power(STEP),
            ),
            Step(
                "discrete-modulus",
                "ρ² = 1 + 2ηa + η²(a² + b²): a rotating mode needs a margin, not only a < 0.",
                (),
                squared_gain(polar[REAL], polar[IMAGINARY]),
                RADIUS**2,
            ),
        ),
    )


DERIVATIONS = (_gains(), _modes(), _rotations())
