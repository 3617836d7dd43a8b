r"""The steps behind `theory.layernorm_bound`: LayerNorm's Jacobian, its norm, and the ray's supremum.

Explicit entries for three units; where the number n of units matters the same lemma is repeated for
every n in inner products T = ‖t‖², τ = 1ᵀt, β = yᵀt, ‖y‖² = n(s² - ε).

Source: derived (the Jacobian's form is standard).
"""

import sympy as sp

from theory.derivation import Derivation, Step
from theory.homogeneity_layernorm import EPSILON, PRE, centred, layernorm, variance

N = sp.Symbol("n", positive=True)
SPREAD, TIGHT = sp.symbols("s e", positive=True)
TANGENT = sp.Matrix(sp.symbols("t_1:4", real=True))
START = sp.Matrix(sp.symbols("a_1:4", real=True))
MOVED = sp.Matrix(sp.symbols("b_1:4", real=True))
DELTA = sp.Matrix(sp.symbols("d_1:4", real=True))
RHO = sp.Symbol("rho", real=True)
NEAR, FLOOR, SLOPE, GROWTH = sp.symbols("A m V B", positive=True)
OFFSET = sp.Symbol("t", real=True)


def jacobian(z: sp.MatrixBase = PRE, epsilon: sp.Expr | int = EPSILON) -> sp.MatrixBase:
    """(C - ŷŷᵀ/n)/s with ŷ = LN(z)."""
    size = len(z)
    centring = sp.eye(size) - sp.ones(size, size) / size
    normal = layernorm(z, epsilon)
    return (centring - normal * normal.T / size) / sp.sqrt(variance(z) + epsilon)


def _jacobian_steps() -> tuple[Step, ...]:
    spread = variance(PRE) + EPSILON
    y = centred(PRE)
    total, tau, beta, length = sp.symbols("T tau beta Y", real=True)
    share = beta / (N * SPREAD**2)
    # s J t = t - (τ/n) 1 - (β/(n s²)) y, with ⟨1, y⟩ = 0.
    squared = total + tau**2 / N + share**2 * length - 2 * tau**2 / N - 2 * share * beta
    squared = squared.subs(length, N * (SPREAD**2 - TIGHT))
    others, entry = sp.Symbol("R", nonnegative=True), sp.Symbol("y_i", real=True)
    pair = sp.Matrix(PRE[:2])
    return (
        Step(
            "jacobian",
            "The Jacobian of LN is (C - ŷŷᵀ/n)/s.",
            ("ε > 0", "n = 3 units"),
            layernorm(PRE, EPSILON).jacobian(PRE),
            jacobian(),
            formula=r"\partial\,\mathrm{LN}/\partial z = J = \tfrac1s\left(C - \tfrac1n\hat y\hat y^\top\right)",
        ),
        Step(
            "common-shift",
            "It kills the direction common to all units.",
            (),
            jacobian() * sp.ones(3, 1),
            sp.zeros(3, 1),
            formula=r"J\mathbf 1 = 0",
        ),
        Step(
            "radial",
            "Along y it is ε/s³: LayerNorm forgets scale as ε → 0.",
            ("n = 3 units",),
            jacobian() * y,
            EPSILON / spread ** sp.Rational(3, 2) * y,
            formula=r"Jy = \tfrac{\varepsilon}{s^3}\,y",
        ),
        Step(
            "action",
            "Jt = (t - (τ/n)1 - (β/(ns²))y)/s with τ = 1ᵀt, β = yᵀt.",
            ("n = 3 units",),
            jacobian() * TANGENT,
            (TANGENT - sum(TANGENT) / 3 * sp.ones(3, 1) - y.dot(TANGENT) / (3 * spread) * y) / sp.sqrt(spread),
            formula=r"Jt = \tfrac1s\left(t - \tfrac{\tau}{n}\mathbf 1 - \tfrac{\beta}{ns^2}\,y\right)",
        ),
        Step(
            "operator-norm",
            "‖Jt‖ ≤ ‖t‖/s for every number n of units: the square of the action, in inner products.",
            ("⟨1, y⟩ = 0", "‖y‖² = n(s² - ε)"),
            total,
            squared,
            relation=">=",
            witness=tau**2 / N + beta**2 * (1 + TIGHT / SPREAD**2) / (N * SPREAD**2),
        ),
        Step(
            "norm-attained",
            "The norm is exactly 1/s from three units on: t ⊥ 1, y has ‖Jt‖ = ‖t‖/s.",
            ("t = 1 × y, cross product", "n = 3 units"),
            jacobian() * sp.ones(3, 1).cross(y),
            sp.ones(3, 1).cross(y) / sp.sqrt(spread),
            formula=r"t \perp \mathbf 1, y:\quad Jt = t/s",
        ),
        Step(
            "two-units",
            "With two units there is no such t: the whole Jacobian is (ε/s³)C, zero for ε = 0.",
            ("n = 2 units",),
            jacobian(pair),
            EPSILON / (variance(pair) + EPSILON) ** sp.Rational(3, 2) * sp.Matrix([[1, -1], [-1, 1]]) / 2,
            formula=r"n = 2:\quad J = \tfrac{\varepsilon}{s^3}\,C",
        ),
        Step(
            "output-length",
            "‖LN(z)‖² = n(1 - ε/s²) ≤ n.",
            ("n = 3 units",),
            sp.Integer(3),
            layernorm(PRE, EPSILON).dot(layernorm(PRE, EPSILON)),
            relation=">=",
            witness=3 * EPSILON / spread,
            formula=r"\|\mathrm{LN}(z)\|^2 = n\left(1 - \varepsilon/s^2\right) \le n",
        ),
        Step(
            "output-entry",
            "|LN(z)_i|² ≤ n - 1 (Samuelson).",
            ("n = 3 units",),
            sp.Integer(2),
            layernorm(PRE, EPSILON)[0] ** 2,
            relation=">=",
            witness=((PRE[1] - PRE[2]) ** 2 / 3 + 2 * EPSILON) / spread,
            formula=r"\mathrm{LN}(z)_i^2 \le n - 1",
        ),
        Step(
            "output-entry-any-width",
            "The same for every n = 1 + m: the others sum to -y_i, so ‖y‖² = y_i² + y_i²/m + R with R ≥ 0.",
            ("n ≥ 2",),
            SLOPE * ((entry**2 + entry**2 / SLOPE + others) / (SLOPE + 1) + TIGHT),
            entry**2,
            relation=">=",
            witness=SLOPE * others / (SLOPE + 1) + SLOPE * TIGHT,
        ),
    )


