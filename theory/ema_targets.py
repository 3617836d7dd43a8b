r"""Slowly moving targets: mode equation, thresholds, and the exponential that replaces the blow-up.

The target's parameters follow :math:`\dot\theta^- = \tau(\theta - \theta^-)` (per step: after the critic's step,
:math:`\theta^- \leftarrow \theta^- + \tau(\theta - \theta^-)`). Linearised around a critic with Jacobians Φ and
Φ* = γ(1-d)Φ(X*), then on the homogeneous ray with critic scale a and target scale b.

Source: derived; the paper leaves target networks out (printed: its limits).
"""

import sympy as sp

from theory.derivation import Derivation, Step
from theory.self_similar_ray import DEPTH_LESS_ONE, ETA, L
from theory.sgd_growth import POWER

TAU, GRAM, BOOTSTRAP, RATIO, SCALE, TARGET = sp.symbols("tau g g^* rho a b", positive=True)
MU = sp.Symbol("mu", positive=True)
OMEGA = sp.Symbol("omega", positive=True)
PHI = sp.Matrix(2, 3, sp.symbols("Phi_1:7", real=True))
PHI_NEXT = sp.Matrix(2, 3, sp.symbols("Phi^*_1:7", real=True))
DELTA = sp.Matrix(sp.symbols("delta_1:4", real=True))


def mode_matrix(mu: sp.Expr = MU) -> sp.MatrixBase:
    """η[τ/(μ+τ) G(X*, X) - G(X, X)], the bootstrap block with γ and the mask in it."""
    return ETA * (TAU / (mu + TAU) * PHI_NEXT - PHI) * PHI.T


def characteristic(mu: sp.Expr, eta_gram: sp.Expr, eta_bootstrap: sp.Expr) -> sp.Expr:
    """(μ + ηg)(μ + τ) - ητg* of one real mode: its roots are the growth rates."""
    return (mu + eta_gram) * (mu + TAU) - TAU * eta_bootstrap


def mode_rate(eta_gram: sp.Expr, eta_bootstrap: sp.Expr) -> sp.Expr:
    """The larger root of `characteristic`."""
    half = (TAU + eta_gram) / 2
    return -half + sp.sqrt(half**2 + TAU * (eta_bootstrap - eta_gram))


def growth_rate(ratio: sp.Expr, depth: sp.Expr = L) -> sp.Expr:
    """Growth of ln Q per step once the critic has caught up: L ln(1 + τ(ρ - 1)), ρ = ratio^(1/L)."""
    return depth * sp.log(1 + TAU * (ratio ** (1 / depth) - 1))


