r"""Weight decay and decaying step sizes on the self-similar ray: a threshold, and an effective time.

Weight decay gives :math:`\dot a = \eta\hat\kappa a^{2L-1} - wa`; a step size η_t the same law as a constant one
in the time :math:`\int\eta_t\,dt/\eta_0`.

Source: derived; the paper treats neither.
"""

import sympy as sp

from theory.derivation import Derivation, Step
from theory.self_similar_ray import ETA, L
from theory.sgd_growth import ELAPSED, EXPONENT, KAPPA_HAT, POWER, RATE, SCALE, crash_in, remaining

DECAY, TIME, TIMESCALE, SLOWING, NEEDED = sp.symbols("w t t_0 alpha T", positive=True)
EXCESS = sp.Symbol("e", positive=True)


def inverse_power(time: sp.Expr = TIME) -> sp.Expr:
    """a^(-m) under weight decay, from a at time 0."""
    level = ETA * KAPPA_HAT / DECAY
    return level + (SCALE**-POWER - level) * sp.exp(POWER * DECAY * time)


def critical_rate() -> sp.Expr:
    """The x = ηλ at the critical norm, Lw."""
    return L * DECAY


def decay_crash(rate: sp.Expr = RATE) -> sp.Expr:
    """Steps to the crash, -ln(1 - Lw/x)/(mw)."""
    return -sp.log(1 - critical_rate() / rate) / (POWER * DECAY)


def effective(time: sp.Expr = TIME, slowing: sp.Expr = SLOWING) -> sp.Expr:
    """∫₀^t (1 + s/t₀)^(-α) ds for α ≠ 1."""
    return TIMESCALE * ((1 + time / TIMESCALE) ** (1 - slowing) - 1) / (1 - slowing)


def needed_steps(slowing: sp.Expr = SLOWING) -> sp.Expr:
    """The time at which the effective time is T, for α ≠ 1."""
    return TIMESCALE * ((1 + (1 - slowing) * NEEDED / TIMESCALE) ** (1 / (1 - slowing)) - 1)


def _weight_decay() -> Derivation:
    flow = ETA * KAPPA_HAT * SCALE ** (2 * L - 1) - DECAY * SCALE
    above = critical_rate() * (1 + EXCESS)
    weight, pull = sp.symbols("theta g", real=True)
    penalty = sp.Symbol("w_d", positive=True)
    vanishing = sp.Limit(decay_crash(), DECAY, 0, "+")
    ratio = sp.Limit(penalty / (KAPPA_HAT * SCALE**4), SCALE, sp.oo)
    return Derivation(
        "Weight decay",
        "derived",
        (
            Step(
                "coupled",
                "Under gradient descent an L2 penalty w_d is decoupled decay with w = η·w_d.",
                ("plain gradient descent",),
                weight - ETA * (pull + penalty * weight),
                (1 - ETA * penalty) * weight - ETA * pull,
            ),
            Step(
                "solution",
                "B = a^(-m) obeys Ḃ = mwB - mηκ̂, solved by a fixed point and an exponential.",
                ("r = 0", "on the ray"),
                inverse_power().diff(TIME),
                POWER * DECAY * inverse_power() - POWER * ETA * KAPPA_HAT,
            ),
            Step(
                "initial",
                "It starts at a^(-m).",
                (),
                inverse_power(sp.Integer(0)),
                SCALE**-POWER,
                shown=sp.Subs(inverse_power(), TIME, 0),
            ),
            Step(
                "flow",
                "That is the flow of a: -m a^(-m-1)ȧ = Ḃ.",
                (),
                -POWER * SCALE ** (-POWER - 1) * flow,
                POWER * DECAY * SCALE**-POWER - POWER * ETA * KAPPA_HAT,
            ),
            Step(
                "critical",
                "The fixed point is x = ηλ = Lw; ȧ = a(x - Lw)/L is positive above and negative below.",
                ("x = ηLκ̂a^m",),
                flow,
                SCALE * (ETA * L * KAPPA_HAT * SCALE**POWER - critical_rate()) / L,
            ),
            Step(
                "crash",
                "Above it, at x = Lw(1 + e), a^(-m) reaches zero after -ln(1 - Lw/x)/(mw) steps.",
                ("x > Lw",),
                inverse_power(decay_crash(above)).subs(KAPPA_HAT, above / (ETA * L * SCALE**POWER)),
                sp.Integer(0),
            ),
            Step(
                "no-decay",
                "As w → 0 that is L/((2L-2)x).",
                (),
                crash_in(RATE),
                vanishing.doit(),
                shown=vanishing,
            ),
            Step(
                "adam-coupled",
                "Under Adam a penalty joins the gradient, whose share of it vanishes as a^-(2L-2), here L = 3: it "
                "does not stop the growth, decoupled decay does (theory.adam_growth).",
                ("L = 3", "|g| ∝ a^(2L-1)"),
                sp.Integer(0),
                ratio.doit(),
                shown=ratio,
            ),
        ),
    )


