r"""Twin critics that learn from the smaller target, and target-policy smoothing.

With :math:`D_1 = \mathrm{diag}[Q_1 \le Q_2]` at X* and :math:`D_2 = I - D_1` the first-order system is
:math:`\dot u_i = -G_i(X,X)u_i + \gamma(D_1 G_1(X^*,X)u_1 + D_2 G_2(X^*,X)u_2)`, a 2M×2M block matrix. Derived on
two transitions and two critics of three parameters each, then reduced for equal kernels.

Source: derived; the paper's code reads one critic only (printed: code).
"""

import sympy as sp

from theory.derivation import Derivation, Step
from theory.self_similar_ray import ETA, GAMMA

PHI = tuple(sp.Matrix(2, 3, sp.symbols(f"Phi^{i}_1:7", real=True)) for i in (1, 2))
PHI_NEXT = tuple(sp.Matrix(2, 3, sp.symbols(f"Psi^{i}_1:7", real=True)) for i in (1, 2))
PARAMETERS = tuple(sp.Matrix(sp.symbols(f"theta^{i}_1:4", real=True)) for i in (1, 2))
ERRORS = tuple(sp.Matrix(sp.symbols(f"u^{i}_1:3", real=True)) for i in (1, 2))
CHOICE = sp.diag(*sp.symbols("d_1 d_2", nonnegative=True))
"""D1: 1 where the first critic's target is the smaller one, 0 elsewhere; 1/2 everywhere for the mean."""
GRAM = sp.Matrix(2, 2, sp.symbols("g_1 g_2 g_2 g_3", real=True))
GRAM_NEXT = sp.Matrix(2, 2, sp.symbols("h_1:5", real=True))
IDENTITY = sp.eye(2)


def block_matrix(grams, grams_next, choice: sp.MatrixBase = CHOICE) -> sp.MatrixBase:
    """The 2M×2M matrix that acts on (u_1, u_2)."""
    row = sp.Matrix.hstack(GAMMA * choice * grams_next[0], GAMMA * (IDENTITY - choice) * grams_next[1])
    return sp.Matrix.vstack(row, row) - sp.diag(*grams)


def td_error(critic: int, parameters, choice: sp.MatrixBase = CHOICE) -> sp.MatrixBase:
    """u_i = f_i(X) - γ(D1 f_1(X*) + D2 f_2(X*)) of critics that are linear in their parameters."""
    values = [jacobian * weights for jacobian, weights in zip(PHI_NEXT, parameters, strict=True)]
    return PHI[critic] * parameters[critic] - GAMMA * (choice * values[0] + (IDENTITY - choice) * values[1])


def _system() -> Derivation:
    stepped = [weights - ETA * phi.T * u for weights, phi, u in zip(PARAMETERS, PHI, ERRORS, strict=True)]
    change = sp.Matrix.vstack(*(td_error(i, stepped) - td_error(i, PARAMETERS) for i in (0, 1)))
    grams = [phi * phi.T for phi in PHI]
    grams_next = [following * phi.T for following, phi in zip(PHI_NEXT, PHI, strict=True)]
    first, second = sp.symbols("q_1 q_2", real=True)
    smaller = (first + second - sp.Abs(first - second)) / 2
    gap = sp.Symbol("delta", positive=True)
    return Derivation(
        "Twin critics with the smaller target",
        "derived",
        (
            Step(
                "minimum-first",
                "Where Q1 < Q2 the smaller target is Q1, and D1 = 1; small changes keep that.",
                ("no tie",),
                smaller.subs(second, first + gap),
                first,
                shown=sp.Subs(smaller, second, first + gap),
            ),
            Step(
                "minimum-second",
                "Where Q1 > Q2 it is Q2, and D1 = 0.",
                ("no tie",),
                smaller.subs(first, second + gap),
                second,
                shown=sp.Subs(smaller, first, second + gap),
            ),
            Step(
                "system",
                "One step of both critics moves (u_1, u_2) by η times the block matrix.",
                ("first order in η", "X* fixed", "no tie within the step"),
                change,
                ETA * block_matrix(grams, grams_next) * sp.Matrix.vstack(*ERRORS),
            ),
        ),
    )


