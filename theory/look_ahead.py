r"""The look-ahead along an optimiser's drift: when it is exact, how late it comes, and the accelerated time.

Once every coordinate's step m̂/(√v̂+ε) is constant the parameters move along a line at constant speed, and the step at
which |Q| passes a bound is that of the line. While steps grow by the share σ each, the line is too slow.

Under gradient descent on the ray there is more: the law itself reaches the bound in closed form.

Source: derived; the laws are those of `theory.sgd_growth` and `theory.discrete_time`.
"""

import sympy as sp

from theory.derivation import Derivation, Step
from theory.discrete_time import factor, next_rate, step_count
from theory.self_similar_ray import L
from theory.sgd_growth import EXPONENT, POWER, RATE

SIGMA, STEPS, WINDOW, CROSSING, DISTANCE = sp.symbols("sigma k W k_b s", positive=True)
MOMENT, ROOT, EPSILON, LR = sp.symbols("m v epsilon alpha", positive=True)
_P = sp.Symbol("p", positive=True)
RATIO, REACH = sp.symbols("Q d", positive=True)
"""Q_b/Q_0, the growth up to the bound; d, steps of the line up to it."""


def travelled(steps: sp.Expr = STEPS, sigma: sp.Expr = SIGMA) -> sp.Expr:
    """Way after some steps, in steps of the present speed, which grows by σ a step: k + σk²/2."""
    return steps + sigma * steps**2 / 2


def plain_crossing(steps: sp.Expr = STEPS, sigma: sp.Expr = SIGMA, window: sp.Expr = WINDOW) -> sp.Expr:
    """What the line along the mean step of the last W says when the crossing is k steps away."""
    return travelled(steps, sigma) / (1 - sigma * window / 2)


def accelerated(crossing: sp.Expr = CROSSING, sigma: sp.Expr = SIGMA, window: sp.Expr = WINDOW) -> sp.Expr:
    """(√(1 + 2σs) - 1)/σ, s = k_b(1 - σW/2)."""
    return (sp.sqrt(1 + 2 * sigma * crossing * (1 - sigma * window / 2)) - 1) / sigma


def steps_to_bound(ratio: sp.Expr = RATIO, rate: sp.Expr = RATE) -> sp.Expr:
    """Steps of gradient descent on the ray until Q has grown by a ratio: (1 - r^-p)/(px) + (2L-1)/(2L)·ln r."""
    return (1 - ratio**-EXPONENT) / (EXPONENT * rate) + (2 * L - 1) / (2 * L) * sp.log(ratio)


def drift_steps(reach: sp.Expr = REACH, rate: sp.Expr = RATE) -> sp.Expr:
    """Steps of the law until the line along the drift, d steps long, is travelled: (1 - (1 + dx/L)^-m)L/(mx)."""
    return (1 - (1 + reach * rate / L) ** -POWER) * L / (POWER * rate)


def _line() -> Derivation:
    start, other = sp.symbols("theta_1 theta_2", real=True)
    speeds = sp.Matrix([MOMENT / (sp.sqrt(ROOT) + EPSILON)] * 2)
    weights = sp.Matrix([start, other])
    first = sp.Symbol("j", positive=True)
    now, before = sp.symbols("d_1 d_2", positive=True)
    late = plain_crossing() / STEPS
    flat = sp.Limit(accelerated(), SIGMA, 0, "+")
    grown = now * sp.exp(-SIGMA * WINDOW)
    return Derivation(
        "The line along the drift",
        "derived",
        (
            Step(
                "exact",
                "With m/(√v+ε) constant in every coordinate, θ after j + k steps is θ after j steps plus k/W times the "
                "displacement of the last W: the line is exact.",
                ("m̂/(√v̂+ε) constant over window and horizon",),
                weights - LR * (first + STEPS) * speeds,
                weights
                - LR * first * speeds
                + STEPS / WINDOW * ((weights - LR * first * speeds) - (weights - LR * (first - WINDOW) * speeds)),
                formula=r"\theta_{j+k} = \theta_j + \tfrac{k}{W}\left(\theta_j - \theta_{j-W}\right)",
            ),
            Step(
                "lateness",
                "When steps grow by σ each, the line's crossing over the true k is 1 + σ(k+W)/2 to first order.",
                ("the window's mean speed is 1 - σW/2 of the present one",),
                late.diff(SIGMA).subs(SIGMA, 0),
                (STEPS + WINDOW) / 2,
                formula=r"\left.\tfrac{\mathrm{d}}{\mathrm{d}\sigma}\,\tfrac{k + \sigma k^2/2}{k\,(1 - \sigma "
                r"W/2)}\right|_{\sigma=0} = "
                r"\tfrac{k + W}{2}",
            ),
            Step(
                "accelerated",
                "k = (√(1 + 2σs) - 1)/σ with s = k_b(1 - σW/2), k_b the line's crossing, undoes that: k + σk²/2 = s.",
                ("1 + 2σs ≥ 0; else the bound is never reached",),
                travelled(accelerated()),
                CROSSING * (1 - SIGMA * WINDOW / 2),
                ranges={SIGMA: (0.01, 0.05), WINDOW: (1, 10), CROSSING: (5, 50)},
            ),
            Step(
                "no-acceleration",
                "For σ → 0 it is k_b.",
                ("σ → 0",),
                flat.doit(),
                CROSSING,
                shown=flat,
            ),
            Step(
                "sigma",
                "σ = ln(d_1·d_1/(d_1·d_2))/W of two windows' mean displacements: steps that grow as e^{σ} give it "
                "back.",
                ("d_2 = d_1 e^{-σW}, the window before",),
                sp.expand_log(sp.log(now * now / (now * grown)), force=True) / WINDOW,
                SIGMA,
                shown=sp.Subs(sp.log(now * now / (now * before)) / WINDOW, before, grown),
            ),
        ),
    )


