r"""Self-excitation solved exactly: one parameter, two points, and what the kernel must do for it.

One linear parameter, f = θx, transition x → x*: u = θ(x - γx*) - r, step θ ← θ - ηxu. Two points: kernels
G(X, X) = [[a, c], [c, a]] and G(X*, X) = [[p, q], [q, p]], or [[p, q], [-q, p]] for a rotating pair.

Source: the mechanism is the paper's (printed); the closed forms and the condition on ‖φ(x*)‖ are derived.
"""

import sympy as sp

from theory.derivation import Derivation, Step

GAMMA, ETA = sp.symbols("gamma eta", positive=True)
X, X_NEXT, REWARD, THETA = sp.symbols("x x^* r theta", real=True)
STEP = sp.Symbol("t", integer=True, nonnegative=True)
TIME = sp.Symbol("t", positive=True)
SAME, CROSS, NEXT_SAME, NEXT_CROSS = sp.symbols("a c p q", positive=True)
ERROR = sp.Matrix(sp.symbols("u_1 u_2", real=True))
PHI = sp.Matrix(2, 3, sp.symbols("Phi_1:7", real=True))
PHI_NEXT = sp.Matrix(2, 3, sp.symbols("Phi^*_1:7", real=True))
RATE = GAMMA * X * X_NEXT - X**2
AWAY = {X: (1, 2), X_NEXT: (3, 5), GAMMA: (0.8, 1)}
"""Points where the fixed point r/(x - γx*) exists."""


def td_error(theta: sp.Expr) -> sp.Expr:
    """The TD error θ(x - γx*) - r."""
    return theta * (X - GAMMA * X_NEXT) - REWARD


def parameter(step: sp.Expr) -> sp.Expr:
    """θ_t = θ_∞ + (θ_0 - θ_∞)(1 + ηλ)^t, λ = γxx* - x²."""
    fixed = REWARD / (X - GAMMA * X_NEXT)
    return fixed + (THETA - fixed) * (1 + ETA * RATE) ** step


def parameter_flow(time: sp.Expr) -> sp.Expr:
    """The same under gradient flow of unit rate: θ_∞ + (θ_0 - θ_∞)e^{λt}."""
    fixed = REWARD / (X - GAMMA * X_NEXT)
    return fixed + (THETA - fixed) * sp.exp(RATE * time)


def two_point(sign: int = 1) -> sp.MatrixBase:
    """A of the two-point model; ``sign`` -1 gives the rotating one, with c = 0."""
    gram = sp.Matrix([[SAME, CROSS], [CROSS, SAME]]) if sign == 1 else SAME * sp.eye(2)
    return GAMMA * sp.Matrix([[NEXT_SAME, NEXT_CROSS], [sign * NEXT_CROSS, NEXT_SAME]]) - gram


def even(sign: int) -> sp.Expr:
    """Eigenvalue of u = (1, ±1): γ(p ± q) - (a ± c)."""
    return GAMMA * (NEXT_SAME + sign * NEXT_CROSS) - (SAME + sign * CROSS)


def two_point_error(step: sp.Expr) -> sp.MatrixBase:
    """u_t as the sum of its even and its odd part."""
    total, difference = ERROR[0] + ERROR[1], ERROR[0] - ERROR[1]
    plus = total * (1 + ETA * even(1)) ** step / 2
    minus = difference * (1 + ETA * even(-1)) ** step / 2
    return sp.Matrix([plus + minus, plus - minus])


def two_point_flow(time: sp.Expr) -> sp.MatrixBase:
    """The same under gradient flow."""
    plus = (ERROR[0] + ERROR[1]) * sp.exp(even(1) * time) / 2
    minus = (ERROR[0] - ERROR[1]) * sp.exp(even(-1) * time) / 2
    return sp.Matrix([plus + minus, plus - minus])


