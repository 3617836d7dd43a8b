r"""One step of an adaptive optimiser with a target network, linearised: an exact map, and what it needs of the rows.

With the mean-squared loss over M rows (h = 2/M), Jacobians J on X and J* on X*, Γ = γ diag(1-d), and the second moment
frozen, so that D is a diagonal that holds the learning rate, one step is

    m ← β₁m + (1-β₁)h Jᵀu,  θ ← θ - sDm,  θ* ← (1-τ)θ* + τθ,  u = u_0 + J(θ-θ_0) - ΓJ*(θ*-θ*_0),

s being the bias correction that is left, (1-β₁^{t+1})/(1-β₁^{t+1+k}) at step k. It acts on 3P numbers. Everything that
moves u stays in the span of DJᵀ, Jᵀ and DJᵀ, and of the present m_0 and lag ℓ = θ*_0 - θ_0: with K = JDJᵀ and
K* = J*DJᵀ a step is one of M numbers a, b and c each, and four constant vectors.

Source: derived. The companion matrix without target networks is that of Qiao et al. 2026 (AdamO, 2605.01968; recalled).
"""

import sympy as sp

from theory.derivation import Derivation, Step

BETA, TAU = sp.symbols("beta_1 tau", positive=True)
SHARE, CORRECTION = sp.symbols("h s", positive=True)
Z = sp.Symbol("z", real=True)
UNIT = {BETA: (0.05, 0.9), TAU: (0.05, 0.9)}
JACOBIAN = sp.Matrix(2, 3, sp.symbols("J_1:7", real=True))
NEXT = sp.Matrix(2, 3, sp.symbols("J^*_1:7", real=True))
SCALES = sp.diag(*sp.symbols("D_1:4", positive=True))
DISCOUNTS = sp.diag(*sp.symbols("Gamma_1:3", real=True))
ERROR = sp.Matrix(sp.symbols("u_1:3", real=True))
MOMENTUM = sp.Matrix(sp.symbols("m_1:4", real=True))
LAG = sp.Matrix(sp.symbols("l_1:4", real=True))
A, B, C = (sp.Matrix(sp.symbols(f"{name}_1:3", real=True)) for name in "abc")
Q, E, P, MU = sp.symbols("q e p mu", real=True)
KERNEL, KERNEL_NEXT = JACOBIAN * SCALES * JACOBIAN.T, NEXT * SCALES * JACOBIAN.T


def weights(a: sp.MatrixBase, q: sp.Expr) -> sp.MatrixBase:
    """θ - θ_0 = DJᵀa - qDm_0."""
    return SCALES * JACOBIAN.T * a - q * SCALES * MOMENTUM


def momentum(b: sp.MatrixBase, mu: sp.Expr) -> sp.MatrixBase:
    """M = Jᵀb + μm_0."""
    return JACOBIAN.T * b + mu * MOMENTUM


def target(c: sp.MatrixBase, e: sp.Expr, p: sp.Expr) -> sp.MatrixBase:
    """θ* - θ_0 = DJᵀc - eDm_0 + pℓ."""
    return SCALES * JACOBIAN.T * c - e * SCALES * MOMENTUM + p * LAG


def error(a, c, q, e, p) -> sp.MatrixBase:
    """U in the row space, K and K* acting on a and c, and four constant vectors."""
    constants = -q * JACOBIAN * SCALES * MOMENTUM + DISCOUNTS * NEXT * (e * SCALES * MOMENTUM - (p - 1) * LAG)
    return ERROR + KERNEL * a - DISCOUNTS * KERNEL_NEXT * c + constants


def full_step(theta, moment, lagging, u) -> tuple[sp.MatrixBase, sp.MatrixBase, sp.MatrixBase]:
    """One step of (θ - θ_0, m, θ* - θ_0)."""
    moment = BETA * moment + (1 - BETA) * SHARE * JACOBIAN.T * u
    theta = theta - CORRECTION * SCALES * moment
    return theta, moment, (1 - TAU) * lagging + TAU * theta


def reduced_step(u: sp.MatrixBase) -> tuple:
    """The same step of (a, b, c, q, μ, e, p)."""
    b = BETA * B + (1 - BETA) * SHARE * u
    mu = BETA * MU
    a, q = A - CORRECTION * b, Q + CORRECTION * mu
    return a, b, (1 - TAU) * C + TAU * a, q, mu, (1 - TAU) * E + TAU * q, (1 - TAU) * P


def polynomial(kernel: sp.MatrixBase, bootstrap: sp.MatrixBase, z: sp.Expr = Z, share: sp.Expr = SHARE):
    """P(z) = (z-1)(z-β₁)(z-1+τ)I - z(1-β₁)h[τzΓK* - (z-1+τ)K], ΓK* given."""
    driven = TAU * z * bootstrap - (z - 1 + TAU) * kernel
    return (z - 1) * (z - BETA) * (z - 1 + TAU) * sp.eye(kernel.rows) - z * (1 - BETA) * share * driven


