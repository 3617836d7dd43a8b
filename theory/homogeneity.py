r"""Homogeneity in the parameters: :math:`f_{c\theta} = c^L f_\theta`, gradients, kernel, biases, LayerNorm.

For every L the argument is an induction over layers: with hidden layer l-1 scaled by :math:`c^{l-1}`, a
positively homogeneous activation scales layer l by :math:`c^l`. Networks of depth 1 to 4 with explicit
weights confirm it. A ReLU is written by its gate, 0 or 1, which a factor c > 0 cannot move (step "gate").

Source: paper, homogeneity (recalled); per-layer exponents, which biases matter, the kernel of repaired
biases, and the degrees of a LayerNorm critic are derived.
"""

from functools import cache

import sympy as sp

from theory.derivation import Derivation, Step
from theory.explicit_network import C, Network, gradient

DEPTH = sp.Symbol("L", integer=True, positive=True)
LAYER = sp.Symbol("l", integer=True, positive=True)
Z = sp.Symbol("z", real=True)
LEAK = sp.Symbol("s", real=True)
VALUE = sp.Symbol("f", real=True)


def scaled(expression, replacement: dict) -> sp.Expr:
    """All symbols replaced at once."""
    return expression.subs(replacement, simultaneous=True)


@cache
def kernel_shares(depth: int, biased: bool = False) -> tuple[sp.Expr, ...]:
    """Each layer's share of k(x, x'), of the weights alone."""
    network = Network(depth)
    here, there = network.value("x", biased), network.value("y", biased)
    return tuple(gradient(here, list(w)).dot(gradient(there, list(w))) for w in network.weights)


