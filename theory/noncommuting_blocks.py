r"""Averaged targets when the blocks do not commute: a slow target can stabilise, but only on an interval of step sizes.

The example has two rows and two parameters, Φ = [[-2, 1], [-1, 1]], Φ* = [[-2, 3], [-1, 1]], γ = 9/10, so that
G = ΦΦᵀ and G* = γΦ*Φᵀ share no eigenvector. A = G* - G has two positive eigenvalues: with copied targets the TD error
grows at every step size. Its modes under gradient descent of step size η with a target averaged at the rate τ are the
roots of

    P(z) = det[(z-1)(z-1+τ)I - η(τzG* - (z-1+τ)G)],

and z = (1 + w)/(1 - w) turns |z| < 1 into Re w < 0, where Hurwitz's conditions are polynomials in η and τ.

Source: derived; the paper leaves target networks out (printed: its limits).
"""

import sympy as sp

from theory.derivation import Derivation, Step

Z, SHIFTED, MU = sp.symbols("z w mu", real=True)
ETA, TAU, RATIO = sp.symbols("eta tau s", positive=True)
PHI = sp.Matrix([[-2, 1], [-1, 1]])
PHI_NEXT = sp.Matrix([[-2, 3], [-1, 1]])
DISCOUNT = sp.Rational(9, 10)
GRAM = PHI * PHI.T
BOOTSTRAP = DISCOUNT * PHI_NEXT * PHI.T
IDENTITY = sp.eye(2)
SLOW = {ETA: sp.Rational(1, 100), TAU: sp.Rational(1, 100)}


def step_matrix() -> sp.MatrixBase:
    """The step as a map of (a, c), θ - θ_∞ = Φᵀa and its target's Φᵀc: a ← a - ηu, c ← (1-τ)c + τa, u = Ga - G*c."""
    moved = sp.Matrix.hstack(IDENTITY - ETA * GRAM, ETA * BOOTSTRAP)
    return sp.Matrix.vstack(moved, sp.Matrix.hstack(0 * IDENTITY, (1 - TAU) * IDENTITY) + TAU * moved)


def characteristic() -> sp.Expr:
    """P(z)."""
    return ((Z - 1) * (Z - 1 + TAU) * IDENTITY - ETA * (TAU * Z * BOOTSTRAP - (Z - 1 + TAU) * GRAM)).det()


def flow() -> sp.Expr:
    """Its limit for small steps, in the rate μ per step."""
    return (MU * (MU + TAU) * IDENTITY - ETA * (TAU * BOOTSTRAP - (MU + TAU) * GRAM)).det()


def coefficients(polynomial: sp.Expr, variable: sp.Symbol) -> list[sp.Expr]:
    """Coefficients, the highest power first."""
    return sp.Poly(sp.expand(polynomial), variable).all_coeffs()


def on_the_left() -> sp.Expr:
    """(1 - w)⁴ P((1 + w)/(1 - w)), a polynomial in w."""
    terms = enumerate(reversed(coefficients(characteristic(), Z)))
    return sp.expand(sum(c * (1 + SHIFTED) ** k * (1 - SHIFTED) ** (4 - k) for k, c in terms))


def hurwitz(quartic: list[sp.Expr]) -> sp.Expr:
    """c_3c_2c_1 - c_4c_1² - c_3²c_0: positive, with all coefficients, exactly where all four roots have Re < 0."""
    c4, c3, c2, c1, c0 = quartic
    return sp.expand(c3 * c2 * c1 - c4 * c1**2 - c3**2 * c0)