def _modes() -> Derivation:
    lag = TAU / (MU + TAU) * DELTA
    error = PHI * DELTA - PHI_NEXT * lag
    gram, bootstrap = ETA * GRAM, ETA * BOOTSTRAP
    root = mode_rate(gram, bootstrap)
    error_now = sp.Matrix(sp.symbols("u_1 u_2", real=True))
    online = sp.Matrix(sp.symbols("v_1:4", real=True))
    online_target = sp.Matrix(sp.symbols("z_1:4", real=True))
    stepped = online - ETA * PHI.T * error_now
    target_stepped = online_target + TAU * (stepped - online_target)
    u_of = PHI * online - PHI_NEXT * online_target
    w_of = PHI_NEXT * (online - online_target)
    moved_u = PHI * stepped - PHI_NEXT * target_stepped
    moved_w = PHI_NEXT * (stepped - target_stepped)
    kernel, kernel_next = PHI * PHI.T, PHI_NEXT * PHI.T
    drive = ETA * kernel_next * error_now
    return Derivation(
        "Mode equation with an EMA target",
        "derived",
        (
            Step(
                "target-lag",
                "In a mode e^{μt} the target lags by the factor τ/(μ+τ).",
                ("θ̇⁻ = τ(θ - θ⁻)",),
                MU * lag,
                TAU * (DELTA - lag),
            ),
            Step(
                "mode",
                "The mode's TD error is driven by η[τ/(μ+τ)G(X*,X) - G(X,X)]: μ must be one of its eigenvalues.",
                ("θ̇ = -ηΦᵀu",),
                (PHI - TAU / (MU + TAU) * PHI_NEXT) * (-ETA * PHI.T * error),
                mode_matrix() * error,
            ),
            Step(
                "threshold",
                "At μ = 0 that matrix is ηA: a real mode passes zero only where A is singular, as with a copied "
                "target. "
                "Blocks that do not commute can merge two real modes into a pair first (theory.noncommuting_blocks).",
                (),
                mode_matrix(sp.Integer(0)),
                ETA * (PHI_NEXT - PHI) * PHI.T,
                formula=r"\left.\eta\left[\tfrac{\tau}{\mu+\tau}\,G(X^*, X) - G(X, X)\right]\right|_{\mu=0} = \eta A",
            ),
            Step(
                "root",
                "One real mode: μ solves (μ + ηg)(μ + τ) = ητg*.",
                ("G and G* commute: an eigenvector common to both, with eigenvalues g and g*",),
                characteristic(root, gram, bootstrap),
                sp.Integer(0),
            ),
            Step(
                "slower",
                "A growing mode obeys ηλ - μ = μ(μ + ηg)/τ > 0: it is slower than with a copied target.",
                ("G and G* commute", "g* solves the mode equation for μ > 0", "λ = g* - g"),
                (MU + gram) * (MU + TAU) / TAU - gram,
                MU,
                relation=">",
                witness=MU * (MU + gram) / TAU,
            ),
            Step(
                "copied",
                "τ → ∞ recovers μ = ηλ.",
                (),
                ETA * (BOOTSTRAP - GRAM),
                sp.limit(root, TAU, sp.oo),
                shown=sp.Limit(root, TAU, sp.oo),
            ),
            Step(
                "discrete-error",
                "Step by step, with w = Φ*(θ - θ⁻): u ← u - ηGu - τ(w - ηG*u).",
                ("critic step, then target step",),
                moved_u,
                u_of - ETA * kernel * error_now - TAU * (w_of - drive),
            ),
            Step(
                "discrete-lag",
                "and w ← (1-τ)(w - ηG*u).",
                ("critic step, then target step",),
                moved_w,
                (1 - TAU) * (w_of - drive),
            ),
            Step(
                "discrete-copied",
                "From a target without lag u ← (I + ηA)u - (1-τ)ηG*u: with τ = 1 the iteration of a copied target.",
                ("w = 0", "critic step, then target step"),
                moved_u.subs(dict(zip(online_target, online, strict=True)), simultaneous=True),
                (PHI - PHI_NEXT) * online
                + ETA * (kernel_next - kernel) * error_now
                - (1 - TAU) * ETA * kernel_next * error_now,
                formula=r"w = 0:\quad u \mapsto (I + \eta A)\,u - (1-\tau)\,\eta\,G^* u,\quad A = G^* - G",
            ),
        ),
    )


def _complex_crossing() -> Derivation:
    gram = ETA * GRAM
    # R² from both parts of (iω + ηg)(iω + τ) = ητR e^{iφ}: the crossing, parametrised by ω.
    real, imaginary = gram * TAU - OMEGA**2, OMEGA * (TAU + gram)
    cosine, sine = real / (ETA * TAU), imaginary / (ETA * TAU)
    return Derivation(
        "Complex crossings move",
        "derived",
        (
            Step(
                "crossing-real",
                "At a crossing μ = iω the real part of the mode equation gives R cos φ = g - ω²/(ητ) …",
                ("γG* has the eigenvalue Re^{iφ} on a block with G = gI",),
                sp.re(sp.expand((sp.I * OMEGA + gram) * (sp.I * OMEGA + TAU))),
                ETA * TAU * cosine,
                formula=r"\mathrm{Re}\,(i\omega + \eta g)(i\omega + \tau) = \eta\tau R\cos\varphi,\quad "
                r"R\cos\varphi = g - \tfrac{\omega^2}{\eta\tau}",
            ),
            Step(
                "crossing-imaginary",
                "… and the imaginary part R sin φ = ω(τ + ηg)/(ητ).",
                (),
                sp.im(sp.expand((sp.I * OMEGA + gram) * (sp.I * OMEGA + TAU))),
                ETA * TAU * sine,
            ),
            Step(
                "earlier",
                "There Re λ(A) = R cos φ - g = -ητ(R sin φ)²/(τ + ηg)²: a complex pair turns unstable while SEEM is "
                "still negative.",
                (),
                cosine - GRAM,
                -ETA * TAU * (sine / (TAU + gram)) ** 2,
            ),
            Step(
                "largest-shift",
                "The shift vanishes as τ → 0 and as τ → ∞ and is largest at τ = ηg.",
                (),
                (TAU / (TAU + gram) ** 2).diff(TAU),
                (gram - TAU) / (TAU + gram) ** 3,
            ),
        ),
    )