def _descent() -> Derivation:
    end = RATE * RATIO**EXPONENT
    size = 1 + REACH * RATE / L
    shallow = sp.Limit(_shallow(), _P, 0, "+")
    return Derivation(
        "Steps of gradient descent to a bound",
        "derived",
        (
            Step(
                "bound",
                "Until Q has grown by r = Q the count is (1 - r^-p)/(px) + (2L-1)/(2L)·ln r: the step count of the "
                "ray from x to "
                "x·r^p.",
                ("on the ray", "x·r^p far below 1"),
                step_count(1 / RATE, 1 / end),
                steps_to_bound(),
                formula=r"\tfrac{1}{p}\left(\tfrac1x - \tfrac{1}{x r^p}\right) + \tfrac{m+1}{2m}\ln r^p = "
                r"\tfrac{1 - r^{-p}}{px} + \tfrac{2L-1}{2L}\ln r",
            ),
            Step(
                "bound-shallow",
                "For L → 1, where p → 0, it is ln(r)·(1/x + 1/2), r = Q: an exponential.",
                ("p → 0",),
                shallow.doit(),
                sp.log(RATIO) * (1 / RATE + sp.Rational(1, 2)),
                shown=shallow,
            ),
            Step(
                "recursion",
                "Where x·r^p is not small the recursion x ← x(1 + x/L)^{2L-2} counts, Q growing by (1 + x/L)^L: "
                "Q^p/x stays what it is.",
                ("on the ray", "Q here the growth (1 + x/L)^L of one step"),
                (factor(RATE) ** L) ** EXPONENT / next_rate(RATE),
                1 / RATE,
                formula=r"\tfrac{\left((1 + x/L)^L\right)^p}{x\,(1 + x/L)^{2L-2}} = \tfrac1x",
            ),
            Step(
                "along-the-drift",
                "A line along the drift that crosses after d steps has a = 1 + dx/L there, and the flow a' = "
                "(x/L)a^{2L-1} needs "
                "(1 - (1 + dx/L)^{-m})L/(mx) steps for it: its derivative by d is 1/a^{2L-1}.",
                ("on the ray", "m = 2L-2", "a = 1 at the reading"),
                drift_steps().diff(REACH),
                size ** (-(2 * L - 1)),
                formula=r"\tfrac{\mathrm{d}}{\mathrm{d}d}\left(1 - (1 + dx/L)^{-m}\right)\tfrac{L}{mx} = (1 + "
                r"dx/L)^{-(2L-1)}",
            ),
            Step(
                "drift-is-the-law",
                "At Q = (1 + dx/L)^L it is the law's own time (1 - Q^{-p})/(px).",
                ("p = (2L-2)/L", "m = 2L-2"),
                (1 - (size**L) ** -EXPONENT) / (EXPONENT * RATE),
                drift_steps(),
                shown=sp.Subs((1 - RATIO**-EXPONENT) / (EXPONENT * RATE), RATIO, size**L),
            ),
        ),
    )


def _shallow() -> sp.Expr:
    """`steps_to_bound` in p: L = 2/(2-p), so that (2L-1)/(2L) is (2+p)/4."""
    return (1 - RATIO**-_P) / (_P * RATE) + (2 + _P) / 4 * sp.log(RATIO)


DERIVATIONS = (_line(), _descent())