def _one_parameter() -> Derivation:
    stepped = THETA - ETA * X * td_error(THETA)
    positive, following = sp.symbols("x x^*", positive=True)
    return Derivation(
        "One parameter",
        "mechanism: paper (printed); closed form derived",
        (
            Step(
                "error-recursion",
                "One step multiplies u by exactly 1 + ηλ, λ = γk(x*, x) - k(x, x); no remainder.",
                ("f linear in θ",),
                td_error(stepped),
                (1 + ETA * RATE) * td_error(THETA),
            ),
            Step(
                "parameter-recursion",
                "θ_t = θ_∞ + (θ_0 - θ_∞)(1 + ηλ)^t solves the recursion.",
                ("x ≠ γx*",),
                parameter(STEP + 1),
                parameter(STEP) - ETA * X * td_error(parameter(STEP)),
                ranges=AWAY,
            ),
            Step(
                "parameter-initial",
                "It starts at θ_0.",
                ("x ≠ γx*",),
                parameter(sp.Integer(0)),
                THETA,
                ranges=AWAY,
                shown=sp.Subs(parameter(STEP), STEP, 0),
            ),
            Step(
                "flow",
                "Gradient flow θ' = -xu has the solution with e^{λt} instead.",
                ("x ≠ γx*",),
                parameter_flow(TIME).diff(TIME),
                -X * td_error(parameter_flow(TIME)),
                ranges=AWAY,
            ),
            Step(
                "flow-initial",
                "It starts at θ_0.",
                (),
                parameter_flow(sp.Integer(0)),
                THETA,
                ranges=AWAY,
                shown=sp.Subs(parameter_flow(TIME), TIME, 0),
            ),
            Step(
                "critical-discount",
                "λ = xx*(γ - γ_c) with γ_c = x/x*: divergence exactly for γ > γ_c when xx* > 0.",
                ("x and x* > 0",),
                RATE.subs({X: positive, X_NEXT: following}),
                positive * following * (GAMMA - positive / following),
            ),
            Step(
                "no-common-direction",
                "If k(x*, x) < 0 raising f(x) lowers f(x*): λ < 0 for every γ.",
                ("x > 0 > x*: dropped assumption of positive correlation",),
                -RATE.subs({X: positive, X_NEXT: -following}),
                sp.Integer(0),
                relation=">",
                witness=GAMMA * positive * following + positive**2,
            ),
            Step(
                "start-at-fixed-point",
                "Without an initial error nothing grows, however large λ: u stays 0 at θ_∞.",
                ("u_0 = 0: dropped assumption",),
                td_error(parameter(STEP)).subs(THETA, REWARD / (X - GAMMA * X_NEXT)),
                sp.Integer(0),
                ranges=AWAY,
                shown=sp.Subs(td_error(parameter(STEP)), THETA, REWARD / (X - GAMMA * X_NEXT)),
            ),
        ),
    )


def _two_points() -> Derivation:
    z = sp.Symbol("z", real=True)
    rotating = two_point(-1)
    return Derivation(
        "Two points",
        "derived",
        (
            Step(
                "characteristic",
                "The eigenvalues are γ(p ± q) - (a ± c), of u = (1, ±1).",
                (),
                (two_point() - z * sp.eye(2)).det(),
                (z - even(1)) * (z - even(-1)),
            ),
            Step(
                "recursion",
                "u_t, even and odd part growing on their own, solves u_{t+1} = (I + ηA)u_t.",
                ("A fixed",),
                two_point_error(STEP + 1),
                (sp.eye(2) + ETA * two_point()) * two_point_error(STEP),
            ),
            Step(
                "recursion-initial",
                "It starts at u_0.",
                (),
                two_point_error(sp.Integer(0)),
                ERROR,
                shown=sp.Subs(two_point_error(STEP), STEP, 0),
            ),
            Step(
                "flow",
                "With exponentials it solves u' = Au.",
                ("A fixed",),
                two_point_flow(TIME).diff(TIME),
                two_point() * two_point_flow(TIME),
            ),
            Step(
                "flow-initial",
                "It starts at u_0.",
                (),
                two_point_flow(sp.Integer(0)),
                ERROR,
                shown=sp.Subs(two_point_flow(TIME), TIME, 0),
            ),
            Step(
                "critical-discount",
                "The even mode is critical at γ_c = (a + c)/(p + q).",
                (),
                even(1),
                (NEXT_SAME + NEXT_CROSS) * (GAMMA - (SAME + CROSS) / (NEXT_SAME + NEXT_CROSS)),
            ),
            Step(
                "rotating",
                "With G(X*, X) = [[p, q], [-q, p]] the pair is γp - a ± iγq: critical at γ_c = a/p, rotating there.",
                ("c = 0",),
                (rotating - z * sp.eye(2)).det(),
                (z - GAMMA * NEXT_SAME + SAME) ** 2 + (GAMMA * NEXT_CROSS) ** 2,
            ),
        ),
    )