def reduced_matrix(kernel: sp.MatrixBase, bootstrap: sp.MatrixBase) -> sp.MatrixBase:
    """The step of (a, b, c) as a matrix, 3M×3M, ΓK* given."""
    rows = kernel.rows
    one, none = sp.eye(rows), sp.zeros(rows, rows)
    moment = sp.Matrix.hstack((1 - BETA) * SHARE * kernel, BETA * one, -(1 - BETA) * SHARE * bootstrap)
    critic = sp.Matrix.hstack(one, none, none) - moment
    return sp.Matrix.vstack(critic, moment, sp.Matrix.hstack(none, none, (1 - TAU) * one) + TAU * critic)


def full_matrix(jacobian, following, scales) -> sp.MatrixBase:
    """The step of (θ, m, θ*) as a matrix, 3P×3P, Γ in ``following``."""
    size = scales.rows
    one, none = sp.eye(size), sp.zeros(size, size)
    push, pull = (1 - BETA) * SHARE * jacobian.T * jacobian, (1 - BETA) * SHARE * jacobian.T * following
    moment = sp.Matrix.hstack(push, BETA * one, -pull)
    critic = sp.Matrix.hstack(one, none, none) - scales * moment
    return sp.Matrix.vstack(critic, moment, sp.Matrix.hstack(none, none, (1 - TAU) * one) + TAU * critic)


def _reduction() -> Derivation:
    u = error(A, C, Q, E, P)
    theta, moment, lagging = weights(A, Q), momentum(B, MU), target(C, E, P)
    from_parameters = ERROR + JACOBIAN * theta - DISCOUNTS * NEXT * (lagging - LAG)
    u_now = sp.Matrix(sp.symbols("v_1:3", real=True))
    after = full_step(theta, moment, lagging, u_now)
    a, b, c, q, mu, e, p = reduced_step(u_now)
    exponent, more = sp.symbols("t k", positive=True)
    rate = sp.Symbol("alpha", positive=True)
    return Derivation(
        "The step in the row space",
        "derived",
        (
            Step(
                "error",
                "u of the parameters θ and θ* is u_0 + Ka - ΓK*c and four constant vectors: JDm_0, ΓJ*Dm_0, ΓJ*ℓ, u_0.",
                ("f linear in θ", "K = JDJᵀ, K* = J*DJᵀ", "ℓ the lag of the target"),
                from_parameters,
                u,
                formula=r"u_0 + J(\theta - \theta_0) - \Gamma J^*(\theta^* - \theta^*_0) = "
                r"u_0 + Ka - qJDm_0 - \Gamma\left[K^*c - eJ^*Dm_0 + (p-1)J^*\ell\right]",
            ),
            Step(
                "critic",
                "After a step θ - θ_0 = DJᵀa - qDm_0 holds again, with a ← a - sb and q ← q + sμ.",
                ("b ← β₁b + (1-β₁)hu", "μ ← β₁μ"),
                after[0],
                weights(a, q),
                formula=r"\theta - sDm = \theta_0 + DJ^\top(a - sb) - (q + s\mu)Dm_0",
            ),
            Step(
                "momentum",
                "So does m = Jᵀb + μm_0, with b ← β₁b + (1-β₁)hu and μ ← β₁μ.",
                (),
                after[1],
                momentum(b, mu),
                formula=r"\beta_1 m + (1-\beta_1)h J^\top u = J^\top\left(\beta_1 b + (1-\beta_1)hu\right) + "
                r"\beta_1\mu\,m_0",
            ),
            Step(
                "target",
                "and θ* - θ_0 = DJᵀc - eDm_0 + pℓ, with c ← (1-τ)c + τa, e ← (1-τ)e + τq, p ← (1-τ)p.",
                ("ℓ the lag of the target",),
                after[2],
                target(c, e, p),
                formula=r"(1-\tau)\theta^* + \tau\theta = \theta_0 + DJ^\top c - eDm_0 + p\,\ell",
            ),
            Step(
                "bias-correction",
                "Adam's step α/((1-β₁^{t+1+k})(√v̂+ε)) at step k is D times s, D = α/((1-β₁^{t+1})(√v̂+ε)): the frozen "
                "moment is v̂, not v.",
                ("√v̂ + ε = h at the reading",),
                rate
                / (1 - BETA ** (exponent + 1))
                / SHARE
                * (1 - BETA ** (exponent + 1))
                / (1 - BETA ** (exponent + 1 + more)),
                rate / ((1 - BETA ** (exponent + 1 + more)) * SHARE),
                ranges=UNIT,
                shown=sp.Mul(
                    rate / (1 - BETA ** (exponent + 1)) / SHARE,
                    (1 - BETA ** (exponent + 1)) / (1 - BETA ** (exponent + 1 + more)),
                    evaluate=False,
                ),
            ),
        ),
    )


