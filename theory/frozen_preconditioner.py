r"""What freezing Adam's second moment costs, and what comes after it: exponential, hand-over, power law.

A roll-out holds v̂ at its present value while the gradient grows. With v̂ = 1 at the reading, w = (1-β₂)/(1-β₂^{t+1}) and
ρ² the mean of g²/v̂ there, the true growth of ln‖u‖, y(k) after k steps, follows y' = x/√v̂ with v̂' = w(ρ²e^{2y} - v̂).

Source: derived; the powers of the paper's Adam theorem (recalled) are the last stage.
"""

import sympy as sp

from theory.derivation import Derivation, Step
from theory.self_similar_ray import L

RATE, GAIN, MEAN = sp.symbols("x w rho", positive=True)
"""x, growth of ln‖u‖ per step; w, what a step adds to v̂; ρ, root mean square of g/√v̂ at the reading."""
HORIZON, STEPS, GROWN, TIME = sp.symbols("H k y t", positive=True)
BETA_1, BETA_2, MU = sp.symbols("beta_1 beta_2 mu", positive=True)
RAW, SQUARE = sp.symbols("v g", positive=True)
UNIT = {BETA_1: (0.05, 0.9), BETA_2: (0.05, 0.9)}
HAND_OVER = GAIN * MEAN**2 / (4 * RATE)
"""q."""


def gain(time: sp.Expr = TIME, beta: sp.Expr = BETA_2) -> sp.Expr:
    """W = (1-β₂)/(1-β₂^{t+1})."""
    return (1 - beta) / (1 - beta ** (time + 1))


def excess(horizon: sp.Expr = HORIZON) -> sp.Expr:
    """ln(frozen/true) growth after H steps, to first order in w."""
    curve = (sp.exp(2 * RATE * horizon) - 1 - 2 * RATE * horizon) / (4 * RATE**2)
    return GAIN * RATE / 2 * (MEAN**2 * curve - horizon**2 / 2)


def moved(steps: sp.Expr) -> sp.Expr:
    """v̂ - 1 after some steps, to first order in w: w(ρ²(e^{2xs} - 1)/(2x) - s)."""
    return GAIN * (MEAN**2 * (sp.exp(2 * RATE * steps) - 1) / (2 * RATE) - steps)


def steps_to(grown: sp.Expr = GROWN, q: sp.Expr = HAND_OVER) -> sp.Expr:
    """K of the hand-over, [(1-q)y + q(e^{2y} - 1)/2]/x."""
    return ((1 - q) * grown + q / 2 * (sp.exp(2 * grown) - 1)) / RATE


def steady_ratio(mu: sp.Expr = MU) -> sp.Expr:
    """m̂/√v̂ while the gradient grows by e^μ a step."""
    return (1 - BETA_1) / (1 - BETA_1 * sp.exp(-mu)) * sp.sqrt((1 - BETA_2 * sp.exp(-2 * mu)) / (1 - BETA_2))


