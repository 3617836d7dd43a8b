r"""Gradient descent with a finite step on the ray: exact recursion, asymptotic step count, overshoot.

With x = ηλ a step multiplies the parameters by 1 + x/L, hence x by :math:`(1 + x/L)^m`, m = 2L - 2. The
overshoot side x < 0 is taken off the ray, because there the parameters are mostly orthogonal to the step.

Source: derived; for L = 2 the overshoot side is the catapult of Lewkowycz et al. 2020 (2003.02218), which
has no bootstrapping.
"""

import sympy as sp

from theory.derivation import Derivation, Step
from theory.self_similar_ray import DEPTH_LESS_ONE, ETA, GAMMA, PARAMETERS, PHI, L
from theory.sgd_growth import EXPONENT, KAPPA_HAT, POWER, SCALE, crash_in

RATE, ROOM, SMALL = sp.symbols("x g z", positive=True)
INSIDE = sp.Symbol("sigma", positive=True)


def factor(rate: sp.Expr) -> sp.Expr:
    """Factor of the parameters in one step, 1 + x/L."""
    return 1 + rate / L


def next_rate(rate: sp.Expr) -> sp.Expr:
    """The rate x after one step."""
    return rate * factor(rate) ** POWER


def log_weight() -> sp.Expr:
    """Weight (m+1)/(2m) of the logarithm in the number of steps."""
    return (POWER + 1) / (2 * POWER)


def step_count(start: sp.Expr, end: sp.Expr) -> sp.Expr:
    """Steps from 1/x = start down to 1/x = end, (start - end)/p + (m+1)/(2m)·ln(start/end)."""
    return (start - end) / EXPONENT + log_weight() * sp.log(start / end)


def second_order_error() -> sp.Expr:
    """Coefficient of x² in what a single step counts as."""
    return (POWER + 1) * (2 * POWER + 1) / (12 * L**2)


def _single_step(weight: sp.Expr) -> sp.Expr:
    """What `step_count` with another weight of the logarithm says of one step, to second order in x."""
    # 1/x - 1/x' = (1 - F^-m)/x is analytic at 0; its series is taken through v = x/L.
    v = RATE / L
    drop = sp.Integer(0)
    for k in range(1, 5):
        drop -= sp.ff(-POWER, k) / sp.factorial(k) * v**k / RATE
    log = sum((-1) ** (k + 1) * v**k / k for k in range(1, 4))
    return sp.expand(drop / EXPONENT + weight * POWER * log)


def _taylor() -> tuple[Step, ...]:
    """The Taylor coefficients that `_single_step` uses, each the k-th derivative at 0 over k!."""
    t = sp.Symbol("t", positive=True)
    power, log = (1 + t) ** -POWER, sp.log(1 + t)
    binomial = (
        Step(
            f"binomial-{k}",
            f"Coefficient of t^{k} in (1+t)^(-m).",
            (),
            power.diff(t, k).subs(t, 0) / sp.factorial(k),
            sp.expand_func(sp.ff(-POWER, k)) / sp.factorial(k),
            shown=sp.Subs(sp.Derivative(power, (t, k)), t, 0) / sp.factorial(k),
        )
        for k in range(1, 5)
    )
    logarithm = (
        Step(
            f"logarithm-{k}",
            f"Coefficient of t^{k} in ln(1+t).",
            (),
            log.diff(t, k).subs(t, 0) / sp.factorial(k),
            sp.Rational((-1) ** (k + 1), k),
            shown=sp.Subs(sp.Derivative(log, (t, k)), t, 0) / sp.factorial(k),
        )
        for k in range(1, 4)
    )
    return (*binomial, *logarithm)


