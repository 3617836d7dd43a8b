r"""Which symbols a statement names, and under which names they stand in an equation.

A statement may speak of a composite, a critic f or a matrix A; its equation then holds the entries. `NOTATION` says
which. A symbol that a statement names must occur in the equation, stand there under such a name, or be given a value
in the statement or its assumptions ("L = 2", "α → ∞"): `missing` lists those that do none of it.
"""

import re

import sympy as sp

from theory.derivation import Step

GREEK = dict(
    zip(
        "αβγδεηθκλμνρστφψωΦ",
        [
            "alpha",
            "beta",
            "gamma",
            "delta",
            "epsilon",
            "eta",
            "theta",
            "kappa",
            "lambda",
            "mu",
            "nu",
            "rho",
            "sigma",
            "tau",
            "phi",
            "psi",
            "omega",
            "Phi",
        ],
        strict=True,
    )
)
PROSE = "aA"
"""Letters that are English words too: symbols only beside a sign."""
SIGNS = "=^_()[]{}·/|‖⟨⟩²³⁻ᵀ+*≤≥<>→∝⊥∇∂Σ√'₀₁₂" + "".join(GREEK)
NOT_SYMBOLS = re.compile(
    r"'s\b|(?<![A-Za-z])e\^|/e\b|e²|\be_\d|\bd[a-zAB]*/d\w+|\b[oO]\(|Re\b|Im\b|'[^']*'|\(Samuelson\)|E\[|"
    r"\bi(?=b|ω|γ)|ia?γ|_\{[^}]*\}|_[A-Za-z0-9]|\blr\b|(?<![A-Za-z])I(?![A-Za-z_])|L2"
)
"""Genitives, exponentials, differentials, Landau's O, real and imaginary parts, quotations, indices, identities."""

NUMBERS = "*"
"""A symbol whose value is written out: the equation holds the numbers of the example."""
CRITIC = "theta|w1|w|w x|Phi|Phi^1"
MATRIX = "Phi Phi^*|g h|gamma p|gamma x|w x|m k r|Phi^1 Psi^1"
NOTATION: dict[str, dict[str, str]] = {
    "": {
        "L": "ell|n",
        "m": "ell",
        "p": "ell",
        "f": CRITIC,
        "θ": CRITIC,
        "Φ": CRITIC,
        "X": "x|Phi|w|Phi^1|gamma h|gamma p",
        "A": MATRIX,
        "G": "w|Phi|g|Phi^1",
        "W": "w1|w2",
        "k": "w1|k",
        "κ": "kappahat",
        "D": "d",
        "λ": "x|a b|gamma x|ell kappahat",
        "u": "theta gamma|w y|u^1",
        "Q": "ell|uhat",
    },
    "td_iteration": {"η": "d a w"},
    "homogeneity": {
        "W": "W|d h|w1",
        "δ": "d",
        "c": "x",
        "e": "w1|x",
        "b": "b2|b3",
        "L": "w2 w1",
        "f": "w1|L c|x",
        "θ": "w1|f",
        "k": "w1|x",
    },
    "homogeneity_layernorm": {"c": "z", "f": "v", "δ": "v z", "h": "v z", "W": "z", "ε": "S"},
    "eigenvalue_sign": {
        "A": "a b|lambda p q|eta",
        "η": "a b|phi rho",
        "G": "rho",
        "g": "rho",
        "S": "p q",
        "u": "a b t",
        "b": "phi rho",
        "λ": "a b|z",
    },
    "transient_growth": {"ω": f"m k|{NUMBERS}", "λ": "z|u", "t": NUMBERS, "A": "m k r|kappa"},
    "layernorm_lemmas": {
        "C": "z",
        "s": "z epsilon|m t",
        "y": "z|a b",
        "m": "V",
        "n": "z|d",
        "x": "A m",
        "β": "A m|t z",
        "h": "a b",
        "δ": "d",
        "t": "T tau|z",
    },
    "layernorm_bound": {
        "H": "t a|ell",
        "G": "a|G",
        "g": "a|G",
        **dict.fromkeys("hx", "ell a|s_x|G P s"),
        **dict.fromkeys("Jfpσδ", "G P s|ell"),
        "W": "omega",
        **dict.fromkeys("Kk", "ell"),
        "β": "R beta|R s_1",
        "ω": "omega|omega_3",
    },
    "layernorm_placement": {
        **dict.fromkeys("kvx", f"y|p|rho|{NUMBERS}"),
        "h": "rho",
        "ρ": f"t|{NUMBERS}",
        "C": "rho",
        "W": "rho",
        **dict.fromkeys("ws", "rho"),
    },
    "self_excitation": {
        "k": "gamma x x^*",
        "f": "x x^*",
        "u": "theta r|f g",
        "A": "gamma a p",
        "X": "p q",
        "Φ": "f g",
        "x": "f g",
    },
    "baird": {**dict.fromkeys(["A", "Φ", "w", "u", "λ", "s"], "gamma")},
    "self_similar_ray": {"X": "f f^*", "Φ": "f f^*|Phi|w1", "u": "f f^*|Phi theta"},
    "sgd_growth": {
        "u": "eta kappahat a|uhat s",
        **dict.fromkeys(["t", "T"], "s|tau"),
        "s": "tau",
        "Q": "uhat s|tau x|p tau",
        "θ": "a|s",
        "X": "kdot",
        "κ": "kappahat|k|E a",
        "η": "x|E a",
        "Φ": "w1|eta kappahat a",
        "E": "g theta",
        "λ": "a ell kappahat|k|x",
    },
    "discrete_time": {
        **dict.fromkeys("yz", "ell"),
        "θ": "a|delta f",
        "Q": "g ell",
        **dict.fromkeys("cγ", "delta|x eta"),
        "x": "ell sigma|a b delta",
        "f": "a b|delta eta|Phi theta",
        "k": "a b",
        "b": "delta eta",
        "u": "ell x",
    },
    "adam_growth": {
        "P": "A|s theta|alpha t",
        "s": "alpha t theta",
        "t": "k|tau",
        **dict.fromkeys("gβ", "tau|mu nu"),
        "k": "tau",
        "Q": "A",
        "L": "k|A",
        "ε": "k mu nu",
        "e": "t",
    },
    "optimisers": {
        "β": "nu|M",
        "z": "nu",
        "x": "nu|m",
        "η": "nu",
        "κ": "a|kappahat",
        "L": "ell|n|nu",
        **dict.fromkeys("Lemx", f"ell|n|nu|{NUMBERS}"),
        "θ": "a c",
        "Q": "s",
    },
    "preconditioned_step": {
        **dict.fromkeys("θm", "m|D J|a u"),
        **dict.fromkeys("sv", "alpha h"),
        **dict.fromkeys("PT", "beta h tau z"),
        **dict.fromkeys("abc", "k k^*"),
        "A": "K K^*|D_2",
    },
    "copied_target_radius": {
        **dict.fromkeys("fxe", f"b phi|B v|{NUMBERS}"),
        "i": f"phi|{NUMBERS}",
        "h": "B v",
        "ρ": "delta phi",
    },
    "averaged_target_modes": {"z": "x tau", "c": "r w", "F": "beta x tau"},
    "optimiser_thresholds": {"v": "beta theta x", "b": "J h u", **dict.fromkeys("ru", NUMBERS)},
    "frozen_preconditioner": {
        "β": "H w|A t",
        "k": "w y",
        "κ": "A ell t w",
        "x": "rho w y",
        "g": "A ell t",
        "t": "beta mu",
    },
    "look_ahead": {"σ": "W k", **dict.fromkeys("LQpr", "x")},
    "layernorm_graph": {**dict.fromkeys("EWkvwx", NUMBERS), "ε": "h t"},
    "discount_margin": {**dict.fromkeys("GABΦb", f"gamma|z|{NUMBERS}")},
    "noncommuting_blocks": {
        "A": "G G^*",
        "j": NUMBERS,
        "G": f"eta tau|z|{NUMBERS}",
        "P": "eta tau z",
        "η": "s tau",
        "w": "eta tau",
    },
    "decay_laws": {"T": "t x|tau x", "Q": "tau x"},
    "ema_targets": {
        "t": "mu",
        "X": "Phi",
        "μ": "eta g",
        "λ": "g g^*",
        "θ": "v z",
        **dict.fromkeys(["R", "φ", "A"], "g omega|Phi Phi^*"),
        "τ": "a g",
        "η": "b rho",
        "a": "rho",
        "Q": "ell tau",
    },
    "twin_min": {"Q": "q", "D": "q|d|u^1|g h", "G": "Phi^1|g", "u": "u^1|d g h", "X": "g h|Phi^1|Psi^1", "ε": "Psi^1"},
}
"""By module ("" for all): a symbol of a statement, and alternatives ("|") of names that must occur together."""


