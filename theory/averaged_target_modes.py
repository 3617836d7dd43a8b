r"""Momentum or Adam with averaged targets, one mode at a time: same zero, later overshoot, and a resonance.

Where K and ΓK* commute a mode has x = hκ > 0 and x* = hκ*, and its growth z per step is a root of the cubic

    F(z) = (z-1)(z-β₁)(z-1+τ) - z(1-β₁)[τzx* - (z-1+τ)x].

Source: derived; the paper leaves target networks and momentum out (printed: its limits).
"""

import sympy as sp

from theory.derivation import Derivation, Step

Z = sp.Symbol("z", real=True)
BETA, TAU, RATE = sp.symbols("beta_1 tau x", positive=True)
BOOTSTRAP = sp.Symbol("x^*", real=True)
BELOW_ONE = {BETA: (0.05, 0.95), TAU: (0.05, 0.95)}


def cubic(z: sp.Expr = Z) -> sp.Expr:
    """F(z)."""
    return (z - 1) * (z - BETA) * (z - 1 + TAU) - z * (1 - BETA) * (TAU * z * BOOTSTRAP - (z - 1 + TAU) * RATE)


def resonance(rate: sp.Expr = RATE) -> sp.Expr:
    """The x* at which a complex pair reaches |z| = 1."""
    keep = BETA * (1 - TAU)
    return -((1 - keep) / keep + (1 - BETA) * rate / (BETA * TAU))


def overshoot() -> sp.Expr:
    """X - τx*/(2-τ) at z = -1."""
    return 2 * (1 + BETA) / (1 - BETA)


def unit_circle(coefficients: list[sp.Expr]) -> sp.Expr:
    """c_0² - c_0c_2 + c_1 - 1 of z³ + c_2z² + c_1z + c_0: zero when two roots have the product 1."""
    _, c2, c1, c0 = coefficients
    return sp.expand(c0**2 - c0 * c2 + c1 - 1)


def _steps() -> tuple[Step, ...]:
    coefficients = sp.Poly(sp.expand(cubic()), Z).all_coeffs()
    critical = {Z: 1, BOOTSTRAP: RATE}
    slope = -(cubic().diff(BOOTSTRAP) / cubic().diff(Z)).subs(critical)
    real, first, second = sp.symbols("r w_1 w_2", real=True)
    product = [sp.Integer(1), *sp.Poly(sp.expand((Z - real) * (Z - first) * (Z - second)), Z).all_coeffs()[1:]]
    away = sp.Symbol("e", positive=True)
    vanishing = sp.Limit(1 / resonance(), TAU, 1, "-")
    return (
        Step(
            "zero",
            "F(1) = (1-β₁)τ(x - x*): the mode passes z = 1 at x* = x, for every β₁ and every τ.",
            ("K and ΓK* commute",),
            cubic().subs(Z, 1),
            (1 - BETA) * TAU * (RATE - BOOTSTRAP),
            ranges=BELOW_ONE,
            shown=sp.Subs(cubic(), Z, 1),
        ),
        Step(
            "slope",
            "Near there z - 1 grows as τ/(τ + x(1-τ)) times x* - x: momentum does not slow it, averaging does.",
            ("x* near x",),
            slope,
            TAU / (TAU + RATE * (1 - TAU)),
            ranges=BELOW_ONE,
            formula=r"\left.\tfrac{\mathrm{d}z}{\mathrm{d}x^*}\right|_{x^* = x,\,z = 1} = \tfrac{\tau}{\tau + "
            r"x(1-\tau)}",
        ),
        Step(
            "overshoot",
            "At z = -1, F(-1) = (1-β₁)((2-τ)x - τx*) - 2(1+β₁)(2-τ): a real mode overshoots at x - τx*/(2-τ) = "
            "2(1+β₁)/(1-β₁), (1+β₁)/(1-β₁) times later than without momentum.",
            ("a real mode",),
            cubic().subs(Z, -1),
            (1 - BETA) * (2 - TAU) * (RATE - TAU * BOOTSTRAP / (2 - TAU) - overshoot()),
            ranges=BELOW_ONE,
            shown=sp.Subs(cubic(), Z, -1),
        ),
        Step(
            "unit-circle",
            "Of a cubic with the roots r, w_1, w_2 the number c_0² - c_0c_2 + c_1 - 1 vanishes when two of them "
            "have the product 1, "
            "as a pair on the unit circle has.",
            (),
            unit_circle(product),
            (real * first - 1) * (real * second - 1) * (first * second - 1),
            formula=r"c_0^2 - c_0c_2 + c_1 - 1 = (rw_1 - 1)(rw_2 - 1)(w_1w_2 - 1)",
        ),
        Step(
            "resonance",
            "For F it vanishes at x* = -[(1-β₁(1-τ))/(β₁(1-τ)) + (1-β₁)x/(β₁τ)] only: a real mode with a negative "
            "bootstrap "
            "leaves as a pair, although λ < 0.",
            ("β₁ > 0", "τ < 1"),
            unit_circle(coefficients),
            -(BETA**2) * TAU * (1 - TAU) * (1 - BETA) / BETA * (BOOTSTRAP - resonance()),
            ranges=BELOW_ONE,
            formula=r"c_0^2 - c_0c_2 + c_1 - 1 = -\beta_1\tau(1-\tau)(1-\beta_1)\left(x^* + "
            r"\tfrac{1-\beta_1(1-\tau)}{\beta_1(1-\tau)} + \tfrac{(1-\beta_1)x}{\beta_1\tau}\right)",
        ),
        Step(
            "no-resonance-when-copied",
            "With copied targets the resonance has gone to -∞: τ → 1.",
            ("τ → 1",),
            vanishing.doit(),
            sp.Integer(0),
            shown=vanishing,
            ranges=BELOW_ONE,
        ),
        Step(
            "copied",
            "With τ = 1 the cubic is z times the quadratic of `theory.copied_target_radius` at the rate x* - x.",
            ("τ = 1",),
            cubic().subs(TAU, 1),
            Z * (Z**2 - (1 + BETA + (1 - BETA) * (BOOTSTRAP - RATE)) * Z + BETA),
            ranges=BELOW_ONE,
            shown=sp.Subs(cubic(), TAU, 1),
        ),
        Step(
            "flow",
            "For small x, x*, τ, each a share e of itself, z = 1 + eμ turns F/(1-β₁) into e² times the mode "
            "equation of `theory.ema_targets`, "
            "(μ + x)(μ + τ) - τx*, with η = 1: momentum drops out.",
            ("e → 0", "μ = z"),
            sp.expand(
                cubic(1 + away * Z).subs(
                    {RATE: away * RATE, BOOTSTRAP: away * BOOTSTRAP, TAU: away * TAU}, simultaneous=True
                )
            ).coeff(away, 2)
            / (1 - BETA),
            (Z + RATE) * (Z + TAU) - TAU * BOOTSTRAP,
            ranges=BELOW_ONE,
            formula=r"F(1 + e\mu) = (1-\beta_1)e^2\left[(\mu + x)(\mu + \tau) - \tau x^*\right] + O(e^3)",
        ),
    )


DERIVATIONS = (Derivation("Modes with averaged targets", "derived", _steps()),)
