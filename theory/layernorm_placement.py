r"""Growth of the NTK along a ray: linear without LayerNorm, bounded with one anywhere, and the exceptions.

A three-layer critic (two hidden layers of three ReLU units, no biases) with explicit rational weights; each of the
four placements of LayerNorm. Far out on the ray, x = x_0 + ρv is written (v + t x_0)/t with t = 1/ρ: every factor
of the kernel then is a power of t times a function that is smooth at t = 0, so degree and limit are read off
without a limit process. LayerNorm at a layer of degree 1 takes the 1/t out of the value and puts a t into the
gradient below it ("rescaled-value", "rescaled-jacobian"), hence

    layers up to the first LayerNorm: degrees +1 (input) and -1 (delta), share O(1);
    layers above it: degrees 0 and 0, share O(1).

Source: paper, LayerNorm (recalled) for the two extreme cases; placements, affine, exceptions derived. One LayerNorm
suffices in the infinite-width limit by Ziomek et al. 2025 (2505.14512).
"""

from collections.abc import Collection

import sympy as sp

from theory.derivation import Derivation, Step
from theory.explicit_network import Network, gradient
from theory.homogeneity_layernorm import EPSILON, PRE, layernorm
from theory.layernorm_lemmas import jacobian

T = sp.Symbol("t", positive=True)
RHO = sp.Symbol("rho", positive=True)
C = sp.Symbol("c", positive=True)
EXAMPLE_EPSILON = sp.Rational(1, 100)
START, DIRECTION = sp.Matrix([1, 1]), sp.Matrix([2, 1])
FIRST = sp.Matrix([[1, 2], [2, -1], [-1, 3]])
SECOND = sp.Matrix([[1, 1, 1], [2, 1, -1], [1, 3, 1]])
HEAD = sp.Matrix([1, 2, -1])
GAIN, SHIFT = sp.Matrix([1, 2, 3]) / 2, sp.Matrix([1, 0, 1]) / 4
PLACEMENTS = (((), False), ((1,), False), ((1,), True), ((2,), False), ((2,), True), ((1, 2), False))
"""Layers with LayerNorm, and whether it has an affine. Both layers with affine nest radicals in sums, which sympy
takes long to compare; that case is left to the comparison with real networks."""
FAR = sp.Integer(8)
UNSEEN_SECOND = sp.Matrix([[1, 0, 0], [0, 1, 1], [0, 0, 4]])
"""Second-layer weights that send σ(W_1 v) = (4, 3, 1) to (4, 4, 4)."""
UNSEEN = sp.Matrix([[1, 2], [1, 1], [1, 3]])
"""First-layer weights that send v = (1, 0) to (1, 1, 1): LayerNorm does not see it."""


def shares(
    x: sp.MatrixBase,
    degree: int,
    normalised: Collection[int],
    affine: bool,
    t: sp.Expr,
    weights: tuple[sp.MatrixBase, sp.MatrixBase] = (FIRST, SECOND),
) -> list[tuple[int, sp.Expr]]:
    """The gradient of the example critic at x/t^degree, as (degree in 1/t, vector without that power) by layer.

    Args:
        x: Input up to its scale.
        degree: 1 for an input of size 1/t, 0 for a fixed one.
        normalised: Hidden layers with LayerNorm.
        affine: Whether the LayerNorms have gain and shift.
        t: 1/ρ.
        weights: W_1 and W_2.

    Returns:
        For w, W_2 and W_1 the gradient as a column, then the affines' gradients.
    """
    hidden, below, before, gates = x, [], [], []
    for layer, weight in enumerate(weights, start=1):
        below.append((degree, hidden))
        hidden = weight * hidden
        before.append((degree, hidden))
        if layer in normalised:
            hidden, degree = layernorm(hidden, EXAMPLE_EPSILON * t ** (2 * degree)), 0
            if affine:
                hidden = hidden.multiply_elementwise(GAIN) + SHIFT
        gates.append(sp.Matrix([sp.Integer(bool(entry.subs(RHO, 1) > 0)) for entry in hidden]))
        hidden = hidden.multiply_elementwise(gates[-1])
    rows, extra, above, falling = [(degree, hidden)], [], HEAD, 0
    for layer in (2, 1):
        size, z = before[layer - 1]
        delta = above.multiply_elementwise(gates[layer - 1])
        if layer in normalised:
            scaled = EXAMPLE_EPSILON * t ** (2 * size)
            if affine:
                extra += [(falling, delta.multiply_elementwise(layernorm(z, scaled))), (falling, delta)]
                delta = delta.multiply_elementwise(GAIN)
            delta, falling = jacobian(z, scaled).T * delta, falling - size
        grown, inputs = below[layer - 1]
        rows.append((falling + grown, (delta * inputs.T).reshape(len(delta) * len(inputs), 1)))
        above = weights[layer - 1].T * delta
    return rows + extra