def flow(critic: sp.Expr, target: sp.Expr, bootstrap: sp.Expr = BOOTSTRAP) -> sp.Expr:
    """ȧ of the scalar ray model, η a^(L-1)(g* b^L - g a^L)."""
    return ETA * critic ** (L - 1) * (bootstrap * target**L - GRAM * critic**L)


def _ray() -> Derivation:
    following = GRAM * RATIO**L
    slope = flow(RATIO * TARGET, TARGET, following)
    caught_up = sp.log(1 + TAU * (RATIO - 1))
    small = growth_rate(RATIO**L)
    stiffness = ETA * L * GRAM * SCALE**POWER
    target_slope = sp.diff(flow(SCALE, TARGET, following), SCALE).subs(TARGET, SCALE / RATIO)
    return Derivation(
        "EMA target on the homogeneous ray",
        "derived",
        (
            Step(
                "copied-ray",
                "With b = a the model is the SGD law, ȧ = η(g* - g)a^(2L-1).",
                ("target copied",),
                flow(SCALE, SCALE),
                ETA * (BOOTSTRAP - GRAM) * SCALE ** (2 * L - 1),
            ),
            Step(
                "caught-up",
                "At a = ρb, ρ = (g*/g)^(1/L), the critic fits its target: ȧ = 0.",
                ("g* = gρ^L",),
                slope,
                sp.Integer(0),
            ),
            Step(
                "relaxation",
                "It returns there at the rate ηLg a^(2L-2), which outgrows τ as a grows.",
                ("g* = gρ^L", "b = a/ρ"),
                target_slope,
                -stiffness,
            ),
            Step(
                "target-growth",
                "Then b is multiplied by 1 + τ(ρ-1) a step, in continuous time ḃ = τ(ρ-1)b: η has dropped out.",
                ("a = ρb",),
                TARGET + TAU * (RATIO * TARGET - TARGET),
                TARGET * sp.exp(caught_up),
            ),
            Step(
                "q-growth",
                "Q ∝ a^L: ln Q grows by L ln(1 + τ(ρ-1)) a step.",
                ("Q*/Q = ρ^L",),
                small,
                L * caught_up,
                formula=r"\tfrac{\mathrm{d}}{\mathrm{d}t}\ln Q = L\ln\left(1 + \tau\left((Q^*/Q)^{1/L} - "
                r"1\right)\right) = L\ln(1 + \tau(\rho - 1))",
            ),
            Step(
                "q-growth-small",
                "For small τ that is Lτ(ρ-1).",
                ("τ ≪ 1",),
                L * caught_up.diff(TAU).subs(TAU, 0),
                L * (RATIO - 1),
                shown=sp.Subs(sp.Derivative(L * caught_up, TAU), TAU, 0),
            ),
            Step(
                "linear-agrees",
                "At L = 1 and ηg ≫ τ the mode equation gives the same rate, τ(g*/g - 1).",
                ("L = 1",),
                TAU * (BOOTSTRAP / GRAM - 1),
                sp.limit(mode_rate(ETA * GRAM, ETA * BOOTSTRAP), ETA, sp.oo),
                shown=sp.Limit(mode_rate(ETA * GRAM, ETA * BOOTSTRAP), ETA, sp.oo),
            ),
            Step(
                "span",
                "From ηLg a^m = τ, where the critic catches up, to 2, where it overshoots, Q grows (2/τ)^(1/p)-fold.",
                (),
                ((2 / (ETA * L * GRAM)) ** (1 / POWER) / (TAU / (ETA * L * GRAM)) ** (1 / POWER)) ** L,
                (2 / TAU) ** (L / (2 * DEPTH_LESS_ONE)),
            ),
        ),
    )


DERIVATIONS = (_modes(), _complex_crossing(), _ray())