def _steps() -> tuple[Step, ...]:
    shifted = coefficients(on_the_left(), SHIFTED)
    rates = coefficients(flow(), MU)
    a = sp.Rational(11, 20)
    five = 3 * sp.sqrt(5) / 20
    ratio_polynomial = 1400 * RATIO**4 + 6559 * RATIO**3 - 1095 * RATIO**2 - 1865 * RATIO - 220
    resonant = 181 * ETA**5 * TAU**5 - 924 * ETA**5 * TAU**4 + 1886 * ETA**5 * TAU**3 - 1924 * ETA**5 * TAU**2
    resonant += 981 * ETA**5 * TAU - 200 * ETA**5 - 2424 * ETA**4 * TAU**5 + 10876 * ETA**4 * TAU**4
    resonant += -19484 * ETA**4 * TAU**3 + 17436 * ETA**4 * TAU**2 - 7804 * ETA**4 * TAU + 1400 * ETA**4
    resonant += 7691 * ETA**3 * TAU**5 - 30115 * ETA**3 * TAU**4 + 43716 * ETA**3 * TAU**3 - 27851 * ETA**3 * TAU**2
    resonant += 6559 * ETA**3 * TAU + 3076 * ETA**2 * TAU**5 - 7467 * ETA**2 * TAU**4 + 5486 * ETA**2 * TAU**3
    resonant += -1095 * ETA**2 * TAU**2 - 1359 * ETA * TAU**5 + 3205 * ETA * TAU**4 - 1865 * ETA * TAU**3
    resonant += 110 * TAU**5 - 220 * TAU**4
    return (
        Step(
            "commutator",
            "G and G* do not commute.",
            ("Φ = [[-2, 1], [-1, 1]]", "Φ* = [[-2, 3], [-1, 1]]", "γ = 9/10"),
            GRAM * BOOTSTRAP - BOOTSTRAP * GRAM,
            sp.Matrix([[-1, 0], [1, 1]]) * sp.Rational(27, 5),
            formula=r"G G^* - G^* G = \tfrac{27}{5}\begin{pmatrix}-1 & 0\\ 1 & 1\end{pmatrix},\quad "
            r"G = \begin{pmatrix}5 & 3\\ 3 & 2\end{pmatrix},\ G^* = \tfrac{9}{10}\begin{pmatrix}7 & 5\\ 3 & "
            r"2\end{pmatrix}",
        ),
        Step(
            "copied",
            "A = G* - G has the eigenvalues z = (11 ± 3√5)/20 = .885… and .215…: with copied targets two real modes "
            "grow.",
            (),
            (BOOTSTRAP - GRAM - Z * IDENTITY).det(),
            (Z - a - five) * (Z - a + five),
            shown=sp.Determinant(BOOTSTRAP - GRAM - Z * IDENTITY),
        ),
        Step(
            "characteristic",
            "One step of critic and target has the characteristic polynomial P(z), with step size η and rate τ.",
            ("critic step, then target step",),
            (step_matrix() - Z * sp.eye(4)).det(method="berkowitz"),
            characteristic(),
            formula=r"\det\begin{pmatrix}(1 - z)I - \eta G & \eta G^*\\ \tau(I - \eta G) & "
            r"(1 - \tau - z)I + \tau\eta G^*\end{pmatrix} = "
            r"\det\left[(z-1)(z-1+\tau)I - \eta\left(\tau z G^* - (z-1+\tau)G\right)\right]",
        ),
        Step(
            "flow-slope",
            "For small steps the rates μ are the roots of a quartic whose linear coefficient is 2ητ(η - 11τ/20): for "
            "η < 11τ/20 it is negative, and a mode grows, however slow the target.",
            ("Hurwitz: all roots of a quartic have Re < 0 only if all its coefficients are positive",),
            rates[3],
            2 * ETA * TAU * (ETA - a * TAU),
            shown=sp.Subs(sp.Derivative(flow(), MU), MU, 0),
        ),
        Step(
            "flow-pair",
            "The last of Hurwitz's conditions depends on η/τ = s alone, up to τ⁶: the pair is stable above its root "
            "s = .6247….",
            ("small steps",),
            hurwitz(rates).subs(ETA, RATIO * TAU),
            RATIO * TAU**6 * ratio_polynomial / 100,
            formula=r"c_3c_2c_1 - c_1^2 - c_3^2c_0 = \tfrac{s\tau^6}{100}\left(1400s^4 + 6559s^3 - 1095s^2 - 1865s - "
            r"220\right),\quad \eta = s\tau",
        ),
        Step(
            "pair",
            "Of the iteration itself, in w, that condition is a polynomial in η and τ; at τ = 1/100 it changes sign at "
            "η = .006312…: below, a pair grows, and above it shrinks.",
            ("z = (1 + w)/(1 - w)",),
            hurwitz(shifted),
            16 * ETA * TAU * resonant / 25,
            formula=r"c_3c_2c_1 - c_4c_1^2 - c_3^2c_0 = \tfrac{16}{25}\eta\tau\left(110\tau^5 - 220\tau^4 + "
            r"\dots - 200\eta^5\right)",
        ),
        Step(
            "overshoot",
            "At z = -1 the step overshoots: P(-1) = 0 at η = .293577… for τ = 1/100, the upper end of the interval.",
            (),
            characteristic().subs(Z, -1),
            (
                19 * ETA**2 * TAU**2
                - 400 * ETA**2 * (TAU - 1)
                - 3020 * ETA * TAU**2
                + 8840 * ETA * TAU
                - 5600 * ETA
                + 400 * (TAU - 2) ** 2
            )
            / 100,
            shown=sp.Determinant(2 * (2 - TAU) * IDENTITY + ETA * (TAU * BOOTSTRAP - (2 - TAU) * GRAM)),
        ),
        Step(
            "excitation",
            "P(1) = η²τ² det(G - G*) > 0: no real mode passes z = 1 at any η or τ, since A is not singular.",
            (),
            characteristic().subs(Z, 1),
            sp.Integer(0),
            relation=">",
            witness=sp.Rational(19, 100) * ETA**2 * TAU**2,
        ),
    )


def held_matrix(copied_every: int, gram: sp.MatrixBase = GRAM, bootstrap: sp.MatrixBase = BOOTSTRAP) -> sp.MatrixBase:
    """I + ηA Σ_j (I - ηG)^j, j below k: what k steps with the target held, then copied, do to u."""
    held = sum(((IDENTITY - ETA * gram) ** j for j in range(copied_every)), 0 * IDENTITY)
    return IDENTITY + ETA * (bootstrap - gram) * held


def _copied() -> Derivation:
    gram, bootstrap = (sp.Matrix(2, 2, sp.symbols(f"{name}_1:5", real=True)) for name in ("G", "G^*"))
    error = sp.Matrix(sp.symbols("u_1 u_2", real=True))

    def rolled(copied_every: int) -> sp.MatrixBase:
        moved, now = 0 * error, error
        for _ in range(copied_every):
            moved = moved - ETA * now
            now = error + gram * moved
        return error + (gram - bootstrap) * moved

    steps = tuple(
        Step(
            f"copied-every-{k}",
            f"A target held for {k} steps and copied then, k = {k}: u becomes (I + ηA Σ_j(I - ηG)^j)u, j below k, "
            "A = G* - G.",
            (f"k = {k}",),
            rolled(k),
            held_matrix(k, gram, bootstrap) * error,
            formula=rf"k = {k}:\quad u \mapsto \left(I + \eta A\sum_{{j<{k}}}(I - \eta G)^j\right)u",
        )
        for k in (1, 2, 3)
    )
    return Derivation("A target that is copied every k steps", "derived", steps)


DERIVATIONS = (Derivation("A slow target and blocks that do not commute", "derived", _steps()), _copied())