def kernel(normalised: Collection[int], affine: bool, t: sp.Expr) -> list[tuple[int, sp.Expr]]:
    """Shares of k(x_0, x_0 + v/t): (degree in ρ = 1/t, factor smooth in t), for w, W_2, W_1 and the affines."""
    here = shares(START, 0, normalised, affine, sp.Integer(1))
    there = shares(DIRECTION + t * START, 1, normalised, affine, t)
    return [(far[0], near[1].dot(far[1])) for near, far in zip(here, there, strict=True)]


def plain_kernel(normalised: Collection[int], affine: bool, rho: sp.Expr, **options) -> list[sp.Expr]:
    """The same shares straight from their definition, nothing rescaled."""
    ends = [shares(x, 0, normalised, affine, sp.Integer(1), **options) for x in (START, START + rho * DIRECTION)]
    return [near[1].dot(far[1]) for near, far in zip(*ends, strict=True)]


def two_layer(weights: sp.MatrixBase, head: sp.MatrixBase, x: sp.MatrixBase, y: sp.MatrixBase) -> sp.Expr:
    """NTK of the two-layer ReLU critic without biases at two inputs with decidable gates."""
    z, other = weights * x, weights * y
    active = [sp.Integer(bool(a > 0 and b > 0)) for a, b in zip(z, other, strict=True)]
    return sum(g * (a * b + w**2 * x.dot(y)) for g, a, b, w in zip(active, z, other, head, strict=True))


def unseen_share(rho: sp.Expr) -> sp.Expr:
    """First layer's share of a two-layer LayerNorm critic along v = (1, 0) that LayerNorm does not see."""
    point = START + rho * sp.Matrix([1, 0])
    delta = [jacobian(UNSEEN * x, EPSILON).T * HEAD for x in (START, point)]
    return delta[0].dot(delta[1]) * START.dot(point)