def _general() -> tuple[Step, ...]:
    scale = sp.Function("s")
    solved = sp.rsolve(scale(LAYER) - C * scale(LAYER - 1), scale(LAYER), {scale(0): 1})
    # The scales that the two recursions have: h_l from h_0 = x upwards, δ_l from δ_L = 1 downwards.
    hidden, delta = solved.subs(LAYER, LAYER - 1), solved.subs(LAYER, DEPTH - LAYER)
    weight = sp.Matrix(2, 2, sp.symbols("W_1:5", real=True))
    below, above, other_below, other_above = (sp.Matrix(sp.symbols(f"{n}_1:3", real=True)) for n in "hdke")
    gate = sp.diag(*sp.symbols("g_1:3", integer=True, nonnegative=True))
    outputs = sp.Matrix([above.dot(weight * below)])
    entries = (above * below.T).reshape(4, 1)
    scaled_share = ((delta * above).dot(delta * other_above)) * ((hidden * below).dot(hidden * other_below))
    leaky = ((1 + LEAK) * Z + (1 - LEAK) * sp.Abs(Z)) / 2
    stretch = (C**DEPTH * VALUE).diff(C).subs(C, 1)
    return (
        Step(
            "activation",
            "Leaky ReLU with any slope s (ReLU is s = 0) satisfies σ(cz) = cσ(z).",
            ("c > 0",),
            leaky.subs(Z, C * Z),
            C * leaky,
        ),
        Step(
            "gate",
            "A factor c > 0 moves no gate.",
            ("c > 0",),
            sp.sign(C * Z),
            sp.sign(Z),
            shown=sp.sign(C * Z, evaluate=False),
        ),
        Step(
            "layer-recursion",
            "Layer scales s_l = c·s_{l-1}, s_0 = 1, have the solution c^l, so f scales as c^L.",
            ("no biases", "σ(cz) = cσ(z)"),
            solved.subs(LAYER, DEPTH),
            C**DEPTH,
            formula=r"s_l = c\,s_{l-1},\ s_0 = 1 \quad\Rightarrow\quad s_L = c^L",
        ),
        Step(
            "forward",
            "Induction upwards: with W_l → cW_l and h_{l-1} → c^(l-1) h_{l-1}, h_l = g W_l h_{l-1} is multiplied by "
            "c^l.",
            ("no biases", "width 2"),
            gate * (C * weight) * (C ** (LAYER - 1) * below),
            C**LAYER * gate * weight * below,
            formula=r"\mathrm{diag}(g)\,(cW_l)\,(c^{l-1}h_{l-1}) = c^l\,\mathrm{diag}(g)\,W_l h_{l-1}",
        ),
        Step(
            "backward",
            "Induction downwards from δ_L = 1: with δ_l → c^(L-l) δ_l, δ_{l-1} = g W_lᵀ δ_l is multiplied by "
            "c^(L-l+1).",
            ("no biases", "width 2"),
            gate * (C * weight).T * (C ** (DEPTH - LAYER) * above),
            C ** (DEPTH - LAYER + 1) * gate * weight.T * above,
            formula=r"\mathrm{diag}(g)\,(cW_l)^\top(c^{L-l}\delta_l) = c^{L-l+1}\,\mathrm{diag}(g)\,W_l^\top\delta_l",
        ),
        Step(
            "outer-product",
            "With gates fixed f = ⟨δ_l, W_l h_{l-1}⟩, whose derivative by W_l is δ_l ⊗ h_{l-1}.",
            ("width 2",),
            outputs.jacobian(list(weight)).T,
            entries,
            formula=r"\partial\,\langle\delta_l, W_l h_{l-1}\rangle/\partial W_l = \delta_l\,h_{l-1}^\top",
        ),
        Step(
            "layer-gradient",
            "The recursions s_l = c·s_{l-1} give δ_l the scale c^(L-l) and h_{l-1} the scale c^(l-1), so layer l's "
            "gradient δ_l ⊗ h_{l-1} is multiplied by c^(L-1), for every l.",
            ("no biases", "1 ≤ l ≤ L"),
            ((delta * above) * (hidden * below).T).reshape(4, 1),
            C ** (DEPTH - 1) * entries,
            formula=r"(c^{L-l}\delta_l)(c^{l-1}h_{l-1})^\top = c^{L-1}\,\delta_l h_{l-1}^\top",
        ),
        Step(
            "kernel",
            "Layer l's share of the kernel, ⟨δ_l, δ'_l⟩⟨h_{l-1}, h'_{l-1}⟩, is multiplied by c^(2L-2), for every l: so "
            "is the kernel.",
            ("no biases",),
            scaled_share,
            C ** (2 * DEPTH - 2) * above.dot(other_above) * below.dot(other_below),
            formula=r"\langle c^{L-l}\delta_l, c^{L-l}\delta'_l\rangle\langle c^{l-1}h_{l-1}, c^{l-1}h'_{l-1}\rangle = "
            r"c^{2L-2}\,\langle\delta_l, \delta'_l\rangle\langle h_{l-1}, h'_{l-1}\rangle",
        ),
        Step(
            "bias-kernel",
            "With b_l → c^l b_l the biases' share of layer l scales with c^(2L-2l): as the kernel for l = 1 only.",
            ("b_l → c^l b_l",),
            delta**2 / C ** (2 * DEPTH - 2),
            C ** (2 - 2 * LAYER),
        ),
        Step(
            "euler",
            "The derivative of f_{cθ} = c^L f_θ by c at c = 1 is Euler's ⟨θ, ∇f⟩ = L f.",
            ("f differentiable at θ",),
            stretch,
            DEPTH * VALUE,
            shown=sp.Subs(sp.Derivative(C**DEPTH * VALUE, C), C, 1),
        ),
        Step(
            "not-homogeneous",
            "For tanh the law fails: tanh(2z) - 2 tanh(z) is not zero.",
            ("activation tanh: dropped assumption",),
            sp.expand_trig(sp.tanh(2 * Z)) - 2 * sp.tanh(Z),
            -2 * sp.tanh(Z) ** 3 / (1 + sp.tanh(Z) ** 2),
        ),
        Step(
            "negative-factor",
            "For c < 0 the law fails: σ(-z) + σ(z) = |z| for ReLU.",
            ("c = -1: dropped assumption",),
            leaky.subs({LEAK: 0, Z: -Z}) + leaky.subs(LEAK, 0),
            sp.Abs(Z),
            shown=sp.Add(leaky.subs({LEAK: 0, Z: -Z}), leaky.subs(LEAK, 0), evaluate=False),
        ),
    )


