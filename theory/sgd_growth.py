r"""The SGD law on the self-similar ray: growth exponents, crash step, limits, rivals excluded.

On the ray (`theory.self_similar_ray`) gradient flow is :math:`\dot a = \eta\hat\kappa a^{2L-1}` for the scale a
of :math:`\theta = a\hat\theta`. Time is counted backwards from the crash, s = T - t > 0.

Source: paper, SGD theorem (recalled; abstract printed); C′ = (2L-2)/L, the crash step, the motion term and
the latest crash are derived.
"""

import sympy as sp

from theory.derivation import Derivation, Step
from theory.explicit_network import Network, gradient
from theory.self_similar_ray import DEPTH_LESS_ONE, ETA, GAMMA, PARAMETERS, C, L

KAPPA_HAT, SCALE, LEFT = sp.symbols("kappahat a s", positive=True)
POWER = 2 * L - 2
"""m = 2L - 2, the degree of the kernel."""
EXPONENT = POWER / L
"""p = (2L-2)/L."""
RATE, ELAPSED, ORDER, RIVAL = sp.symbols("x tau p q", positive=True)


def scale(left: sp.Expr = LEFT) -> sp.Expr:
    """Solution a = (m η κ̂ s)^(-1/m), s steps before the crash."""
    return (POWER * ETA * KAPPA_HAT * left) ** (-1 / POWER)


def rate_of(size: sp.Expr) -> sp.Expr:
    """λ = Lκ = L κ̂ a^m."""
    return L * KAPPA_HAT * size**POWER


def crash_in(rate: sp.Expr) -> sp.Expr:
    """Steps to the crash, L/((2L-2)x), from x = ηλ."""
    return L / (POWER * rate)


def remaining(order: sp.Expr = ORDER) -> sp.Expr:
    """1 - p x (t - s), the bracket of the law."""
    return 1 - order * RATE * ELAPSED


def _law() -> Derivation:
    solution, error_scale = scale(), sp.Symbol("uhat", positive=True)
    q = error_scale * solution**L
    t = sp.Symbol("t", positive=True)
    turning = sp.Function("k")(t)
    reading = rate_of(SCALE)
    flow = L * turning * SCALE**POWER
    # d/dt of λ(t) = L k(t) a(t)^m along ȧ = η k a^(2L-1), with k and k' replaced by symbols afterwards.
    k, k_dot = sp.symbols("k kdot", positive=True)
    slope = (flow.diff(t) + flow.diff(SCALE) * ETA * turning * SCALE ** (2 * L - 1)) * -1 / flow**2
    slope = slope.subs(turning.diff(t), k_dot).subs(turning, k)
    elapsed_left = crash_in(RATE) - ELAPSED
    window = (sp.Lt(EXPONENT * RATE * ELAPSED, sp.Rational(9, 10)),)
    return Derivation(
        "SGD law: exponents and crash step",
        "paper, SGD theorem (recalled); C′, the crash step and the motion term derived",
        (
            Step(
                "self-similar",
                "On the ray u scales as a^L and Φ as a^(L-1), so κ = κ̂ a^(2L-2) and the flow is ȧ = ηκ̂ a^(2L-1).",
                ("r = 0", "X* fixed", "the activation pattern is fixed"),
                ETA * SCALE ** (L - 1) * SCALE**L * KAPPA_HAT,
                ETA * (KAPPA_HAT * SCALE**POWER) * SCALE,
            ),
            Step(
                "solution",
                "a = (mηκ̂ s)^(-1/m), m = 2L-2, solves the flow; s = T - t is the time left.",
                ("L > 1",),
                -solution.diff(LEFT),
                ETA * KAPPA_HAT * solution ** (2 * L - 1),
            ),
            Step(
                "separation",
                "a^(-m) falls at the constant rate mηκ̂, so there is no other solution.",
                ("L > 1",),
                (SCALE**-POWER).diff(SCALE) * ETA * KAPPA_HAT * SCALE ** (2 * L - 1),
                -POWER * ETA * KAPPA_HAT,
            ),
            Step(
                "crash",
                "s = L/((2L-2)ηλ): one reading gives the crash step.",
                (),
                crash_in(ETA * rate_of(solution)),
                LEFT,
                shown=sp.Subs(crash_in(ETA * reading), SCALE, solution),
            ),
            Step(
                "crash-of-reading",
                "The same from the reading λ_s = Lκ̂a_s^m: the time 1/(mηκ̂a_s^m) until a^(-m) reaches zero.",
                (),
                crash_in(ETA * reading),
                SCALE**-POWER / (POWER * ETA * KAPPA_HAT),
                shown=sp.Subs(crash_in(RATE), RATE, ETA * reading),
            ),
            Step(
                "q-line",
                "Q^(-p) is proportional to the time left.",
                (),
                q**-EXPONENT,
                error_scale**-EXPONENT * POWER * ETA * KAPPA_HAT * LEFT,
            ),
            Step(
                "bracket",
                "The time left as a share of the time left at the reading is 1 - C′x(t-s), C′ = p = (2L-2)/L.",
                (),
                elapsed_left / crash_in(RATE),
                remaining(EXPONENT),
            ),
            Step(
                "q-exponent",
                "Q and ‖u‖ grow with the exponent -1/p = -L/(2L-2).",
                (),
                q,
                error_scale * (POWER * ETA * KAPPA_HAT * LEFT) ** (-1 / EXPONENT),
                shown=sp.Subs(error_scale * SCALE**L, SCALE, solution),
            ),
            Step(
                "norm-exponent",
                "‖θ‖ grows with the exponent -1/(2L-2).",
                (),
                LEFT * solution.diff(LEFT) / solution,
                -1 / POWER,
                shown=sp.Subs(LEFT / SCALE, SCALE, solution) * sp.Derivative(solution, LEFT),
            ),
            Step(
                "inverse-slope",
                "1/λ falls by pη a step; when κ̂ itself changes (X* or the kernel turns) -κ̂'/(κ̂λ) is added.",
                ("κ̂ depends on time",),
                slope,
                -EXPONENT * ETA - k_dot / (k * L * k * SCALE**POWER),
            ),
            Step(
                "at-reading",
                "The law solves dQ/dt = xQ·(Q/Q_s)^p.",
                (),
                (remaining(EXPONENT) ** (-1 / EXPONENT)).diff(ELAPSED),
                RATE * remaining(EXPONENT) ** (-1 / EXPONENT - 1),
                where=window,
            ),
        ),
    )