def _without() -> Derivation:
    steps = []
    for depth in (2, 3):
        network = Network(depth)
        here = network.value("x")
        slopes = gradient(here, network.parameters)
        larger = {symbol: C * symbol for symbol in sp.symbols("x_0:2", real=True)}
        steps.append(
            Step(
                f"input-degree-{depth}",
                "∇_θ f(cx) = c ∇_θ f(x), so k(x_0, cx) = c k(x_0, x).",
                ("c > 0", "no biases", "ReLU or leaky ReLU", f"L = {depth}"),
                slopes.subs(larger, simultaneous=True),
                C * slopes,
                formula=rf"\nabla_\theta f(cx) = c\,\nabla_\theta f(x),\quad L = {depth}",
            )
        )
        start, direction = sp.symbols("y_0:2", real=True), sp.symbols("v_0:2", real=True)
        ray = {x: a + RHO * b for x, a, b in zip(sp.symbols("x_0:2", real=True), start, direction, strict=True)}
        parts = [dict(zip(sp.symbols("x_0:2", real=True), side, strict=True)) for side in (start, direction)]
        steps.append(
            Step(
                f"ray-{depth}",
                "Once its gates are those of v, ∇_θ f(x_0 + ρv) is affine in ρ with slope ∇_θ f(v): "
                "k(x_0, x_0 + ρv)/ρ → k(x_0, v), and k is Ω(ρ) exactly when k(x_0, v) ≠ 0.",
                ("gates of x are those of v", f"L = {depth}"),
                slopes.subs(ray, simultaneous=True),
                slopes.subs(parts[0], simultaneous=True) + RHO * slopes.subs(parts[1], simultaneous=True),
                formula=r"\nabla_\theta f(x_0 + \rho v) = \nabla_\theta f(x_0)|_{\text{gates of } v} + "
                rf"\rho\,\nabla_\theta f(v),\quad L = {depth}",
            )
        )
    active, other = sp.symbols("h h'", positive=True)
    product, head = sp.Symbol("p", nonnegative=True), sp.Symbol("a", real=True)
    one, tuned = sp.Matrix([[1, 1]]), sp.Matrix([1])
    weights, signs = sp.Matrix([[1, 2], [-1, 1], [-2, -1]]), sp.Matrix([1, 2, 3])
    return Derivation(
        "Growth without LayerNorm",
        "paper (recalled); overlap hypothesis and counterexamples derived",
        (
            *steps,
            Step(
                "overlap",
                "Sufficient for L = 2: ⟨x_0, v⟩ = p ≥ 0 and one unit active at both; it adds hh' + a²p > 0.",
                ("⟨x_0, v⟩ ≥ 0", "a unit active at x_0 and at v"),
                active * other + head**2 * product,
                sp.Integer(0),
                relation=">",
                witness=active * other + head**2 * product,
            ),
            Step(
                "overlap-not-enough",
                "An active unit in common is not enough when ⟨x_0, v⟩ < 0: k(x_0, v) = 0 for w = (1, 1), a = 1, "
                "x_0 = (1, 0), v = (-1, 2).",
                ("⟨x_0, v⟩ < 0: dropped assumption",),
                two_layer(one, tuned, sp.Matrix([1, 0]), sp.Matrix([-1, 2])),
                sp.Integer(0),
                formula=r"w = (1, 1),\ a = 1,\ x_0 = (1, 0),\ v = (-1, 2):\quad \sigma(w x_0)\,\sigma(w v) + "
                r"a^2\langle x_0, v\rangle = 1 - 1 = 0",
            ),
            Step(
                "opposite-ray",
                "'Any direction' fails: on the opposite ray v = -x_0 no unit is active at both, k = 0 for all ρ > 1.",
                ("L = 2", "no biases", "ReLU"),
                two_layer(weights, signs, START, -RHO * START),
                sp.Integer(0),
                formula=r"k(x_0, -\rho x_0) = 0,\quad \rho > 0",
            ),
            Step(
                "opposite-ray-deeper",
                "For L = 3 the head's share can survive on the opposite ray: h_2 of x_0 and of -ρx_0 may overlap.",
                ("W_1 = (1, -1)ᵀ, W_2 = (1, 1), x_0 = 1",),
                second_hidden(sp.Integer(1)) * second_hidden(-RHO),
                RHO,
                formula=r"h_2(x_0)\,h_2(-\rho x_0) = \rho",
            ),
        ),
    )


def second_hidden(x: sp.Expr) -> sp.Expr:
    """The unit relu(relu(x) + relu(-x)) of the one-dimensional three-layer net W_1 = (1, -1)ᵀ, W_2 = (1, 1)."""
    return sp.Max(0, sp.Max(0, x) + sp.Max(0, -x))


