r"""Where LayerNorm must stand in a network with skip connections: on every path from the input to the head.

The critic of this module is residual, :math:`f = w\cdot N\left(s + W_2\,\sigma(\mathrm{LN}(W_1 s))\right)`, s = Ex,
with LayerNorm in its branch and N either LayerNorm or nothing. Far out on the ray, x = (v + t x_0)/t with t = 1/ρ, each
factor is a power of t times a function smooth at t = 0 (`theory.layernorm_placement`). Along one path

    below the path's first LayerNorm: input of degree 1, gradient of degree -1, share O(1);
    above it:                         input of degree 0, gradient of degree 0 or less, share O(1);
    on a path without LayerNorm:      input of degree 1, gradient of degree 0, share Ω(ρ).

A skip connection adds a path. The one around the branch passes no LayerNorm unless N is one.

Source: derived.
"""

import sympy as sp

from theory.derivation import Derivation, Step
from theory.homogeneity_layernorm import layernorm
from theory.layernorm_lemmas import jacobian
from theory.layernorm_placement import DIRECTION, EXAMPLE_EPSILON, FAR, FIRST, HEAD, SECOND, START

EMBEDDING = sp.Matrix([[1, 2], [2, -1], [-1, 1]])
FIRST_SQUARE = FIRST.row_join(sp.Matrix([1, 0, 2]))
"""W_1, of three units on a stream of three."""
INNER_EPSILON = sp.Rational(2174, 441)
"""ε of the branch's LayerNorm: it makes both standard deviations of the example rational, 68/21 and its like at ρ "
"= 8."""
T = sp.Symbol("t", positive=True)
STREAM, BRANCH, MOVED = (sp.Matrix(sp.symbols(f"{name}_1:4", real=True)) for name in "hbv")
RHO = sp.Symbol("rho", positive=True)
DEGREES = {True: (0, -1, -1, 0), False: (1, 0, 0, 1)}
"""Degrees in ρ of the shares of w, W_2, W_1 and E, with LayerNorm before the head and without."""


def shares(x: sp.MatrixBase, degree: int, final: bool, t: sp.Expr) -> list[tuple[int, sp.MatrixBase]]:
    """The gradient at x/t^degree for w, W_2, W_1 and E, as (degree in 1/t, vector without that power).

    Args:
        x: Input up to its scale.
        degree: 1 for an input of size 1/t, 0 for a fixed one.
        final: Whether N is LayerNorm.
        t: 1/ρ.
    """
    epsilon, inner_epsilon = (value * t ** (2 * degree) for value in (EXAMPLE_EPSILON, INNER_EPSILON))
    stream = EMBEDDING * x
    inner = FIRST_SQUARE * stream
    normal = layernorm(inner, inner_epsilon)
    gates = sp.Matrix([sp.Integer(bool(entry > 0)) for entry in normal])
    active = normal.multiply_elementwise(gates)
    summed = stream + t**degree * SECOND * active
    output, delta = (layernorm(summed, epsilon), jacobian(summed, epsilon).T * HEAD) if final else (summed, HEAD)
    below = -degree if final else 0
    inner_delta = jacobian(inner, inner_epsilon).T * (SECOND.T * delta).multiply_elementwise(gates)
    skipped = delta + t**degree * FIRST_SQUARE.T * inner_delta
    return [
        (0 if final else degree, output),
        (below, (delta * active.T).reshape(9, 1)),
        (below, (inner_delta * stream.T).reshape(9, 1)),
        (below + degree, (skipped * x.T).reshape(6, 1)),
    ]


def kernel(final: bool, t: sp.Expr) -> list[tuple[int, sp.Expr]]:
    """Shares of k(x_0, x_0 + v/t): (degree in ρ = 1/t, factor smooth in t)."""
    here, there = shares(START, 0, final, sp.Integer(1)), shares(DIRECTION + t * START, 1, final, t)
    return [(far[0], near[1].dot(far[1])) for near, far in zip(here, there, strict=True)]


def plain_kernel(final: bool, rho: sp.Expr) -> list[sp.Expr]:
    """The same shares straight from their definition, nothing rescaled."""
    ends = [shares(x, 0, final, sp.Integer(1)) for x in (START, START + rho * DIRECTION)]
    return [near[1].dot(far[1]) for near, far in zip(*ends, strict=True)]


def _steps() -> tuple[Step, ...]:
    explicit = tuple(
        Step(
            f"residual-{'normalised' if final else 'open'}",
            f"Each share of k(x_0, x_0 + ρv), of w, W_2, W_1 and E, is its power of ρ, with the degrees {degrees}, "
            f"times "
            "a factor smooth in t = 1/ρ.",
            (f"N is {'LayerNorm' if final else 'nothing'}", "ρ = 8", "weights of the example"),
            sp.Matrix(plain_kernel(final, FAR)),
            sp.diag(*[FAR**degree for degree in degrees]) * sp.Matrix([factor for _, factor in kernel(final, 1 / FAR)]),
            formula=rf"k^{{(p)}}(x_0, x_0 + \rho v) = \rho^{{d_p}}\,\phi_p(1/\rho),\quad d = {degrees}",
        )
        for final, degrees in DEGREES.items()
    )
    far = STREAM.dot(STREAM + RHO * MOVED + BRANCH)
    slope = sp.Limit(far / RHO, RHO, sp.oo)
    return (
        Step(
            "skip",
            "Around a bounded branch b the stream h + ρv + b goes on growing, and the head's share of the kernel "
            "with it, "
            "at the slope ⟨h, v⟩.",
            ("no LayerNorm on the skip connection",),
            slope.doit(),
            STREAM.dot(MOVED),
            shown=slope,
        ),
        Step(
            "skip-normalised",
            "A LayerNorm before the head takes the size 1/t out of the sum of stream and branch: "
            "LN_ε((v + t(h + b))/t) = LN_{εt²}(v + t(h + b)), which is smooth at t = 0.",
            ("t > 0",),
            layernorm((MOVED + T * (STREAM + BRANCH)) / T, EXAMPLE_EPSILON)[0],
            layernorm(MOVED + T * (STREAM + BRANCH), EXAMPLE_EPSILON * T**2)[0],
            formula=r"\mathrm{LN}_\varepsilon\left(\tfrac{v + t(h + b)}{t}\right) = "
            r"\mathrm{LN}_{\varepsilon t^2}\left(v + t(h + b)\right)",
        ),
        *explicit,
    )


DERIVATIONS = (Derivation("LayerNorm on every path", "derived", _steps()),)
