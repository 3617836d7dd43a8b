r"""Where each optimiser loses stability: zero, overshoot, decay, clipping, and the decay that has no row space.

With copied targets a mode x = hλ grows by z a step, (z-1)(z-β) = x·n(z); n depends on the rule. Excitation passes
z = 1, overshoot z = -1. Heavy ball (torch's SGD, RMSprop with momentum) has n = z, Adam (1-β₁)z, Nesterov (1+β)z - β;
decoupled decay ω = lr·wd puts (z-1+ω) for (z-1).

Source: derived; the overshoot of momentum is classical (Polyak 1964).
"""

import sympy as sp

from theory.derivation import Derivation, Step

Z = sp.Symbol("z", real=True)
BETA, DECAY, ETA = sp.symbols("beta omega eta", positive=True)
RATE = sp.Symbol("x", real=True)
BELOW_ONE = {BETA: (0.05, 0.95), DECAY: (0.05, 0.95)}
REAL, IMAGINARY = sp.symbols("a b", real=True)
ALPHA = sp.Symbol("alpha", positive=True)
"""(1+β)/(1-β) of Adam, 1 of gradient descent."""


def mode(numerator: sp.Expr, decay: sp.Expr | int = 0, z: sp.Expr = Z) -> sp.Expr:
    """(z-1+ω)(z-β) - x·n(z)."""
    return (z - 1 + decay) * (z - BETA) - RATE * numerator


HEAVY_BALL, ADAM, NESTEROV = Z, (1 - BETA) * Z, (1 + BETA) * Z - BETA


def overshoot(rule: str, decay: sp.Expr | int = 0) -> sp.Expr:
    """The x at which a real mode passes z = -1, by rule: "heavy ball", "adam" or "nesterov"."""
    numerator = {"heavy ball": HEAVY_BALL, "adam": ADAM, "nesterov": NESTEROV}[rule].subs(Z, -1)
    return (2 - decay) * (1 + BETA) / numerator


def largest_step(real: sp.Expr, imaginary: sp.Expr, alpha: sp.Expr = ALPHA) -> sp.Expr:
    """Largest stable hη of a mode a + ib of A, a < 0, with copied targets: -2αa/(a² + α²b²)."""
    return -2 * alpha * real / (real**2 + alpha**2 * imaginary**2)


def _rules() -> Derivation:
    weight, gradient = sp.symbols("theta g", real=True)
    past_one = {Z: (1.1, 2), **BELOW_ONE}
    # A mode multiplies the buffer by z: v = g/(z-β) before the step, zg/(z-β) after it.
    buffer = Z * gradient / (Z - BETA)
    return Derivation(
        "Zero and overshoot by rule",
        "derived",
        (
            Step(
                "buffer",
                "In a mode v ← βv + g is v = zg/(z-β) after the step.",
                ("each step multiplies v by z",),
                BETA * buffer / Z + gradient,
                buffer,
                ranges=past_one,
            ),
            Step(
                "heavy-ball",
                "θ ← θ - v with g = -xθ has the mode equation (z-1)(z-β) = xz; the learning rate is in x, and 1-β "
                "is not.",
                ("heavy ball",),
                ((Z - 1) * weight + buffer.subs(gradient, -RATE * weight)) * (Z - BETA),
                mode(HEAVY_BALL) * weight,
                ranges=past_one,
            ),
            Step(
                "nesterov",
                "θ ← θ - (g + βv) with v after the step has (z-1)(z-β) = x((1+β)z - β), g = -xθ.",
                ("torch's Nesterov",),
                ((Z - 1) * weight + (gradient + BETA * buffer).subs(gradient, -RATE * weight)) * (Z - BETA),
                mode(NESTEROV) * weight,
                ranges=past_one,
            ),
            Step(
                "same-zero",
                "All three pass z = 1 at x = 0 only: momentum moves no threshold of excitation.",
                (),
                sp.Matrix([mode(n).subs(Z, 1) for n in (HEAVY_BALL, ADAM, NESTEROV)]),
                -RATE * sp.Matrix([1, 1 - BETA, 1]),
                ranges=BELOW_ONE,
                shown=sp.Subs(sp.Matrix([mode(n) for n in (HEAVY_BALL, ADAM, NESTEROV)]), Z, 1),
            ),
            Step(
                "overshoot-heavy-ball",
                "Heavy ball overshoots at x = -2(1+β).",
                ("a real mode",),
                mode(HEAVY_BALL).subs(Z, -1),
                RATE - overshoot("heavy ball"),
                shown=sp.Subs(mode(HEAVY_BALL), Z, -1),
            ),
            Step(
                "overshoot-adam",
                "Adam overshoots at x = -2(1+β)/(1-β), (1+β)/(1-β) times later than gradient descent, at -2.",
                ("a real mode",),
                mode(ADAM).subs(Z, -1),
                (1 - BETA) * (RATE - overshoot("adam")),
                shown=sp.Subs(mode(ADAM), Z, -1),
                ranges=BELOW_ONE,
            ),
            Step(
                "overshoot-nesterov",
                "Nesterov overshoots at x = -2(1+β)/(1+2β), earlier than gradient descent.",
                ("a real mode",),
                mode(NESTEROV).subs(Z, -1),
                (1 + 2 * BETA) * (RATE - overshoot("nesterov")),
                shown=sp.Subs(mode(NESTEROV), Z, -1),
            ),
            Step(
                "largest-step",
                "A mode a + ib of A, a < 0, reaches the ellipse ((ηa+α)/α)² + (ηb)² = 1 at η = -2αa/(a² + α²b²).",
                ("α = (1+β)/(1-β) of Adam, 1 of gradient descent",),
                ((ETA * REAL + ALPHA) / ALPHA) ** 2 + (ETA * IMAGINARY) ** 2 - 1,
                ETA * (REAL**2 + ALPHA**2 * IMAGINARY**2) / ALPHA**2 * (ETA - largest_step(REAL, IMAGINARY)),
                ranges={REAL: (-3, -0.5)},
            ),
        ),
    )