def _recursion() -> Derivation:
    weight = sp.Symbol("c", real=True)
    single, exact = _single_step(weight), _single_step(log_weight())
    overflow = sp.exp(-EXPONENT * ROOM)
    far = sp.Limit(step_count(1 / RATE, 1 / SMALL) / crash_in(RATE), RATE, 0, "+")
    return Derivation(
        "Discrete time on the ray",
        "derived",
        (
            Step(
                "step",
                "On the ray a step of gradient descent multiplies θ by 1 + ηκ = 1 + x/L, x = ηλ = ηLκ.",
                ("-Φᵀu = κθ",),
                SCALE + ETA * KAPPA_HAT * SCALE**POWER * SCALE,
                SCALE * factor(ETA * L * KAPPA_HAT * SCALE**POWER),
            ),
            Step(
                "recursion",
                "So x is multiplied by (1 + x/L)^(2L-2), exactly.",
                ("the kernel is homogeneous of degree 2L-2",),
                (ETA * L * KAPPA_HAT * (SCALE * factor(RATE)) ** POWER).subs(
                    KAPPA_HAT, RATE / (ETA * L * SCALE**POWER)
                ),
                next_rate(RATE),
            ),
            *_taylor(),
            Step(
                "count-0",
                "One step counts as 1 to leading order, for any weight of the logarithm.",
                (),
                single.coeff(RATE, 0),
                sp.Integer(1),
            ),
            Step(
                "count-1",
                "Its first-order error is p·(c - (m+1)/(2m)): the weight of the logarithm is (m+1)/(2m).",
                (),
                single.coeff(RATE, 1),
                EXPONENT * (weight - log_weight()),
            ),
            Step(
                "count-2",
                "With it a step counts as 1 + (m+1)(2m+1)x²/(12L²): from 1/x = y to z that adds up to order 1/z.",
                (),
                exact.coeff(RATE, 2),
                second_order_error(),
            ),
            Step(
                "continuous",
                "From far away, x → 0 at a fixed end z, the count is the crash step of continuous time: the "
                "logarithm is of "
                "lower order.",
                (),
                far.doit(),
                sp.Integer(1),
                shown=far,
            ),
            Step(
                "overflow-first",
                "When Q overflows at a growth e^g before x is large, the continuous law gives (1 - e^(-pg)) of it.",
                ("x e^(pg) is small",),
                (1 / RATE - overflow / RATE) / EXPONENT,
                (1 - overflow) * crash_in(RATE),
            ),
            Step(
                "lateness",
                "The finite step delays the crash by (2L-1)/(4(L-1))·ln(z/x) on the way from x to z.",
                (),
                step_count(1 / RATE, 1 / SMALL) - (1 / RATE - 1 / SMALL) / EXPONENT,
                (2 * L - 1) / (4 * DEPTH_LESS_ONE) * sp.log(SMALL / RATE),
                shown=sp.Add(step_count(1 / RATE, 1 / SMALL), -(1 / RATE - 1 / SMALL) / EXPONENT, evaluate=False),
            ),
        ),
    )