def _with() -> Derivation:
    steps = [
        Step(
            "rescaled-value",
            "LN_ε(z/t) = LN_{εt²}(z): the size 1/t leaves the value.",
            ("t > 0",),
            layernorm(PRE / T, EPSILON),
            layernorm(PRE, EPSILON * T**2),
            formula=r"\mathrm{LN}_\varepsilon(z/t) = \mathrm{LN}_{\varepsilon t^2}(z)",
        ),
        Step(
            "rescaled-jacobian",
            "J_ε(z/t) = t J_{εt²}(z): the gradient below falls as t = 1/ρ.",
            ("t > 0",),
            jacobian(PRE / T, EPSILON)[0, :],
            T * jacobian(PRE, EPSILON * T**2)[0, :],
            formula=r"J_\varepsilon(z/t) = t\,J_{\varepsilon t^2}(z)",
        ),
    ]
    for placement, affine in PLACEMENTS:
        degree = 0 if placement else 1
        named = "".join(map(str, placement)) or "none"
        factors = [factor for _, factor in kernel(placement, affine, 1 / FAR)]
        steps.append(
            Step(
                f"placement-{named}{'-affine' if affine else ''}",
                f"Each share of k(x_0, x_0 + ρv) is ρ^{degree} times its factor that is smooth in t = 1/ρ.",
                (f"LayerNorm in hidden layers {placement or 'none'}, affine {'on' if affine else 'off'}", "ρ = 8"),
                sp.Matrix(plain_kernel(placement, affine, FAR)),
                FAR**degree * sp.Matrix(factors),
                formula=rf"k^{{(l)}}(x_0, x_0 + \rho v) = \rho^{{{degree}}}\,\phi_l(t),\quad \rho = 1/t = {FAR}",
            )
        )
    rho = sp.Symbol("rho", real=True)
    gone = unseen_share(sp.Integer(0)) / START.dot(START)
    line = sp.Matrix([1, 2, 4])
    hidden = [FIRST * START, FIRST * (START + RHO * DIRECTION)]
    inner = plain_kernel((2,), False, RHO, weights=(FIRST, UNSEEN_SECOND))[1]
    # Only the third unit of (3, 3, 8), the pre-activations at x_0, is above the mean and so active.
    inner_slope = jacobian(UNSEEN_SECOND * hidden[0], EXAMPLE_EPSILON).T * sp.Matrix([0, 0, HEAD[2]])
    steps += [
        Step(
            "unseen-inner-direction",
            "LayerNorm in the last hidden layer alone fails likewise if C W_2 σ(W_1 v) = 0: linear in ρ.",
            ("W_2 σ(W_1 v) ∝ 1: dropped assumption", "LayerNorm in hidden layer 2 only"),
            inner,
            inner_slope.dot(inner_slope) * hidden[0].dot(hidden[1]),
            formula=r"k^{(2)}(x_0, x_0 + \rho v) = \|\delta_2\|^2\,\langle h_1(x_0), h_1(x_0 + \rho v)\rangle,\quad "
            r"h_1(x_0 + \rho v) = h_1(x_0) + \rho\,h_1(v)",
        ),
        Step(
            "unseen-direction",
            "'Any direction' fails with LayerNorm too: if C W_1 v = 0 the first layer's share is exactly linear in ρ.",
            ("W_1 v ∝ 1: dropped assumption C W_1 v ≠ 0", "⟨x_0, v⟩ = 1", "any ε"),
            unseen_share(rho),
            gone * (START.dot(START) + rho),
            formula=r"k^{(1)}(x_0, x_0 + \rho v) = \|\delta_1\|^2\,(\|x_0\|^2 + \rho\langle x_0, v\rangle)",
        ),
        Step(
            "no-epsilon",
            "With ε = 0 and biases s_1 can vanish at a finite point: z = w(x - 1) has J = J(w)/|x - 1|, x = 1 + ρ.",
            ("ε = 0: dropped assumption", "ρ > 0"),
            jacobian(line * RHO, 0),
            jacobian(line, 0) / RHO,
            formula=r"J_0(\rho\,w) = J_0(w)/\rho",
        ),
    ]
    return Derivation(
        "Growth with LayerNorm by placement", "paper (recalled) for all layers; the rest derived", tuple(steps)
    )


DERIVATIONS = (_without(), _with())
