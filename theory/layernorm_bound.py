r"""The constant that bounds the kernel of a LayerNorm critic on a ray, assembled from the lemmas.

With H_l ≥ ‖h_l‖, P_l ≥ ‖∂f/∂p_l‖ (p_l the activation's input), s_l the floor of LayerNorm l's standard deviation,
G_l = max|g_l|, t_l the shift's norm, ω_l = ‖W_l‖ and β = 1 with biases, 0 without:

    P_{L-1} = ℓω_L,  P_{l-1} = ℓω_l (G_l/s_l) P_l,  H_l = ℓ(G_l √n_l + t_l)
    K = H_{L-1}² + β + Σ_{l≥2} (G_l P_l/s_l)²(H_{l-1}² + β) + (G_1 P_1)² R/s_1(x_0) + Σ_affine n_l P_l²

and R = sup |⟨x_0, x⟩ + β|/s_1(x) on the ray ("ray-supremum" of `theory.layernorm_lemmas`). A quantity that stays below
a bound B is written B/(1 + e) with e ≥ 0. `seem.layernorm` computes K for networks.

Source: that the kernel stays O(1) is the paper's (recalled, "any direction v"); hypotheses and constant are derived.
"""

import sympy as sp

from theory.derivation import Derivation, Step

LIPSCHITZ, HEAD, SECOND = sp.symbols("ell omega_3 omega_2", positive=True)
GAINS = sp.symbols("G_1 G_2", positive=True)
SHIFTS = sp.symbols("t_1 t_2", nonnegative=True)
UNITS = sp.symbols("n_1 n_2", positive=True)
FLOORS = sp.symbols("s_1 s_2", positive=True)
"""s_1(x_0), the first layer's standard deviation at the reference point, and the floor of the second's."""
SUPREMUM, BIAS = sp.Symbol("R", positive=True), sp.Symbol("beta", nonnegative=True)
SLACK = sp.symbols("e_1:9", nonnegative=True)


def below(*bounds: sp.Expr) -> sp.Expr:
    """A product of quantities that each stay below their bound."""
    return sp.prod(bound / (1 + e) for bound, e in zip(bounds, SLACK, strict=False))


def shortfall(count: int) -> sp.Expr:
    """1 - 1/((1 + e_1) … (1 + e_count)), as a quotient whose sign is manifest."""
    whole = sp.prod(1 + e for e in SLACK[:count])
    return (sp.expand(whole) - 1) / whole


def sizes() -> tuple[sp.Expr, sp.Expr]:
    """H_1 and H_2."""
    return tuple(LIPSCHITZ * (g * sp.sqrt(n) + t) for g, n, t in zip(GAINS, UNITS, SHIFTS, strict=True))


def slopes() -> tuple[sp.Expr, sp.Expr]:
    """P_1 and P_2."""
    last = LIPSCHITZ * HEAD
    return LIPSCHITZ * SECOND * GAINS[1] / FLOORS[1] * last, last


def constant(affine: bool = True) -> tuple[sp.Expr, ...]:
    """The terms of K for L = 3, both hidden layers normalised: head, W_2, W_1, and the affines' two."""
    (first, second), (slope, last) = sizes(), slopes()
    terms = (
        second**2 + BIAS,
        (GAINS[1] * last / FLOORS[1]) ** 2 * (first**2 + BIAS),
        (GAINS[0] * slope) ** 2 * SUPREMUM / FLOORS[0],
    )
    return (*terms, UNITS[1] * last**2, UNITS[0] * slope**2) if affine else terms