def _schedule() -> Derivation:
    more = sp.Symbol("b", positive=True)
    faster, slower = 1 + more, 1 / (1 + more)
    bounded = sp.Limit(effective(slowing=sp.Integer(2)), TIME, sp.oo)
    unbounded = sp.Limit(1 / effective(slowing=sp.Rational(1, 2)), TIME, sp.oo)
    harmonic = TIMESCALE * sp.log(1 + TIME / TIMESCALE)
    law = remaining(EXPONENT) ** (-1 / EXPONENT)
    return Derivation(
        "Decaying step size",
        "derived",
        (
            Step(
                "effective-time",
                "The effective time grows by η_t/η₀ = (1 + t/t₀)^(-α) a step.",
                ("α ≠ 1",),
                effective().diff(TIME),
                (1 + TIME / TIMESCALE) ** -SLOWING,
                ranges={SLOWING: (1.2, 3)},
            ),
            Step(
                "harmonic",
                "At α = 1 it is t₀ ln(1 + t/t₀).",
                ("α = 1",),
                harmonic.diff(TIME),
                (1 + TIME / TIMESCALE) ** -1,
                shown=sp.Derivative(harmonic, TIME),
            ),
            Step(
                "budget",
                "For α = 1 + b > 1 it falls short of t₀/(α-1) by a power of t: a mode that needs more never crashes.",
                ("α > 1",),
                TIMESCALE / more - effective(slowing=faster),
                sp.Integer(0),
                relation=">",
                witness=TIMESCALE / more * (1 + TIME / TIMESCALE) ** -more,
            ),
            Step(
                "limit-2",
                "It tends to that budget, here for α = 2.",
                ("α = 2",),
                TIMESCALE,
                bounded.doit(),
                shown=bounded,
            ),
            Step(
                "limit-half",
                "For α < 1 it is unbounded, here for α = 1/2.",
                ("α = 1/2",),
                sp.Integer(0),
                unbounded.doit(),
                shown=unbounded,
            ),
            Step(
                "inverse",
                "For α < 1 the effective time T is reached after t₀((1 + (1-α)T/t₀)^(1/(1-α)) - 1) steps.",
                ("α = 1/(1+b)",),
                effective(needed_steps(slower), slower),
                NEEDED,
                shown=sp.Subs(effective(slowing=slower), TIME, needed_steps(slower)),
            ),
            Step(
                "inverse-2",
                "For α = 2 after T/(1 - T/t₀), infinite at T = t₀.",
                ("α = 2",),
                needed_steps(sp.Integer(2)),
                NEEDED / (1 - NEEDED / TIMESCALE),
                where=(NEEDED < TIMESCALE,),
            ),
            Step(
                "law",
                "Q(T) = (1 - pxT)^(-1/p) in the effective time T(t) obeys dQ/dt = (η_t/η₀)·dQ/dT, η_t/η₀ = (1 + "
                "t/t₀)^(-α).",
                ("α ≠ 1", "p = (2L-2)/L"),
                law.subs(ELAPSED, effective()).diff(TIME),
                (1 + TIME / TIMESCALE) ** -SLOWING * law.diff(ELAPSED).subs(ELAPSED, effective()),
                ranges={SLOWING: (1.2, 3), RATE: (0.1, 0.3), TIME: (0.1, 0.5), TIMESCALE: (0.1, 1)},
            ),
            Step(
                "law-crash",
                "Its bracket 1 - pxT is zero, and Q infinite, when T is L/((2L-2)x), the crash of a constant step: "
                "t = t₀((1 + (1-α)T/t₀)^(1/(1-α)) - 1).",
                ("α = 1/(1+b) < 1",),
                remaining(EXPONENT).subs(ELAPSED, effective(needed_steps(slower), slower)).subs(NEEDED, crash_in(RATE)),
                sp.Integer(0),
                shown=sp.Subs(
                    remaining(EXPONENT), ELAPSED, effective(needed_steps(slower), slower).subs(NEEDED, crash_in(RATE))
                ),
            ),
        ),
    )


DERIVATIONS = (_weight_decay(), _schedule())
