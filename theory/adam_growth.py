r"""Adam's law: frozen signs give a linear norm and :math:`Q = \Theta(t^L)`; β₂ near 1 makes the norm outrun it.

While the gradient grows as :math:`t^k`, k = 2L - 1, the bias-corrected ratio :math:`\hat m_t/\sqrt{\hat v_t}` is
the size of a step in units of lr. It is computed exactly for every t, and in the scaling limit
:math:`\beta_2 \to 1` at fixed :math:`\tau = (1-\beta_2)t`, where it falls from :math:`\sqrt{2k+1}` to 1.

Source: paper, Adam theorem (recalled; abstract printed); the number of parameters that count and the
finite-β₂ ratio are derived.
"""

import sympy as sp

from theory.derivation import Derivation, Step

LR, TIME, BETA, TAU, DECAY = sp.symbols("alpha t beta tau w", positive=True)
BETA_1, BETA_2 = sp.symbols("beta_1 beta_2", positive=True)
START = sp.Matrix(sp.symbols("theta_1:4", real=True))
SIGNS = sp.Matrix([1, -1, 0])
"""Two parameters whose gradient keeps its sign and one whose gradient vanishes or keeps flipping."""
ACTIVE = 2
UNIT = {BETA: (0.05, 0.9), BETA_1: (0.05, 0.9), BETA_2: (0.05, 0.9)}


def path(time: sp.Expr = TIME, signs: sp.MatrixBase = SIGNS) -> sp.MatrixBase:
    """Parameters after t steps against frozen signs."""
    return START - LR * time * signs


def average(power: int, beta: sp.Expr = BETA, time: sp.Expr = TIME) -> sp.Expr:
    r"""Adam's bias-corrected average of :math:`i^k` over i = 1..t, times 1 - β^t, in closed form.

    It is the particular polynomial solution of m_t = βm_{t-1} + (1-β)t^k, less its start times β^t.
    """
    n = sp.Symbol("n")
    unknown = sp.symbols(f"c_0:{power + 1}")
    guess = sum(c * n**i for i, c in enumerate(unknown))
    recursion = sp.Poly(sp.expand(guess - beta * guess.subs(n, n - 1) - (1 - beta) * n**power), n)
    polynomial = guess.subs(sp.solve(recursion.coeffs(), unknown, dict=True)[0])
    return polynomial.subs(n, time) - polynomial.subs(n, 0) * beta**time


def smoothed(order: int, tau: sp.Expr = TAU) -> sp.Expr:
    r"""I_n(τ) = ∫₀^τ e^{-(τ-s)} sⁿ ds, from I_n = τⁿ - n I_{n-1} and I_0 = 1 - e^{-τ}."""
    value = 1 - sp.exp(-tau)
    for n in range(1, order + 1):
        value = tau**n - n * value
    return sp.expand(value)


def squared_ratio(power: int, tau: sp.Expr = TAU) -> sp.Expr:
    """Square of the step's size in units of lr in the limit β₂ → 1 at τ = (1-β₂)t."""
    return tau ** (2 * power) * (1 - sp.exp(-tau)) / smoothed(2 * power, tau)


def network(weights: sp.MatrixBase, depth: int) -> sp.Expr:
    """A critic of depth 1 to 3: one active path."""
    return sp.prod(weights[:depth])