def _ray_steps() -> tuple[Step, ...]:
    nearest = -START.dot(MOVED) / MOVED.dot(MOVED)
    closest = START + nearest * MOVED
    ray = START + RHO * MOVED
    bound = NEAR**2 / FLOOR**2 + SLOPE**2 / GROWTH**2
    gaps = sp.symbols("k_1:4", nonnegative=True)
    return (
        Step(
            "closest-approach",
            "On a ray ‖y‖² = ‖a + ρb‖² = ‖a_⊥‖² + (ρ - ρ*)²‖b‖², ρ* = -⟨a, b⟩/‖b‖².",
            ("b = C W_1 v ≠ 0",),
            ray.dot(ray),
            closest.dot(closest) + (RHO - nearest) ** 2 * MOVED.dot(MOVED),
            formula=r"\|a + \rho b\|^2 = \|a_\perp\|^2 + (\rho - \rho^*)^2\|b\|^2",
        ),
        Step(
            "ray-supremum",
            "(A + tV)² ≤ (A²/m² + V²/B²)(m² + t²B²): |⟨x_0, x⟩ + β|/s_1(x) is bounded on the whole ray.",
            ("m > 0: floor of s_1", "B > 0: C W_1 v ≠ 0"),
            bound * (FLOOR**2 + OFFSET**2 * GROWTH**2),
            (NEAR + OFFSET * SLOPE) ** 2,
            relation=">=",
            witness=(NEAR * OFFSET * GROWTH / FLOOR - SLOPE * FLOOR / GROWTH) ** 2,
        ),
        Step(
            "ray-supremum-attained",
            "It is attained, at t = m²V/(AB²): the ray's constant is the best one.",
            (),
            ((NEAR + OFFSET * SLOPE) ** 2 / (FLOOR**2 + OFFSET**2 * GROWTH**2)).subs(
                OFFSET, FLOOR**2 * SLOPE / (NEAR * GROWTH**2)
            ),
            bound,
        ),
        Step(
            "outer-product",
            "A linear layer's share of the kernel factors: ⟨δ ⊗ h, δ' ⊗ h'⟩ = ⟨δ, δ'⟩⟨h, h'⟩.",
            (),
            sum((DELTA * START.T).multiply_elementwise(TANGENT * MOVED.T)),
            DELTA.dot(TANGENT) * START.dot(MOVED),
        ),
        Step(
            "cauchy-schwarz",
            "⟨δ, δ'⟩² ≤ ‖δ‖²‖δ'‖² (Lagrange's identity).",
            ("three entries",),
            DELTA.dot(DELTA) * TANGENT.dot(TANGENT),
            DELTA.dot(TANGENT) ** 2,
            relation=">=",
            witness=sum((entry**2 for entry in DELTA.cross(TANGENT)), sp.Integer(0)),
        ),
        Step(
            "affine-share",
            "Gain and shift share at most n‖δ‖²: Σ δ_i²(ŷ_i² + 1) with ŷ_i² = n - 1 - k_i, k_i ≥ 0.",
            ("n = 3 units",),
            3 * DELTA.dot(DELTA),
            sum(d**2 * (2 - k + 1) for d, k in zip(DELTA, gaps, strict=True)),
            relation=">=",
            witness=sum(d**2 * k for d, k in zip(DELTA, gaps, strict=True)),
        ),
    )


DERIVATIONS = (
    Derivation("LayerNorm's Jacobian", "derived", _jacobian_steps()),
    Derivation("The supremum along a ray", "derived", _ray_steps()),
)