def equal_norm_rows() -> tuple[sp.MatrixBase, sp.MatrixBase, sp.Rational]:
    """Φ, Φ* and γ of two rows that excite each other although all gradients have the same norm."""
    half = sp.Rational(1, 2)
    return sp.Matrix([[1, half], [-1, half]]), sp.Matrix([[0, sp.sqrt(5) / 2]] * 2), sp.Rational(9, 10)


def _rows(block: sp.MatrixBase) -> list[sp.MatrixBase]:
    return [block[i, :] for i in range(block.rows)]


def _kernel() -> Derivation:
    near = sp.Matrix(sp.symbols("f_1 f_2", real=True))
    far = sp.Matrix(sp.symbols("g_1 g_2", real=True))
    length, excess = sp.symbols("n delta", positive=True)
    pushed, pulled = PHI.T * ERROR, PHI_NEXT.T * ERROR
    matrix = (GAMMA * PHI_NEXT - PHI) * PHI.T
    z = sp.Symbol("z", real=True)
    rows, following, discount = equal_norm_rows()
    equal_norms = (discount * following - rows) * rows.T
    return Derivation(
        "What self-excitation asks of the kernel",
        "derived",
        (
            Step(
                "rayleigh",
                "uᵀAu = γ⟨Φ*ᵀu, Φᵀu⟩ - ‖Φᵀu‖²: the target moves by the first, the prediction by the second.",
                ("A = γΦ*Φᵀ - ΦΦᵀ", "two rows, three features"),
                ERROR.dot(matrix * ERROR),
                GAMMA * pulled.dot(pushed) - pushed.dot(pushed),
                formula=r"u^\top(\gamma\Phi^*\Phi^\top - \Phi\Phi^\top)u = "
                r"\gamma\langle\Phi^{*\top}u, \Phi^\top u\rangle - \|\Phi^\top u\|^2",
            ),
            Step(
                "extrapolation-needed",
                "It is positive only if γ‖Φ*ᵀu‖ > ‖Φᵀu‖: γ²‖g‖² - ‖f‖² = ‖γg - f‖² + 2(γ⟨g, f⟩ - ‖f‖²). "
                "For one row so x* needs a larger gradient than x, by 1/γ; for two rows it does not.",
                ("g = Φ*ᵀu, f = Φᵀu, for any number of rows",),
                GAMMA**2 * far.dot(far) - near.dot(near),
                2 * (GAMMA * far.dot(near) - near.dot(near)),
                relation=">=",
                witness=(GAMMA * far - near).dot(GAMMA * far - near),
            ),
            Step(
                "equal-norms",
                "One row whose gradients have equal norm n, at angle δ, has λ = n²(γ cos δ - 1) ≤ n²(γ - 1).",
                ("one row", "‖g‖ = ‖f‖ = n"),
                length**2 * (GAMMA - 1),
                length**2 * (GAMMA * sp.cos(excess) - 1),
                relation=">=",
                witness=2 * length**2 * GAMMA * sp.sin(excess / 2) ** 2,
            ),
            Step(
                "equal-norms-two-rows",
                "Two rows grow with all gradients of equal norm: Φ = (1, 1/2), (-1, 1/2), Φ* = (0, √5/2) twice, "
                "γ = 9/10, has the eigenvalues 9√5/20 - 1/2 = 0.506… and -2.",
                ("two rows: dropped assumption",),
                (equal_norms - z * sp.eye(2)).det(),
                (z - (9 * sp.sqrt(5) / 20 - sp.Rational(1, 2))) * (z + 2),
            ),
            Step(
                "equal-norms-are-equal",
                "All four gradients have the squared norm 5/4.",
                ("Φ = (1, 1/2), (-1, 1/2)", "Φ* = (0, √5/2) twice"),
                sp.Matrix([gradient.dot(gradient) for block in (rows, following) for gradient in _rows(block)]),
                sp.ones(4, 1) * sp.Rational(5, 4),
                formula=r"\|\varphi(x_1)\|^2 = \|\varphi(x_2)\|^2 = \|\varphi(x^*_1)\|^2 = \|\varphi(x^*_2)\|^2 = "
                r"\tfrac54",
            ),
        ),
    )


DERIVATIONS = (_one_parameter(), _two_points(), _kernel())