def _norm() -> Derivation:
    norm = sp.sqrt(path().dot(path()))
    means = sp.Matrix(sp.symbols("s_1:4", positive=True))
    moved = path(TIME, means)
    mean_slope = sp.Limit(moved.dot(moved) / TIME**2, TIME, sp.oo)
    parity = sp.Symbol("n", positive=True, integer=True)
    slope = sp.Limit(norm / TIME, TIME, sp.oo)
    excess = sp.Limit(norm - LR * sp.sqrt(ACTIVE) * TIME, TIME, sp.oo)
    return Derivation(
        "Norm under frozen signs",
        "paper, Adam theorem (recalled); the count of active parameters derived",
        (
            Step(
                "norm",
                "‖θ_t‖² is a quadratic in t whose leading coefficient counts the parameters with a gradient.",
                ("every step is lr times a frozen sign",),
                path().dot(path()),
                START.dot(START) - 2 * LR * TIME * SIGNS.dot(START) + LR**2 * ACTIVE * TIME**2,
            ),
            Step("slope", "‖θ_t‖/t tends to lr·√(P active).", (), LR * sp.sqrt(ACTIVE), slope.doit(), shown=slope),
            Step(
                "flipping",
                "A parameter whose sign flips at every step is back where it was after every second one.",
                ("the sign alternates",),
                -LR * (1 - (-1) ** (2 * parity)) / 2,
                sp.Integer(0),
                shown=sp.Sum(-LR * (-1) ** sp.Symbol("i", integer=True), (sp.Symbol("i", integer=True), 1, 2 * parity)),
            ),
            Step(
                "mean-signs",
                "For steps of lr times a sign P is the sum of the squared mean signs: 1 for a frozen one, 0 for one "
                "that keeps flipping.",
                ("mean signs s over the time t",),
                LR**2 * means.dot(means),
                mean_slope.doit(),
                shown=mean_slope,
            ),
            Step(
                "remainder",
                "‖θ_t‖ - lr·√(P active)·t tends to a constant: the o(t) is O(1).",
                (),
                -SIGNS.dot(START) / sp.sqrt(ACTIVE),
                excess.doit(),
                shown=excess,
            ),
        ),
    )


def _power() -> Derivation:
    signs = -sp.ones(3, 1)
    steps = []
    for depth in (1, 2, 3):
        value = network(path(TIME, signs), depth)
        steps.append(
            Step(
                f"homogeneous-{depth}",
                "f(θ₀ - lr·t·s) = t^L f(θ₀/t - lr·s).",
                (f"L = {depth}", "no biases"),
                value,
                TIME**depth * network(START / TIME - LR * signs, depth),
            )
        )
        limit = sp.Limit(value / TIME**depth, TIME, sp.oo)
        steps.append(
            Step(
                f"power-{depth}",
                "Q/t^L tends to lr^L f(-s), so Q = Θ(t^L) unless f(-s) = 0.",
                (f"L = {depth}",),
                LR**depth * network(-signs, depth),
                limit.doit(),
                shown=limit,
            )
        )
    return Derivation("Power of Q under frozen signs", "paper, Adam theorem (recalled; abstract printed)", tuple(steps))


def _exact_ratio() -> Derivation:
    steps = []
    for power in (1, 2, 3):
        mean = average(power)
        steps.append(
            Step(
                f"average-{power}",
                "The closed form satisfies Adam's recursion m_t = βm_{t-1} + (1-β)t^k.",
                (f"k = {power}", "m_0 = 0"),
                mean,
                BETA * mean.subs(TIME, TIME - 1) + (1 - BETA) * TIME**power,
                ranges={**UNIT, TIME: (2, 9)},
            )
        )
        steps.append(
            Step(
                f"start-{power}",
                "and starts at 0.",
                (),
                mean.subs(TIME, 0),
                sp.Integer(0),
                ranges=UNIT,
                shown=sp.Subs(mean, TIME, 0),
            )
        )
        lag = sp.Limit(TIME * (1 - mean.subs(BETA**TIME, 0) / TIME**power), TIME, sp.oo)
        steps.append(
            Step(
                f"lag-{power}",
                "Beyond β^t the average lags by kβ/((1-β)t) of itself.",
                (f"k = {power}",),
                power * BETA / (1 - BETA),
                lag.doit(),
                shown=lag,
                ranges=UNIT,
            )
        )
    power = sp.Symbol("k", positive=True)
    inverse = sp.Symbol("h", positive=True)
    ratio = (1 - power * BETA_1 / (1 - BETA_1) * inverse) / sp.sqrt(1 - 2 * power * BETA_2 / (1 - BETA_2) * inverse)
    steps.append(
        Step(
            "late",
            "So m̂/√v̂ = 1 + k(β₂/(1-β₂) - β₁/(1-β₁))/t + O(1/t²), h = 1/t: for β₁ ≪ β₂ near 1, k/((1-β₂)t).",
            ("β^t is negligible",),
            ratio.diff(inverse).subs(inverse, 0),
            power * (BETA_2 / (1 - BETA_2) - BETA_1 / (1 - BETA_1)),
            ranges=UNIT,
        )
    )
    return Derivation("Finite β₂, exactly", "derived", tuple(steps))