def _overshoot() -> Derivation:
    error = sp.Matrix(sp.symbols("u_1 u_2", real=True))
    between = -(2 * L * INSIDE + 2) / (1 + INSIDE)
    moved = PARAMETERS - ETA * PHI.T * error
    pushed = PHI.T * error
    value, excess = sp.symbols("f delta", real=True)
    gram = sp.Symbol("G", positive=True)
    mode = -ETA * excess * gram
    return Derivation(
        "Overshoot",
        "derived; the threshold 4 at L = 2 is Lewkowycz et al. 2020 (printed: their abstract and section 1)",
        (
            Step(
                "norm",
                "A step changes ‖θ‖² by -2ηL u·f + η²‖Φᵀu‖², on the ray or not.",
                ("bias-free critic",),
                moved.dot(moved) - PARAMETERS.dot(PARAMETERS),
                -2 * ETA * L * error.dot(PHI * PARAMETERS / L) + ETA**2 * pushed.dot(pushed),
            ),
            Step(
                "one-mode",
                "For one row with u = δf, δ = 1 - γc at X* = cX, x = -ηδG and ‖θ‖² changes by -ηδf²(x + 2L).",
                ("one row", "X* = cX"),
                -2 * ETA * L * excess * value * value + ETA**2 * (excess * value) ** 2 * gram,
                -ETA * excess * value**2 * (mode + 2 * L),
            ),
            Step(
                "linear-instability",
                "For -2L < x < -2 the linear iteration grows, (1+x)² > 1 …",
                ("L > 1",),
                (1 + between) ** 2,
                sp.Integer(1),
                relation=">",
                witness=4 * DEPTH_LESS_ONE * INSIDE * (L * INSIDE + 1) / (1 + INSIDE) ** 2,
            ),
            Step(
                "shrinking",
                "… while the parameters shrink, x + 2L > 0 with δ > 0: the kernel falls and the mode recovers.",
                ("L > 1",),
                between + 2 * L,
                sp.Integer(0),
                relation=">",
                witness=2 * DEPTH_LESS_ONE / (1 + INSIDE),
            ),
            Step(
                "on-ray-shrinks",
                "On the ray itself u shrinks there too, since (1 + x/L)² < 1: the growth is off the ray.",
                ("L > 1", "-2L < x < 0"),
                sp.Integer(1),
                factor(-2 * L * RATE / (1 + RATE)) ** 2,
                relation=">",
                witness=4 * RATE / (1 + RATE) ** 2,
            ),
            Step(
                "runaway",
                "For x < -2L the parameters grow, and with them |x|.",
                (),
                factor(-2 * L - RATE) ** 2,
                sp.Integer(1),
                relation=">",
                witness=RATE / L * (2 + RATE / L),
            ),
        ),
    )


def two_layer_step() -> tuple[sp.Expr, sp.Expr, sp.Expr, sp.Expr]:
    """Value f and kernel k = |a|² + |b|² of f = a·b on one row with u = δf, before and after a step."""
    a, b = sp.Matrix(sp.symbols("a_1 a_2", real=True)), sp.Matrix(sp.symbols("b_1 b_2", real=True))
    error = sp.Symbol("delta", real=True) * a.dot(b)
    a_next, b_next = a - ETA * error * b, b - ETA * error * a
    return a.dot(b), a.dot(a) + b.dot(b), a_next.dot(b_next), a_next.dot(a_next) + b_next.dot(b_next)


def _catapult() -> Derivation:
    value, kernel, value_next, kernel_next = two_layer_step()
    excess = sp.Symbol("delta", real=True)
    mode = -ETA * excess * kernel
    return Derivation(
        "Two active layers in closed form",
        "derived; δ = 1 is Lewkowycz et al. 2020, their two-layer linear model (printed)",
        (
            Step(
                "value",
                "f becomes f(1 + x + (ηδf)²): to first order the factor 1 + x.",
                ("one row", "u = δf", "fixed activation pattern"),
                value_next,
                value * (1 + mode + (ETA * excess * value) ** 2),
            ),
            Step(
                "kernel",
                "The kernel becomes k - ηδf²(x + 4): it falls for x > -4 and rises below, δ > 0.",
                ("one row", "u = δf", "fixed activation pattern"),
                kernel_next,
                kernel - ETA * excess * value**2 * (mode + 4),
            ),
            Step(
                "ray",
                "At a = b (k = 2f) the first line is the ray's (1 + x/2)².",
                ("a = b",),
                1 - ETA * excess * 2 * RATE + (ETA * excess * RATE) ** 2,
                factor(-2 * ETA * excess * RATE).subs(DEPTH_LESS_ONE, 1) ** 2,
            ),
            Step(
                "self-excitation",
                "With δ = 1 - γc < 0 the mode is positive and both f and k only grow.",
                ("γc > 1",),
                -ETA * (1 - GAMMA * (1 + RATE) / GAMMA) * kernel,
                ETA * RATE * kernel,
                shown=sp.Subs(mode, excess, 1 - GAMMA * (1 + RATE) / GAMMA),
            ),
        ),
    )


DERIVATIONS = (_recursion(), _overshoot(), _catapult())