def _limits() -> Derivation:
    law = remaining() ** (-1 / ORDER)
    curve = remaining() ** (RIVAL / ORDER)
    window = (sp.Lt(ORDER * RATE * ELAPSED, sp.Rational(9, 10)),)
    shallow = sp.Limit(law, ORDER, 0, "+")
    order_limit = sp.Limit(EXPONENT, DEPTH_LESS_ONE, sp.oo)
    linear_limit = sp.Limit(EXPONENT, DEPTH_LESS_ONE, 0, "+")
    deep = law.subs(ORDER, 2)
    return Derivation(
        "Limits of the SGD law and exclusion of rivals",
        "derived",
        (
            Step("shallow-order", "p tends to 0 as L → 1.", (), sp.Integer(0), sp.Integer(0), shown=linear_limit),
            Step(
                "shallow",
                "As p → 0 the law becomes the exponential e^{ηλ(t-s)}.",
                (),
                sp.exp(RATE * ELAPSED),
                shallow.doit(),
                shown=shallow,
            ),
            Step("deep-order", "p tends to 2 as L → ∞.", (), sp.Integer(2), order_limit.doit(), shown=order_limit),
            Step(
                "deep",
                "At p = 2 the law is the inverse square root.",
                (),
                deep**-2,
                1 - 2 * RATE * ELAPSED,
                where=(sp.Lt(2 * RATE * ELAPSED, sp.Rational(9, 10)),),
                shown=sp.Subs(law**-2, ORDER, 2),
            ),
            Step(
                "rival",
                "The second derivative of Q^(-q) is q(q-p)x² times a positive power: a line only for q = p.",
                ("q > 0",),
                curve.diff(ELAPSED, 2),
                RIVAL * (RIVAL - ORDER) * RATE**2 * remaining() ** (RIVAL / ORDER - 2),
                where=window,
            ),
            Step(
                "not-exponential",
                "ln Q is convex, with second derivative p x²/(1 - px(t-s))²: faster than any exponential.",
                ("p > 0",),
                sp.log(remaining()).diff(ELAPSED, 2) / -ORDER,
                ORDER * RATE**2 * remaining() ** -2,
                where=window,
            ),
        ),
    )


