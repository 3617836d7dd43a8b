r"""Growth per step under momentum or Adam with copied targets, in closed form, and a certificate without a companion.

Each eigenvalue λ of A_D = ΓK* - K (`theory.preconditioned_step`) gives, with x = hλ, two modes of one step, roots of

    z² - (1 + β₁ + (1-β₁)x)z + β₁ = 0.

The larger |z| is ρ = (σ + √(σ² - 4β₁))/2 with σ = (1-β₁)(|x - f₊| + |x - f₋|)/2 and f± = -(1 + β₁ ± 2√β₁)/(1-β₁): the
lines of equal growth are ellipses with foci f±. Stable is the ellipse through 0 with semi-axes α = (1+β₁)/(1-β₁) and 1.
b = √β₁ below, so that β₁ = b².

Source: derived.
"""

import sympy as sp

from theory.derivation import Derivation, Step

ROOT = sp.Symbol("b", positive=True)
"""√β₁."""
RADIUS, PHI, DELTA = sp.symbols("rho phi delta", positive=True)
BETA = ROOT**2
FOCUS = sp.Symbol("F", positive=True)
REAL, IMAGINARY = sp.symbols("p q", real=True)
BELOW_ONE = {ROOT: (0.05, 0.95)}
OUTSIDE = {**BELOW_ONE, RADIUS: (1, 2)}
ALPHA = (1 + BETA) / (1 - BETA)


def trace_parts() -> tuple[sp.Expr, sp.Expr]:
    """Real and imaginary part of z + β₁/z at z = ρe^{iφ}: the sum of both roots."""
    return (RADIUS + BETA / RADIUS) * sp.cos(PHI), (RADIUS - BETA / RADIUS) * sp.sin(PHI)


def rate_parts() -> tuple[sp.Expr, sp.Expr]:
    """Real and imaginary part of the x whose mode is z = ρe^{iφ}."""
    real, imaginary = trace_parts()
    return (real - 1 - BETA) / (1 - BETA), imaginary / (1 - BETA)


def focus(sign: int) -> sp.Expr:
    """f±."""
    return -(1 + BETA + sign * 2 * ROOT) / (1 - BETA)


def _radius() -> Derivation:
    real, imaginary = rate_parts()
    z_real, z_imaginary = RADIUS * sp.cos(PHI), RADIUS * sp.sin(PHI)
    # z² - (1 + β + (1-β)x)z + β by its real and imaginary part.
    trace_real, trace_imaginary = 1 + BETA + (1 - BETA) * real, (1 - BETA) * imaginary
    zero = sp.Matrix(
        [
            z_real**2 - z_imaginary**2 - trace_real * z_real + trace_imaginary * z_imaginary + BETA,
            2 * z_real * z_imaginary - trace_real * z_imaginary - trace_imaginary * z_real,
        ]
    )
    distances = [
        Step(
            f"distance-{'minus' if sign > 0 else 'plus'}",
            f"The distance of x from f{'₊' if sign > 0 else '₋'} is (ρ + b²/ρ {'+' if sign > 0 else '-'} 2b cos "
            f"φ)/(1-b²): "
            "a square without root.",
            ("β₁ = b²", f"f{'₊' if sign > 0 else '₋'} = -(1 + b² {'+' if sign > 0 else '-'} 2b)/(1-b²)"),
            (real - focus(sign)) ** 2 + imaginary**2,
            ((RADIUS + BETA / RADIUS + sign * 2 * ROOT * sp.cos(PHI)) / (1 - BETA)) ** 2,
            ranges=OUTSIDE,
            formula=rf"|x - f_{'+' if sign > 0 else '-'}|^2 = \left(\tfrac{{\rho + b^2/\rho {'+' if sign > 0 else '-'} "
            r"2b\cos\varphi}{1-b^2}\right)^2",
        )
        for sign in (1, -1)
    ]
    total = sp.Symbol("sigma", positive=True)
    root = (total + sp.sqrt(total**2 - 4 * BETA)) / 2
    return Derivation(
        "Growth per step in closed form",
        "derived",
        (
            Step(
                "mode",
                "x = ((ρ + b²/ρ)cos φ - 1 - b² + i(ρ - b²/ρ)sin φ)/(1-b²) has the mode z = ρe^{iφ}.",
                ("β₁ = b²", "z² - (1 + β₁ + (1-β₁)x)z + β₁ = 0"),
                zero,
                sp.zeros(2, 1),
                ranges=OUTSIDE,
                formula=r"z = \rho e^{i\varphi}:\quad z^2 - (1 + b^2 + (1-b^2)x)\,z + b^2 = 0",
            ),
            *distances,
            Step(
                "sum-of-distances",
                "So both distances add up to 2σ/(1-b²) with σ = ρ + b²/ρ, whatever φ: equal growth on ellipses.",
                ("ρ ≥ b",),
                (1 - BETA)
                / 2
                * sum((RADIUS + BETA / RADIUS + s * 2 * ROOT * sp.cos(PHI)) / (1 - BETA) for s in (1, -1)),
                RADIUS + BETA / RADIUS,
                ranges=OUTSIDE,
                formula=r"\sigma = \tfrac{1-b^2}{2}\left(|x - f_+| + |x - f_-|\right) = \rho + \tfrac{b^2}{\rho}",
            ),
            Step(
                "radius",
                "ρ = (σ + √(σ² - 4b²))/2 is the larger root of ρ + b²/ρ = σ.",
                ("σ ≥ 2b",),
                root + BETA / root,
                total,
                ranges={ROOT: (0.05, 0.5), total: (1.5, 3)},
            ),
            Step(
                "ellipse",
                "At ρ = 1 the point x lies on ((Re x + α)/α)² + (Im x)² = 1, α = (1+b²)/(1-b²): within it is the "
                "stable set.",
                ("ρ = 1",),
                ((real.subs(RADIUS, 1) + ALPHA) / ALPHA) ** 2 + imaginary.subs(RADIUS, 1) ** 2,
                sp.Integer(1),
                ranges=BELOW_ONE,
                formula=r"\left(\tfrac{\mathrm{Re}\,x + \alpha}{\alpha}\right)^2 + (\mathrm{Im}\,x)^2 = 1,\quad "
                r"\alpha = \tfrac{1+b^2}{1-b^2}",
            ),
            Step(
                "gradient-descent",
                "Without momentum, b = 0, both foci are -1 and the growth is σ = |1 + x|.",
                ("b → 0",),
                sp.Matrix([focus(1), focus(-1)]).subs(ROOT, 0),
                sp.Matrix([-1, -1]),
                formula=r"b = 0:\quad f_+ = f_- = -1,\quad \rho = \sigma = |1 + x|",
            ),
        ),
    )