def _spectrum() -> Derivation:
    kernel, bootstrap = (sp.Matrix(2, 2, sp.symbols(f"{name}_1:5", real=True)) for name in ("K", "K^*"))
    # The b of a mode is (1-z)a/z, its c τz a/(z-1+τ); what is left is the recursion of b.
    moment, lagging = (1 - Z) / Z * A, TAU * Z / (Z - 1 + TAU) * A
    left = Z * moment - BETA * moment - (1 - BETA) * SHARE * (kernel * A - bootstrap * lagging)
    one, other = sp.Matrix([[sp.Symbol("k", real=True)]]), sp.Matrix([[sp.Symbol("k^*", real=True)]])
    jacobian = sp.Matrix([[1, sp.Symbol("J_2", real=True)]])
    following = sp.Matrix([sp.symbols("J^*_1:3", real=True)])
    scales = sp.diag(1, sp.Symbol("D_2", positive=True))
    inner = jacobian * scales * jacobian.T, following * scales * jacobian.T
    trivial = (Z - 1) * (Z - BETA) * (Z - 1 + TAU)
    away = {Z: (1.1, 2), **UNIT}
    return Derivation(
        "Its spectrum",
        "derived",
        (
            Step(
                "mode",
                "A mode z of (a, b, c) has b = (1-z)a/z and c = τza/(z-1+τ), and a solves P(z)a = 0.",
                ("z not 0 or 1-τ",),
                -Z * (Z - 1 + TAU) * left,
                polynomial(kernel, bootstrap) * A,
                ranges=away,
                formula=r"P(z) = (z-1)(z-\beta_1)(z-1+\tau)I - z(1-\beta_1)h\left[\tau z\Gamma K^* - "
                r"(z-1+\tau)K\right],"
                r"\quad P(z)\,a = 0",
            ),
            Step(
                "determinant",
                "For one row det(zI - T) = P(z), T the step of (a, b, c): the polynomial has all the eigenvalues, "
                "3M of them.",
                ("M = 1",),
                (Z * sp.eye(3) - reduced_matrix(one, other)).det(),
                polynomial(one, other)[0],
                formula=r"\det(zI - T) = (z-1)(z-\beta_1)(z-1+\tau) - z(1-\beta_1)h\left[\tau z k^* - "
                r"(z-1+\tau)k\right]",
            ),
            Step(
                "trivial-eigenvalues",
                "The step of (θ, m, θ*) has besides them 1, β₁ and 1-τ, each P - M times: its radius is never below 1.",
                ("M = 1", "P = 2", "units in which J_1 = D_1 = 1"),
                full_matrix(jacobian, following, scales).charpoly(Z).as_expr(Z),
                trivial * polynomial(*inner)[0],
                formula=r"\det(zI - T_{3P}) = \left((z-1)(z-\beta_1)(z-1+\tau)\right)^{P-M}\det P(z)",
            ),
            Step(
                "copied",
                "With copied targets, τ = 1, P(z) = z[(z-1)(z-β₁)I - z(1-β₁)hA_D], A_D = ΓK* - K: a mode of A_D is "
                "one of "
                "the step.",
                ("τ = 1",),
                polynomial(kernel, bootstrap).subs(TAU, 1),
                Z * ((Z - 1) * (Z - BETA) * sp.eye(2) - Z * (1 - BETA) * SHARE * (bootstrap - kernel)),
                formula=r"\tau = 1:\quad P(z) = z\left[(z-1)(z-\beta_1)I - z(1-\beta_1)hA_D\right],\quad A_D = "
                r"\Gamma K^* - K",
            ),
        ),
    )


def _sign() -> Derivation:
    jacobian, following, discount = sp.Matrix([[1, 1]]), sp.Matrix([[2, -1]]), sp.Rational(9, 10)
    second = sp.Symbol("D_2", positive=True)
    scales = sp.diag(1, second)
    driven = discount * following - jacobian
    return Derivation(
        "The sign that decides is the preconditioned one",
        "derived",
        (
            Step(
                "plain",
                "J = (1, 1), J* = (2, -1), γ = 9/10: A = -11/10, and gradient descent shrinks the error.",
                (),
                driven * jacobian.T,
                sp.Matrix([[-sp.Rational(11, 10)]]),
                shown=sp.MatMul(driven, jacobian.T),
            ),
            Step(
                "preconditioned",
                "With D = diag(1, D_2) it is A_D = 4/5 - 19D_2/10: positive for D_2 < 8/19, and the error grows.",
                ("J = (1, 1), J* = (2, -1), γ = 9/10",),
                (driven * scales * jacobian.T)[0],
                sp.Rational(4, 5) - sp.Rational(19, 10) * second,
                shown=sp.Add(discount * (2 - second), -(1 + second), evaluate=False),
            ),
        ),
    )


DERIVATIONS = (_reduction(), _spectrum(), _sign())
