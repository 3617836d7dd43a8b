r"""Momentum, gradient clipping and the Huber loss on the self-similar ray.

Gradient flow is :math:`\dot a = \eta\hat\kappa a^{2L-1}` for the scale a. Heavy-ball momentum gives it inertia,
clipping removes its size, the Huber loss lowers its degree to L - 1.

Source: derived; the paper treats plain gradient descent and Adam only.
"""

import sympy as sp

from theory.derivation import Derivation, Step
from theory.self_similar_ray import DEPTH_LESS_ONE, ETA, L
from theory.sgd_growth import EXPONENT, KAPPA_HAT, LEFT, POWER, RATE, SCALE

FRICTION = sp.Symbol("nu", positive=True)
"""1 - β."""
BETA = 1 - FRICTION
BELOW_ONE = {FRICTION: (0.05, 0.95)}
TIME, CLIP, KNEE, GROWTH = sp.symbols("t c delta r", positive=True)
DEPTH_LESS_TWO = sp.Symbol("n", positive=True)
DEEP = 2 + DEPTH_LESS_TWO
"""L > 2, for the Huber loss."""


def mode(growth: sp.Expr) -> sp.Expr:
    """z² - (1 + β + x)z + β at z = 1 + growth: zero for a mode of heavy-ball descent."""
    z = 1 + growth
    return z**2 - (1 + BETA + RATE) * z + BETA


def mode_growth() -> sp.Expr:
    """The growing mode's z - 1."""
    half = (1 - BETA - RATE) / 2
    return -half + sp.sqrt(half**2 + RATE)


def momentum_crash() -> sp.Expr:
    """Steps to the crash with η/(1-β) in the law of gradient descent."""
    return FRICTION * L / (POWER * RATE)


def lag_weight() -> sp.Expr:
    """Weight of ln(later/earlier x) in the number of steps: (1+β)/(1-β)·(m+1)/(2m)."""
    return (1 + BETA) / (1 - BETA) * (POWER + 1) / (2 * POWER)


def inertial_rate() -> sp.Expr:
    """The x = ηλ at which inertia equals friction."""
    return 2 * L * FRICTION**2 / ((1 + BETA) * (2 * L - 1))


def _momentum_modes() -> Derivation:
    now, before, velocity, gradient = sp.symbols("theta_t theta_p v g", real=True)
    velocity_next = BETA * velocity + gradient
    start, speed, bend = sp.symbols("a_0 a_1 a_2", real=True)

    def near(step: int) -> sp.Expr:
        return start + speed * step + bend * sp.Rational(step**2, 2)

    return Derivation(
        "Heavy-ball momentum: frozen modes",
        "derived",
        (
            Step(
                "recursion",
                "v ← βv + g, θ ← θ - ηv is θ_{t+1} - θ_t = β(θ_t - θ_{t-1}) - ηg.",
                ("θ_t - θ_{t-1} = -ηv",),
                -ETA * velocity_next,
                (BETA * (now - before) - ETA * gradient).subs(now, before - ETA * velocity),
            ),
            Step(
                "mode",
                "A frozen mode grows by z a step, z² - (1+β+x)z + β = 0.",
                (),
                mode(mode_growth()),
                sp.Integer(0),
            ),
            Step(
                "slow-mode",
                "For small x, z - 1 = x/(1-β): the step size η/(1-β).",
                (),
                mode_growth().diff(RATE).subs(RATE, 0),
                1 / (1 - BETA),
            ),
            Step(
                "slow-mode-2",
                "The next term is -βx²/(1-β)³: the mode is slower than η/(1-β) says.",
                (),
                mode_growth().diff(RATE, 2).subs(RATE, 0) / 2,
                -BETA / FRICTION**3,
            ),
            Step(
                "mass",
                "To second order in time the recursion is (1-β)ȧ + (1+β)/2·ä = ηκ̂a^(2L-1).",
                ("a changes little a step",),
                near(1) - near(0) - BETA * (near(0) - near(-1)),
                (1 - BETA) * speed + (1 + BETA) / 2 * bend,
            ),
        ),
    )