def _reduction() -> Derivation:
    both = (GRAM, GRAM), (GRAM_NEXT, GRAM_NEXT)
    matrix = block_matrix(*both)
    # New coordinates: the first critic's error and the difference u_1 - u_2.
    change = sp.Matrix.vstack(sp.Matrix.hstack(IDENTITY, 0 * IDENTITY), sp.Matrix.hstack(IDENTITY, -IDENTITY))
    seem = GAMMA * GRAM_NEXT - GRAM
    coupling = -GAMMA * (IDENTITY - CHOICE) * GRAM_NEXT
    triangular = sp.Matrix.vstack(sp.Matrix.hstack(seem, coupling), sp.Matrix.hstack(0 * IDENTITY, -GRAM))
    mean = block_matrix(*both, IDENTITY / 2)
    mixed = sp.Matrix.vstack(sp.Matrix.hstack(IDENTITY, IDENTITY), sp.Matrix.hstack(IDENTITY, -IDENTITY))
    mu = sp.Symbol("mu", real=True)
    grams = [phi * phi.T for phi in PHI]
    grams_next = [following * phi.T for following, phi in zip(PHI_NEXT, PHI, strict=True)]
    difference = sp.Matrix.hstack(IDENTITY, -IDENTITY) * block_matrix(grams, grams_next) * sp.Matrix.vstack(*ERRORS)
    return Derivation(
        "Twin critics reduced",
        "derived",
        (
            Step(
                "difference",
                "The shared target drops out of u_1 - u_2: it is driven by -G_1u_1 + G_2u_2, whatever D1.",
                (),
                difference,
                -grams[0] * ERRORS[0] + grams[1] * ERRORS[1],
                formula=r"\dot u_1 - \dot u_2 = -G_1 u_1 + G_2 u_2",
            ),
            Step(
                "triangular",
                "With equal kernels the matrix is block triangular in (u_1, u_1 - u_2), for every D1.",
                ("G_1 = G_2", "same X*"),
                change * matrix,
                triangular * change,
            ),
            Step(
                "spectrum",
                "So its spectrum is that of A = γG(X*,X) - G(X,X) and that of -G: the minimum moves no threshold.",
                ("G_1 = G_2",),
                (matrix - mu * sp.eye(4)).det(method="berkowitz"),
                (seem - mu * IDENTITY).det() * (-GRAM - mu * IDENTITY).det(),
            ),
            Step(
                "sum-difference",
                "For D1 = I/2 sum and difference decouple: the sum obeys A, the difference -G.",
                ("G_1 = G_2", "D1 = I/2"),
                mixed * mean,
                sp.diag(seem, -GRAM) * mixed,
                formula=r"\begin{pmatrix}I & I\\ I & -I\end{pmatrix}B = \begin{pmatrix}A & 0\\ 0 & "
                r"-G\end{pmatrix}\begin{pmatrix}I & I\\ I & -I\end{pmatrix},\quad D_1 = I/2",
            ),
            Step(
                "one-critic",
                "For D1 = I the first critic is alone, with A = γG_1(X*,X) - G_1; the second follows it: "
                "γG_1(X*,X)u_1 drives it, -G_2 holds it.",
                ("D1 = I",),
                block_matrix(grams, grams_next, IDENTITY) * sp.Matrix.vstack(*ERRORS),
                sp.Matrix.vstack(
                    (GAMMA * grams_next[0] - grams[0]) * ERRORS[0],
                    GAMMA * grams_next[0] * ERRORS[0] - grams[1] * ERRORS[1],
                ),
                formula=r"D_1 = I:\quad \dot u_1 = \left(\gamma G_1(X^*, X) - G_1\right)u_1,\quad "
                r"\dot u_2 = \gamma G_1(X^*, X)\,u_1 - G_2 u_2",
            ),
        ),
    )


def _smoothing() -> Derivation:
    share = sp.Symbol("w", positive=True)
    shifted = sp.Matrix(2, 3, sp.symbols("Psi^'_1:7", real=True))
    weights, phi, error = PARAMETERS[0], PHI[0], ERRORS[0]
    stepped = weights - ETA * phi.T * error
    spread = sp.Symbol("sigma", positive=True)
    x, target, slope, bend = sp.symbols("x x^* c_1 c_2", real=True)

    def kernel(at: sp.Expr) -> sp.Expr:
        return slope * at * x + bend * at**2 * x

    def expected(parameters: sp.MatrixBase) -> sp.MatrixBase:
        noisy = share * PHI_NEXT[0] * parameters + (1 - share) * shifted * parameters
        return phi * parameters - GAMMA * noisy

    return Derivation(
        "Target-policy smoothing",
        "derived",
        (
            Step(
                "expected-kernel",
                "With noise on the target action the expected step is driven by γE[G(X*+ε, X)] - G(X, X).",
                ("two noise values with probabilities w and 1-w", "noise independent of θ"),
                expected(stepped) - expected(weights),
                ETA * (GAMMA * (share * PHI_NEXT[0] + (1 - share) * shifted) * phi.T - phi * phi.T) * error,
            ),
            Step(
                "kernel-curvature",
                "Noise ±σ moves the kernel by σ²/2 times its curvature: smoothing acts only through curvature.",
                ("a kernel of second degree in the target action", "symmetric noise"),
                (kernel(target + spread) + kernel(target - spread)) / 2,
                kernel(target) + spread**2 / 2 * kernel(target).diff(target, 2),
            ),
        ),
    )


DERIVATIONS = (_system(), _reduction(), _smoothing())