def named(text: str) -> set[str]:
    """Symbols that a statement names: Greek letters, and single Latin letters that are no words or indices."""
    text = NOT_SYMBOLS.sub(" ", text)
    symbols = set(GREEK) & set(text)
    for match in re.finditer(r"(?<![A-Za-zʹ’̂])[A-Za-z](?![A-Za-z’̂])", text):
        letter, around = match[0], text[max(match.start() - 1, 0)] + text[match.end() : match.end() + 1]
        if letter not in PROSE or any(sign in SIGNS for sign in around):
            symbols.add(letter)
    return symbols


def given(symbol: str, step: Step) -> bool:
    """Whether the statement or an assumption gives the symbol a value or a limit."""
    said = [step.statement, *step.assumptions]
    return any(
        re.search(rf"(?<![A-Za-z]){symbol}(\([^)]*\)|['′²₀-₉̂*]|_\w|\^\w+)*\s*(=|→|∝|←|>|<|≥)\s*\S", text)
        for text in said
    )


def standing(step: Step) -> set[str]:
    """Names of the equation's symbols, whole and without index."""
    sides = [side for side in (step.left, step.right, step.witness, step.shown) if side is not None]
    whole = {symbol.name for side in sides for symbol in sp.sympify(side).atoms(sp.Symbol)}
    return whole | {re.sub(r"[_'].*$", "", name) for name in whole}


def missing(step: Step, module: str = "") -> list[str]:
    """Symbols that the statement names and the equation does not hold.

    Args:
        step: The step.
        module: The module it is of, whose notation applies besides the common one.

    Returns:
        The symbols, sorted.
    """
    names, table = standing(step), NOTATION[""] | NOTATION.get(module, {})
    return sorted(
        symbol
        for symbol in named(step.statement)
        if GREEK.get(symbol, symbol) not in names
        and not any(
            group == NUMBERS or set(group.split()) <= names for group in table.get(symbol, "").split("|") if group
        )
        and not given(symbol, step)
    )