def _decay() -> Derivation:
    scales = sp.symbols("D_1:4", positive=True)
    jacobian = sp.Matrix(sp.symbols("J_1:4", positive=True))
    diagonal = sp.diag(*scales)
    span = sp.Matrix.hstack(diagonal * jacobian, diagonal**2 * jacobian, diagonal**3 * jacobian)
    one, two, three = scales
    rate, penalty = sp.symbols("alpha w_d", positive=True)
    weight, pull = sp.symbols("theta g", real=True)
    return Derivation(
        "Weight decay under momentum and Adam",
        "derived",
        (
            Step(
                "decoupled-zero",
                "With decoupled decay the frozen mode passes z = 1 at x = ω.",
                ("AdamW", "frozen kernel; on a homogeneous net growth needs x > Lω, theory.decay_laws"),
                mode(ADAM, DECAY).subs(Z, 1),
                (1 - BETA) * (DECAY - RATE),
                shown=sp.Subs(mode(ADAM, DECAY), Z, 1),
                ranges=BELOW_ONE,
            ),
            Step(
                "decoupled-overshoot",
                "and z = -1 at x = -(2-ω)(1+β)/(1-β).",
                ("AdamW",),
                mode(ADAM, DECAY).subs(Z, -1),
                (1 - BETA) * (RATE - overshoot("adam", DECAY)),
                shown=sp.Subs(mode(ADAM, DECAY), Z, -1),
                ranges=BELOW_ONE,
            ),
            Step(
                "coupled-descent",
                "Coupled decay w_d under gradient descent of step size α is decoupled decay with ω = αw_d: its "
                "threshold is "
                "x = αw_d.",
                ("no momentum",),
                weight - rate * (pull + penalty * weight),
                (1 - rate * penalty) * weight - rate * pull,
            ),
            Step(
                "coupled-adam",
                "Under Adam it leaves the span of DJᵀ: D·DJᵀ and D·D·DJᵀ are new directions, of the determinant "
                "∏D_i·∏J_i·∏(D_j - D_i), which is zero only if two scales agree.",
                ("one row", "three parameters"),
                span.det(),
                one * two * three * sp.prod(jacobian) * (two - one) * (three - one) * (three - two),
                formula=r"\det\left(DJ^\top,\ D^2J^\top,\ D^3J^\top\right) = "
                r"\prod_i D_iJ_i\,\prod_{i<j}(D_j - D_i)",
            ),
            Step(
                "coupled-equal-scales",
                "With equal scales D = αI every power is a multiple of the first: there the reduction stays.",
                ("D = αI",),
                span.subs(dict.fromkeys(scales, rate))[:, 1:],
                sp.Matrix.hstack(rate**2 * jacobian, rate**3 * jacobian),
                formula=r"D = \alpha I:\quad D^kJ^\top = \alpha^{k-1}\,(\alpha J^\top)",
            ),
        ),
    )


def _clipping() -> Derivation:
    jacobian = sp.Matrix(2, 3, sp.symbols("J_1:7", real=True))
    error = sp.Matrix(sp.symbols("u_1:3", real=True))
    share, clip = sp.symbols("h c", positive=True)
    length = sp.Symbol("r", positive=True)
    gradient = share * jacobian.T * error
    norm = share * sp.sqrt((error.T * jacobian * jacobian.T * error)[0])
    clipped = clip * length * error / (share * sp.sqrt((length**2 * error.T * jacobian * jacobian.T * error)[0]))
    return Derivation(
        "Gradient-norm clipping, exactly",
        "derived",
        (
            Step(
                "norm-by-rows",
                "The gradient's norm is h√(uᵀJJᵀu), with the plain kernel JJᵀ, not the preconditioned one.",
                (),
                gradient.dot(gradient),
                norm**2,
                formula=r"\|hJ^\top u\|^2 = h^2\,u^\top JJ^\top u",
            ),
            Step(
                "clipped-roll",
                "So clipping at c puts cu/(h√(uᵀJJᵀu)) for u in the recursion of b, and the gradient then has the "
                "norm c.",
                ("the norm exceeds c",),
                (share * jacobian.T * error * clip / norm).dot(share * jacobian.T * error * clip / norm),
                clip**2,
                formula=r"\left\|hJ^\top\tfrac{c\,u}{h\sqrt{u^\top JJ^\top u}}\right\|^2 = c^2",
            ),
            Step(
                "no-own-direction",
                "While it is active nothing depends on the length of u, here r: the tangent loses u's own "
                "direction, and there is no "
                "growth per step to speak of.",
                ("the norm exceeds c",),
                clipped.diff(length).applyfunc(sp.simplify),
                sp.zeros(2, 1),
                formula=r"\tfrac{\mathrm{d}}{\mathrm{d}r}\,\tfrac{c\,r\,u}{h\sqrt{r^2\,u^\top JJ^\top u}} = 0",
            ),
        ),
    )


DERIVATIONS = (_rules(), _decay(), _clipping())