def _momentum_ray() -> Derivation:
    m, y, c = POWER, sp.Symbol("y", positive=True), 1 / FRICTION
    second = -BETA * (m + 1) * c**3
    back = c**2 * (m + 1) - second
    earlier_y = y * (1 - m * c * y)
    slow = ETA * KAPPA_HAT * SCALE ** (2 * L - 1) / FRICTION
    mass = sp.Symbol("M", positive=True)
    inertial = (L * mass / (ETA * KAPPA_HAT * DEPTH_LESS_ONE**2)) ** (1 / m) * LEFT ** (-1 / DEPTH_LESS_ONE)
    # 1/y' expanded to first order beyond 1/y, with y' = y(1 + c·y + second·y²)^m.
    curvature = m * (m + 1) / 2 * c**2 - m * second
    ratio = (1 + BETA) / 2 * slow.diff(SCALE) * slow / (FRICTION * slow)
    return Derivation(
        "Heavy-ball momentum on the ray",
        "derived",
        (
            Step(
                "manifold-inverse",
                "With y = x/L, a' = a(1 + cy + ey²) has the inverse a = a'(1 - cy' + by'²), b = (m+1)c² - e.",
                ("c = 1/(1-β), up to y³",),
                sp.expand((1 - c * y + back * y**2) * (1 + c * earlier_y + second * y**2)).coeff(y, 2),
                sp.Integer(0),
                formula=r"[y^2]\;(1 - cy^{\prime} + b\,y^{\prime 2})(1 + cy + e\,y^2) = 0,\quad y^{\prime} = y(1 - "
                r"mcy)",
            ),
            Step("manifold-1", "The recursion fixes c = 1/(1-β) …", ("first order in y",), c, BETA * c + 1),
            Step("manifold-2", "… and e = -β(m+1)/(1-β)³.", ("second order in y",), second, -BETA * back),
            Step(
                "crash",
                "To leading order 1/y falls by mc a step: the crash comes after (1-β)L/((2L-2)x) steps.",
                ("x far below the inertial rate",),
                1 / (RATE / L) / (m * c),
                momentum_crash(),
                shown=sp.Subs(1 / (y * m * c), y, RATE / L),
            ),
            Step(
                "lag",
                "The next order adds (1+β)/(1-β)·(m+1)/(2m)·ln(1/x) steps, (1+β)/(1-β) times those without momentum.",
                ("x far below the inertial rate",),
                curvature / (m * c) ** 2,
                lag_weight(),
                ranges=BELOW_ONE,
            ),
            Step(
                "inertial-rate",
                "Inertia equals friction at x = 2L(1-β)²/((1+β)(2L-1)).",
                ("on the slow manifold",),
                ratio,
                ETA * L * KAPPA_HAT * SCALE**POWER / inertial_rate(),
                ranges=BELOW_ONE,
            ),
            Step(
                "inertial-solution",
                "Beyond, Mä = ηκ̂a^(2L-1) with M = (1+β)/2 is solved by a ∝ s^(-1/(L-1)), s steps before the crash.",
                ("friction is negligible",),
                mass * inertial.diff(LEFT, 2),
                ETA * KAPPA_HAT * inertial ** (2 * L - 1),
            ),
            Step(
                "inertial-exponent",
                "There Q^(-p/2) falls linearly, p/2 = (L-1)/L: momentum changes the order of the blow-up.",
                ("friction is negligible",),
                -LEFT * (inertial**L).diff(LEFT) / inertial**L * EXPONENT / 2,
                sp.Integer(1),
            ),
        ),
    )


def _clipping() -> Derivation:
    solution = SCALE + ETA * CLIP * TIME
    limit = sp.Limit(solution**3 / TIME**3, TIME, sp.oo)
    direction = sp.Matrix(sp.symbols("theta_1:4", positive=True))
    norm = sp.sqrt(direction.dot(direction))
    stepped = direction + ETA * CLIP * direction / norm
    return Derivation(
        "Gradient-norm clipping",
        "derived",
        (
            Step(
                "norm",
                "On the ray a clipped step lengthens θ by ηc.",
                ("-Φᵀu = κθ", "‖Φᵀu‖ > c"),
                stepped.dot(stepped),
                (norm + ETA * CLIP) ** 2,
            ),
            Step(
                "linear",
                "So ‖θ‖ = a + ηct.",
                (),
                solution.diff(TIME),
                ETA * CLIP,
                shown=sp.Derivative(solution, TIME),
            ),
            Step(
                "power",
                "and Q ∝ ‖θ‖^L = Θ(t^L), here for L = 3.",
                ("L = 3",),
                (ETA * CLIP) ** 3,
                limit.doit(),
                shown=limit,
            ),
        ),
    )


def _huber() -> Derivation:
    error = sp.Symbol("u", positive=True)
    drive = ETA * KNEE * KAPPA_HAT
    deep = (DEPTH_LESS_TWO * drive * LEFT) ** (-1 / DEPTH_LESS_TWO)
    exponential, linear = SCALE * sp.exp(drive * TIME), SCALE + drive * TIME
    exponent = DEPTH_LESS_TWO / DEEP
    return Derivation(
        "Huber loss beyond its knee",
        "derived",
        (
            Step(
                "gradient",
                "Beyond the knee δ the loss δ(|u| - δ/2) has the gradient δ·sign(u), here u > 0.",
                ("|u| > δ",),
                (KNEE * (error - KNEE / 2)).diff(error),
                KNEE,
                shown=sp.Derivative(KNEE * (error - KNEE / 2), error),
            ),
            Step(
                "value",
                "It joins the square at the knee …",
                (),
                (KNEE * (error - KNEE / 2)).subs(error, KNEE),
                KNEE**2 / 2,
                shown=sp.Subs(KNEE * (error - KNEE / 2), error, KNEE),
            ),
            Step(
                "deep",
                "The flow is ȧ = ηδκ̂a^(L-1); for L > 2 it blows up as a = ((L-2)ηδκ̂s)^(-1/(L-2)).",
                ("L > 2", "signs of u fixed"),
                -deep.diff(LEFT),
                drive * deep ** (DEEP - 1),
            ),
            Step(
                "deep-exponent",
                "Q^(-(L-2)/L) falls linearly.",
                ("L > 2",),
                (deep**DEEP) ** -exponent,
                DEPTH_LESS_TWO * drive * LEFT,
                shown=sp.Subs((SCALE**DEEP) ** -exponent, SCALE, deep),
            ),
            Step(
                "deep-crash",
                "With r the growth of ln Q at the reading the crash comes after L/((L-2)r) steps.",
                ("L > 2",),
                1 / (exponent * DEEP * drive * deep**DEPTH_LESS_TWO),
                LEFT,
                shown=sp.Subs(1 / (exponent * GROWTH), GROWTH, DEEP * drive * deep**DEPTH_LESS_TWO),
            ),
            Step(
                "two",
                "L = 2 grows exponentially.",
                ("L = 2",),
                exponential.diff(TIME),
                drive * exponential,
                shown=sp.Derivative(exponential, TIME),
            ),
            Step(
                "one",
                "L = 1 grows linearly.",
                ("L = 1",),
                linear.diff(TIME),
                drive,
                shown=sp.Derivative(linear, TIME),
            ),
        ),
    )


DERIVATIONS = (_momentum_modes(), _momentum_ray(), _clipping(), _huber())