def _energy_and_step() -> tuple[sp.MatrixBase, sp.MatrixBase]:
    """∇E of E = (γc-1)‖f(X)‖²/2, and -Φᵀu of u = f(X) - γ f(cX), for a real two-layer critic on two rows."""
    network = Network(2)
    rows = [network.value(name) for name in ("x", "y")]
    inputs = sp.symbols("x_0:2 y_0:2", real=True)
    # c > 0 moves no gate, so that the network at cX is its value with the inputs multiplied.
    further = [value.subs({x: C * x for x in inputs}, simultaneous=True) for value in rows]
    energy = (GAMMA * C - 1) * sum(value**2 for value in rows) / 2
    errors = [value - GAMMA * later for value, later in zip(rows, further, strict=True)]
    parameters = network.parameters
    step = sum((gradient(value, parameters) * -u for value, u in zip(rows, errors, strict=True)), sp.zeros(6, 1))
    return gradient(energy, parameters), step


def _latest_crash() -> Derivation:
    gradient = sp.Matrix(sp.symbols("g_1:4", real=True))
    energy = sp.Symbol("E", positive=True)
    norm, size = PARAMETERS.dot(PARAMETERS), gradient.dot(gradient)
    pairs = ((0, 1), (0, 2), (1, 2))
    lagrange = sum((gradient[i] * PARAMETERS[j] - gradient[j] * PARAMETERS[i]) ** 2 for i, j in pairs)
    inner = gradient.dot(PARAMETERS)
    grown = sp.Symbol("rho", positive=True)
    excess = sp.Symbol("e", nonnegative=True)
    energy_of_degree = inner / (2 * L)
    objective, semi_gradient = _energy_and_step()
    return Derivation(
        "Latest crash without alignment, for X* = cX",
        "derived",
        (
            Step(
                "ascent",
                "With X* = cX, u = f(X) - γf(cX) = -(γc-1)f and the step -Φᵀu is the gradient of E = (γc-1)‖f‖²/2.",
                ("bias-free ReLU critic", "r = 0, no terminals", "L = 2, two rows, any gates"),
                objective,
                semi_gradient,
                formula=r"\nabla_\theta\,\tfrac{\gamma c - 1}{2}\|f(X)\|^2 = -\Phi^\top u,\quad "
                r"u = f(X) - \gamma f(cX) = -(\gamma c - 1)\,f(X)",
            ),
            Step(
                "cauchy-schwarz",
                "‖∇E‖²‖θ‖² - (θ·∇E)² is a sum of squares.",
                (),
                size * norm,
                inner**2,
                relation=">=",
                witness=lagrange,
            ),
            Step(
                "margin",
                "ln E - L ln‖θ‖² rises at η(‖∇E‖²‖θ‖² - (θ·∇E)²)/(E‖θ‖²), where θ·∇E = 2LE: never negative.",
                ("E has degree 2L",),
                ETA * size / energy_of_degree - L * 2 * ETA * inner / norm,
                ETA * lagrange / (energy_of_degree * norm),
                ranges={PARAMETERS[0]: (0.5, 2)},
            ),
            Step(
                "latest",
                "As E/‖θ‖^(2L) does not fall, κ̄ = 2LE/‖θ‖² is at least its value on the ray, κ̄_s(‖θ‖/‖θ_s‖)^(2L-2): "
                "the crash comes no later than L/((2L-2)ηLκ̄_s) steps after the reading.",
                ("E = E_s (‖θ‖/‖θ_s‖)^(2L) (1 + e) with e ≥ 0, by the step before",),
                2 * L * energy * grown ** (2 * L) * (1 + excess) / (SCALE * grown) ** 2,
                2 * L * energy / SCALE**2 * grown**POWER,
                relation=">=",
                witness=2 * L * energy / SCALE**2 * grown**POWER * excess,
            ),
        ),
    )


DERIVATIONS = (_law(), _limits(), _latest_crash())