def _cost() -> Derivation:
    corrected = RAW / (1 - BETA_2**TIME)
    after = (BETA_2 * RAW + (1 - BETA_2) * SQUARE**2) / (1 - BETA_2 ** (TIME + 1))
    s = sp.Symbol("s", positive=True)
    lost = sp.Integral(RATE * moved(s) / 2, (s, 0, HORIZON))
    small = sp.Symbol("epsilon", positive=True)
    first = (RATE / sp.sqrt(1 + small)).diff(small).subs(small, 0)
    early = sp.Limit(gain(), BETA_2, 1, "-")
    return Derivation(
        "The cost of freezing v̂",
        "derived",
        (
            Step(
                "gain",
                "v̂ ← v̂ + w(g² - v̂) with w = (1-β₂)/(1-β₂^{t+1}): a step moves v̂ by w, not by 1-β₂.",
                ("v̂ = v/(1-β₂ᵗ)",),
                after,
                corrected + gain() * (SQUARE**2 - corrected),
                ranges={**UNIT, TIME: (1, 5)},
            ),
            Step(
                "early-gain",
                "While t is far below 1/(1-β₂) that is 1/(t+1): after a tenth of that time v̂ still follows its mean.",
                ("β₂ → 1 at fixed t",),
                early.doit(),
                1 / (TIME + 1),
                shown=early,
            ),
            Step(
                "rate",
                "A v̂ larger by ε slows the growth x/√v̂ by xε/2.",
                ("first order in ε",),
                first,
                -RATE / 2,
                shown=sp.Subs(sp.Derivative(RATE / sp.sqrt(1 + small), small), small, 0),
            ),
            Step(
                "moment",
                "Along e^{xs} the moment obeys dv̂/ds = w(ρ²e^{2xs} - 1) to first order in w, from v̂ = 1.",
                ("y = xs", "first order in w"),
                moved(s).diff(s),
                GAIN * (MEAN**2 * sp.exp(2 * RATE * s) - 1),
                formula=r"\hat v - 1 = w\left(\rho^2\tfrac{e^{2xs} - 1}{2x} - s\right)",
            ),
            Step(
                "excess",
                "So freezing overstates ln growth by (wx/2)[ρ²(e^{2xH} - 1 - 2xH)/(4x²) - H²/2]: with Hw, not with "
                "H(1-β₂), and "
                "with the sign of ρ² - 1 for short H.",
                ("first order in w",),
                lost.doit(),
                excess(),
                shown=lost,
            ),
            Step(
                "excess-short",
                "For small xH the bracket is (ρ² - 1)H²/2.",
                ("H → 0",),
                (excess() / HORIZON**2).series(HORIZON, 0, 1).removeO(),
                GAIN * RATE / 4 * (MEAN**2 - 1),
                formula=r"\lim_{H \to 0}\tfrac{1}{H^2}\cdot\tfrac{wx}{2}[\dots] = \tfrac{wx}{4}(\rho^2 - 1)",
            ),
        ),
    )


def _hand_over() -> Derivation:
    level = 1 - HAND_OVER + HAND_OVER * sp.exp(2 * GROWN)
    takes_over = sp.log(1 + 2 * RATE / (GAIN * MEAN**2)) / (2 * RATE)
    late = sp.Limit(steps_to() * RATE / (HAND_OVER / 2 * sp.exp(2 * GROWN)), GROWN, sp.oo)
    amplitude, power = sp.symbols("A kappa", positive=True)
    ansatz = amplitude * sp.sqrt(TIME)
    degree = 2 * L - 1
    slope = power * ansatz**degree
    collected = GAIN * power**2 * amplitude ** (2 * degree) * TIME ** (degree + 1) / (degree + 1)
    solved = ((degree + 1) / GAIN) ** sp.Rational(1, 2) * 2
    return Derivation(
        "From exponential to power law",
        "derived",
        (
            Step(
                "hand-over",
                "√v̂ = 1 - q + q e^{2y}, q = wρ²/(4x), solves dv̂/dk = wρ²e^{2y} along y' = x/√v̂: no forgetting.",
                ("J frozen", "steps far below 1/w"),
                (level**2).diff(GROWN) * RATE / level,
                GAIN * MEAN**2 * sp.exp(2 * GROWN),
                formula=r"\tfrac{\mathrm{d}\hat v}{\mathrm{d}y}\cdot\tfrac{x}{\sqrt{\hat v}} = w\rho^2 e^{2y},\quad "
                r"\sqrt{\hat v} = 1 - q + q\,e^{2y},\ q = \tfrac{w\rho^2}{4x}",
            ),
            Step(
                "hand-over-time",
                "So y is reached after k = [(1-q)y + q(e^{2y} - 1)/2]/x steps: dk/dy = √v̂/x.",
                ("q = wρ²/(4x)",),
                steps_to().diff(GROWN),
                level / RATE,
                formula=r"\tfrac{\mathrm{d}}{\mathrm{d}y}\,\tfrac{(1-q)y + \tfrac{q}{2}(e^{2y} - 1)}{x} = "
                r"\tfrac{1 - q + q\,e^{2y}}{x}",
            ),
            Step(
                "hand-over-step",
                "The growth is exponential until v̂ has doubled, k = ln(1 + 2x/(wρ²))/(2x) steps: that of 1 + "
                "w(ρ²/2x)(e^{2xk} - 1) = 2.",
                ("first order in w",),
                GAIN * MEAN**2 * (sp.exp(2 * RATE * takes_over) - 1) / (2 * RATE),
                sp.Integer(1),
                shown=sp.Subs(GAIN * MEAN**2 * (sp.exp(2 * RATE * STEPS) - 1) / (2 * RATE), STEPS, takes_over),
            ),
            Step(
                "square-root",
                "Beyond, k is (q/2)e^{2y}/x: ‖u‖ = e^y grows as the square root of the steps.",
                ("y → ∞", "q = wρ²/(4x)"),
                late.doit(),
                sp.Integer(1),
                shown=late,
            ),
            Step(
                "late-take-off",
                "On a homogeneous net of degree L that is t^{L/2}: with v̂ = w∫g² and g = κa^{2L-1}, a = A√t gives "
                "the speed "
                "g/√v̂ = √(2L/(wt)), of the form of ȧ = A/(2√t), and Q ∝ a^L.",
                ("take-off after 1/(1-β₂)", "time since take-off below 1/(1-β₂)"),
                slope / sp.sqrt(collected),
                solved * ansatz.diff(TIME) / amplitude,
                formula=r"\tfrac{g}{\sqrt{w\int g^2\,\mathrm{d}t}} = \sqrt{\tfrac{2L}{w\,t}} = "
                r"\tfrac{2}{A}\sqrt{\tfrac{2L}{w}}\;\dot a,\quad a = A\sqrt t,\ g = \kappa a^{2L-1}",
            ),
            Step(
                "early-take-off",
                "When take-off comes at t far below 1/(1-β₂) the moment is the mean, v̂ = ∫g²/t, and a = At gives "
                "g/√v̂ = √(4L-1), a constant speed: t^L at once.",
                ("take-off before 1/(1-β₂)",),
                (amplitude * TIME) ** degree
                / sp.sqrt(amplitude ** (2 * degree) * TIME ** (2 * degree) / (2 * degree + 1)),
                sp.sqrt(4 * L - 1),
                formula=r"\tfrac{g}{\sqrt{\tfrac1t\int g^2\,\mathrm{d}t}} = \sqrt{4L-1},\quad a = At,\ g \propto "
                r"a^{2L-1}",
            ),
        ),
    )