def concrete_steps(depth: int) -> tuple[Step, ...]:
    """Output, gradient, Euler's identity and kernel of a network of given depth."""
    network = Network(depth)
    value, uniform = network.value(), network.scaling([1] * depth)
    slopes = gradient(value, network.parameters)
    steps = [
        Step(
            f"value-{depth}",
            f"f scales with c^{depth}.",
            (f"L = {depth}",),
            scaled(value, uniform),
            C**depth * value,
            formula=rf"f_{{c\theta}} = c^{{{depth}}} f_\theta",
        ),
        Step(
            f"gradient-{depth}",
            f"∇f scales with c^{depth - 1}.",
            (f"L = {depth}",),
            scaled(slopes, uniform),
            C ** (depth - 1) * slopes,
            formula=rf"\nabla f_{{c\theta}} = c^{{{depth - 1}}}\,\nabla f_\theta",
        ),
        Step(
            f"euler-{depth}",
            f"⟨θ, ∇f⟩ = {depth} f.",
            (f"L = {depth}",),
            slopes.dot(network.parameters),
            depth * value,
            formula=rf"\langle\theta, \nabla f\rangle = {depth}\,f",
        ),
        Step(
            f"euler-by-layer-{depth}",
            "⟨W_l, ∂f/∂W_l⟩ = f for each layer.",
            (f"L = {depth}",),
            sp.Matrix([gradient(value, list(w)).dot(list(w)) for w in network.weights]),
            sp.Matrix([value] * depth),
            formula=rf"\langle W_l, \partial f/\partial W_l\rangle = f,\quad l = 1, \dots, {depth}",
        ),
    ]
    if depth <= 3:
        shares = sp.Matrix(kernel_shares(depth))
        exponents = [layer % 2 + 1 for layer in range(depth)]
        steps += [
            Step(
                f"kernel-{depth}",
                f"Each layer's share of k(x, y) scales with c^{2 * depth - 2}.",
                (f"L = {depth}",),
                scaled(shares, uniform),
                C ** (2 * depth - 2) * shares,
                formula=rf"k_{{c\theta}}(x, y) = c^{{{2 * depth - 2}}}\,k_\theta(x, y)",
            ),
            Step(
                f"kernel-unequal-{depth}",
                "With W_l → c^(e_l) W_l the share of layer l scales with c^(2Σe - 2e_l): no common power "
                "unless the exponents agree.",
                (f"L = {depth}", f"exponents {exponents}"),
                scaled(shares, network.scaling(exponents)),
                sp.Matrix([C ** (2 * sum(exponents) - 2 * e) * k for e, k in zip(exponents, shares, strict=True)]),
                formula=rf"k^{{(l)}}(x, y) \mapsto c^{{2\sum_m e_m - 2e_l}}\,k^{{(l)}}(x, y),\quad L = {depth}",
            ),
        ]
    return tuple(steps)


def bias_steps(depth: int) -> tuple[Step, ...]:
    """What biases break and what repairs it."""
    network = Network(depth)
    value = network.value(biased=True)
    uniform = network.scaling([1] * depth, [1] * depth)
    repaired = network.scaling([1] * depth, list(range(1, depth + 1)))
    first_only = {entry: 0 for bias in network.biases[1:] for entry in bias}
    head = {entry: 0 for bias in network.biases[:-1] for entry in bias}
    return (
        Step(
            f"head-bias-{depth}",
            "With a head bias alone, f_{cθ} - c^L f_θ = (c - c^L)·b_L.",
            ("biases scaled by c like the weights: dropped assumption",),
            scaled(value.subs(head), uniform) - C**depth * value.subs(head),
            (C - C**depth) * network.biases[-1][0],
        ),
        Step(
            f"first-bias-{depth}",
            "Biases of the first layer alone are harmless: f_{cθ} = c^L f_θ.",
            ("biases in layer 1 only",),
            scaled(value.subs(first_only), uniform),
            C**depth * value.subs(first_only),
        ),
        Step(
            f"repair-{depth}",
            "b_l → c^l b_l restores f_{cθ} = c^L f_θ.",
            ("W_l → c W_l, b_l → c^l b_l",),
            scaled(value, repaired),
            C**depth * value,
        ),
    )


SOURCE = "paper, homogeneity (recalled); per-layer exponents and biases derived"
CONCRETE = tuple(step for depth in range(1, 5) for step in concrete_steps(depth))
BIASED = tuple(step for depth in (2, 3) for step in bias_steps(depth))

DERIVATIONS = (
    Derivation("Homogeneity for every depth", SOURCE, _general()),
    Derivation("Homogeneity of networks of depth 1 to 4", SOURCE, CONCRETE),
    Derivation("Biases", SOURCE, BIASED),
)