def _steps() -> tuple[Step, ...]:
    gain, floor, slope, size, weight = sp.symbols("G s P H omega", positive=True)
    scaled, shift, angle = sp.symbols("a t phi", positive=True)
    spread, start = sp.symbols("s_x s_1", positive=True)
    terms = constant()
    # The kernel from the factors themselves, each as large as it can be: what `constant` has put together.
    (first, second), (shift_1, shift_2), (many_1, many_2) = GAINS, SHIFTS, UNITS
    hidden_1, hidden_2 = (
        LIPSCHITZ * (first * sp.sqrt(many_1) + shift_1),
        LIPSCHITZ * (second * sp.sqrt(many_2) + shift_2),
    )
    head, across = LIPSCHITZ * HEAD, LIPSCHITZ**2 * SECOND * second / FLOORS[1] * HEAD
    largest = (
        hidden_2 * hidden_2 + BIAS,
        (second * head / FLOORS[1]) * (second * head / FLOORS[1]) * (hidden_1 * hidden_1 + BIAS),
        (first * across / FLOORS[0]) * (first * across) * SUPREMUM,
        many_2 * head * head,
        many_1 * across * across,
    )
    kernel = sum(share / (1 + e) for share, e in zip(largest, SLACK, strict=False))
    return (
        Step(
            "size",
            "H = ℓ(G√n + t) bounds ‖h‖: of σ(gŷ + t) with ‖gŷ‖ ≤ G√n =: a the norm is largest when both summands point "
            "the same way, at φ = 0.",
            ("|σ(p)| ≤ ℓ|p|", "‖LN(z)‖² ≤ n (output-length)"),
            LIPSCHITZ**2 * (scaled + shift) ** 2,
            LIPSCHITZ**2 * (scaled**2 + shift**2 + 2 * scaled * shift * sp.cos(angle)),
            relation=">=",
            witness=4 * LIPSCHITZ**2 * scaled * shift * sp.sin(angle / 2) ** 2,
        ),
        Step(
            "slope",
            "P_{l-1} = ℓω(G/s)P bounds the gradient one layer below: σ', ‖W‖ = ω, the gain and ‖J‖ ≤ 1/s each stay "
            "below "
            "their bounds.",
            ("|σ'| ≤ ℓ", "‖J‖ ≤ 1/s (operator-norm)"),
            LIPSCHITZ * weight * gain / floor * slope,
            below(LIPSCHITZ, weight, gain, 1 / floor, slope),
            relation=">=",
            witness=LIPSCHITZ * weight * gain / floor * slope * shortfall(5),
        ),
        Step(
            "inner-share",
            "Layer l's share ⟨δ, δ'⟩(⟨h, h'⟩ + β) is at most (GP/s)²(H² + β): δ = Jᵀ(g ∂f/∂p) at either point.",
            ("outer-product and cauchy-schwarz of the lemmas", "l ≥ 2"),
            (gain * slope / floor) ** 2 * (size**2 + BIAS),
            below(gain * slope / floor, gain * slope / floor, size, size) + BIAS * below(*[gain * slope / floor] * 2),
            relation=">=",
            witness=(gain * slope / floor) ** 2 * (size**2 * shortfall(4) + BIAS * shortfall(2)),
        ),
        Step(
            "first-share",
            "The first layer's share is at most (GP)² R/s_1(x_0): ‖δ‖ ≤ GP/s_1(x_0) at x_0 and GP/s_1(x) at x, and "
            "|⟨x_0, x⟩ + β| ≤ R s_1(x), so that s_1(x) cancels: the length of the ray drops out.",
            ("C W_1 v ≠ 0 (ray-supremum)",),
            (gain * slope) ** 2 * SUPREMUM / start,
            below(gain * slope / start, gain * slope / spread, SUPREMUM * spread),
            relation=">=",
            witness=(gain * slope) ** 2 * SUPREMUM / start * shortfall(3),
        ),
        Step(
            "constant",
            "K for L = 3 with affine: no share exceeds its term, so the kernel stays below K at every length of the "
            "ray.",
            ("both hidden layers normalised", "affine-share of the lemmas for the last two terms"),
            sum(terms),
            kernel,
            relation=">=",
            witness=sum(term * e / (1 + e) for term, e in zip(terms, SLACK, strict=False)),
            formula=r"K = H_2^2 + \beta + \left(\tfrac{G_2P_2}{s_2}\right)^2(H_1^2 + \beta) + "
            r"(G_1P_1)^2\,\tfrac{R}{s_1(x_0)} + n_2P_2^2 + n_1P_1^2 \ge |k(x_0, x_0 + \rho v)|,\quad "
            r"H_l = \ell(G_l\sqrt{n_l} + \|t_l\|),\ P_2 = \ell\|w\|,\ P_1 = \ell\|W_2\|\tfrac{G_2}{s_2}P_2",
        ),
        Step(
            "head-squared",
            "Every term but the first two grows as ω_3², the square of the head's norm: the bound outlives no "
            "training.",
            (),
            sum(terms[1:]).subs(HEAD, 2 * HEAD),
            4 * sum(terms[1:]),
            formula=r"\left.(K - H_2^2 - \beta)\right|_{2\omega_3} = 4\,\left.(K - H_2^2 - \beta)\right|_{\omega_3}",
        ),
    )


DERIVATIONS = (Derivation("The constant K", "paper (recalled: O(1)); the constant derived", _steps()),)