def _certificate() -> Derivation:
    matrix = sp.Matrix(2, 2, sp.symbols("B_1:5", real=True))
    vector = sp.Matrix(sp.symbols("v_1:3", real=True))
    lagrange = sum((matrix[i, 0] * vector[1] - matrix[i, 1] * vector[0]) ** 2 for i in (0, 1))
    image = matrix * vector
    alpha = ALPHA.subs(ROOT, 3 / sp.sqrt(10))
    outside = ((-sp.Rational(1, 10) + alpha) / alpha) ** 2 + sp.Rational(1, 5) ** 2
    return Derivation(
        "A certificate from a norm",
        "derived",
        (
            Step(
                "frobenius",
                "‖Bv‖ ≤ ‖B‖_F‖v‖: an eigenvalue x of hB has |x| ≤ δ = h‖B‖_F.",
                ("two rows",),
                sum(entry**2 for entry in matrix) * vector.dot(vector),
                image.dot(image),
                relation=">=",
                witness=lagrange,
            ),
            Step(
                "largest-on-a-circle",
                "Of all x = δe^{iφ} the distance to a focus -F is largest at φ = 0, x = +δ: so ρ(x) ≤ ρ(δ), and the "
                "closed form "
                "at +δ bounds every mode that was split off.",
                ("f = -F < 0 for both foci",),
                (FOCUS + DELTA) ** 2,
                (DELTA * sp.cos(PHI) + FOCUS) ** 2 + (DELTA * sp.sin(PHI)) ** 2,
                relation=">=",
                witness=4 * DELTA * FOCUS * sp.sin(PHI / 2) ** 2,
            ),
            Step(
                "real-part-is-not-enough",
                "A bound on Re x is no certificate: x = ξ + iυ with ξ < 0 leaves the ellipse once υ² > 1 - (ξ + "
                "α)²/α², "
                "as -1/10 + i/5 does at b² = 9/10, where the left side is 1.0294….",
                ("α = (1+b²)/(1-b²)", "ξ = -1/10, υ = 1/5, b² = 9/10"),
                outside,
                sp.Integer(1),
                relation=">",
                witness=sp.Rational(213, 7220),
                formula=r"\left(\tfrac{\xi + \alpha}{\alpha}\right)^2 + \upsilon^2 = "
                r"\left(\tfrac{189}{190}\right)^2 + \tfrac{1}{25} > 1",
            ),
            Step(
                "momentum-helps",
                "For Re x = -p < 0 momentum admits the larger step size 2pα/(p² + α²q²) instead of 2p/(p² + q²) "
                "exactly when "
                "p² > αq²: it helps real modes and harms rotating ones.",
                ("α = (1+b²)/(1-b²)", "Im x = q"),
                2 * REAL * ALPHA / (REAL**2 + ALPHA**2 * IMAGINARY**2) - 2 * REAL / (REAL**2 + IMAGINARY**2),
                2
                * REAL
                * (ALPHA - 1)
                * (REAL**2 - ALPHA * IMAGINARY**2)
                / ((REAL**2 + ALPHA**2 * IMAGINARY**2) * (REAL**2 + IMAGINARY**2)),
                ranges={**BELOW_ONE, REAL: (0.5, 2), IMAGINARY: (0.5, 2)},
                formula=r"\tfrac{2p\alpha}{p^2 + \alpha^2q^2} - \tfrac{2p}{p^2 + q^2} = "
                r"\tfrac{2p(\alpha-1)(p^2 - \alpha q^2)}{(p^2 + \alpha^2q^2)(p^2 + q^2)}",
            ),
        ),
    )


DERIVATIONS = (_radius(), _certificate())