def _steady() -> Derivation:
    growth = sp.exp(MU)
    first = (1 - BETA_1) / (1 - BETA_1 / growth)
    second = (1 - BETA_2) / (1 - BETA_2 / growth**2)
    back, once = (sp.Limit(steady_ratio() ** 2, MU, end) for end in (0, sp.oo))
    return Derivation(
        "The ratio m̂/√v̂ while a gradient grows",
        "derived",
        (
            Step(
                "first-moment",
                "For g = e^{μt} the moment m = g(1-β₁)/(1-β₁e^{-μ}) satisfies m ← β₁m + (1-β₁)g.",
                ("steady growth, g = 1 at the step",),
                BETA_1 * first / growth + (1 - BETA_1),
                first,
                ranges=UNIT,
            ),
            Step(
                "second-moment",
                "and v = g²(1-β₂)/(1-β₂e^{-2μ}) satisfies v ← β₂v + (1-β₂)g².",
                ("steady growth, g = 1 at the step",),
                BETA_2 * second / growth**2 + (1 - BETA_2),
                second,
                ranges=UNIT,
            ),
            Step(
                "ratio",
                "So m̂/√v̂ is R = (1-β₁)/(1-β₁e^{-μ})·√((1-β₂e^{-2μ})/(1-β₂)): it rises past 1 at take-off.",
                ("late t",),
                first**2 / second,
                steady_ratio() ** 2,
                ranges=UNIT,
                formula=r"\tfrac{m^2}{v} = \left(\tfrac{1-\beta_1}{1-\beta_1e^{-\mu}}\right)^2"
                r"\tfrac{1-\beta_2e^{-2\mu}}{1-\beta_2} = R^2",
            ),
            Step(
                "slow-growth",
                "It falls back to 1 as the growth μ → 0.",
                ("μ → 0",),
                back.doit(),
                sp.Integer(1),
                shown=back,
                ranges=UNIT,
            ),
            Step(
                "single-burst",
                "For μ → ∞ its square is (1-β₁)²/(1-β₂), a single burst's; in between, where β₁ still remembers, it "
                "may be "
                "larger.",
                ("μ → ∞",),
                once.doit(),
                (1 - BETA_1) ** 2 / (1 - BETA_2),
                shown=once,
                ranges=UNIT,
            ),
        ),
    )


DERIVATIONS = (_cost(), _hand_over(), _steady())