def _scaling_limit() -> Derivation:
    steps = []
    for order in (2, 6, 10):
        value = smoothed(order)
        steps.append(
            Step(
                f"second-moment-{order}",
                "I_n solves I' = τⁿ - I, the limit of v_t = β₂v_{t-1} + (1-β₂)g² at τ = (1-β₂)t.",
                (f"n = 2k = {order}",),
                value.diff(TAU),
                TAU**order - value,
                shown=sp.Derivative(value, TAU),
            )
        )
    for depth in (1, 2, 3):
        power = 2 * depth - 1
        early = sp.Limit(
            sp.series(smoothed(2 * power), TAU, 0, 2 * power + 3).removeO() / TAU ** (2 * power + 1), TAU, 0
        )
        steps.append(
            Step(
                f"early-{depth}",
                "For τ → 0 the second moment is the plain mean, t^(2k)/(2k+1): steps of √(2k+1) = √(4L-1) times lr.",
                (f"L = {depth}", "t ≫ 1/(1-β₁)"),
                1 / sp.Integer(4 * depth - 1),
                early.doit(),
                shown=early,
            )
        )
    for depth in (1, 2):
        power = 2 * depth - 1
        late = sp.Limit(TAU * (squared_ratio(power) - 1), TAU, sp.oo)
        steps.append(
            Step(
                f"late-{depth}",
                "For τ → ∞ the square is 1 + 2k/τ + …, so the ratio is 1 + k/τ.",
                (f"L = {depth}",),
                sp.Integer(2 * power),
                late.doit(),
                shown=late,
            )
        )
    return Derivation("Finite β₂ in the scaling limit", "derived", tuple(steps))


def _decay() -> Derivation:
    size = sp.Symbol("A", positive=True)
    solution = size / DECAY * (1 - sp.exp(-LR * DECAY * TIME))
    limit = sp.Limit(solution, TIME, sp.oo)
    power, rate, memory, small = sp.symbols("k mu nu epsilon", positive=True)
    lagged = 1 + small * 2 * power * memory / (rate + memory) * sp.exp(rate * TIME)
    ratio = (1 + power * small) / sp.sqrt(1 + small * 2 * power * memory / (rate + memory))
    response = power * rate / (rate + memory)
    return Derivation(
        "Decoupled weight decay bounds sign-like optimisers",
        "derived",
        (
            Step(
                "saturation-flow",
                "ȧ = lr(√P - wa): the norm under decoupled decay w (AdamW, Lion).",
                ("A = √(P active)", "frozen signs"),
                solution.diff(TIME),
                LR * (size - DECAY * solution),
            ),
            Step(
                "saturation",
                "The norm saturates at √P/w, so Q does at most at its L-th power.",
                (),
                size / DECAY,
                limit.doit(),
                shown=limit,
            ),
            Step(
                "memory",
                "Around the rest point, |g| ∝ 1 + kεe^{μt}: the second moment of memory 1/ν, ν = 1-β₂, answers with "
                "2kεν/(μ+ν).",
                ("first order in ε", "β₁ follows at once"),
                lagged.diff(TIME),
                memory * (1 + 2 * power * small * sp.exp(rate * TIME) - lagged),
            ),
            Step(
                "memory-ratio",
                "so m̂/√v̂ changes by kμ/(μ+ν)·ε.",
                ("first order in ε",),
                ratio.diff(small).subs(small, 0),
                response,
            ),
            Step(
                "steadiness",
                "ε̇ = lr·w(kμ/(μ+ν) - 1)ε: μ² + (ν - lr·w(k-1))μ + lr·w·ν = 0, so the rest point is unstable for "
                "lr·w(2L-2) > 1-β₂, k = 2L-1: AdamW then oscillates or collapses.",
                ("AdamW",),
                (rate + memory) * (rate - LR * DECAY * (response - 1)),
                rate**2 + (memory - LR * DECAY * (power - 1)) * rate + LR * DECAY * memory,
            ),
        ),
    )


DERIVATIONS = (_norm(), _power(), _exact_ratio(), _scaling_limit(), _decay())
