r"""Interval-arithmetic certificates for fixed small instances, with python-flint.

Every number below is an enclosure (a ball that provably contains the true value) or an exact rational, so a
returned `Certificate` is a proof for its instance, not a measurement.

Source: derived. python-flint is imported inside the functions: the rest of the project does without it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

DIGITS = 60

FIRST = ((1, 2), (2, -1), (-1, 1))
HEAD = (1, -2, 1)
ROWS = ((1, 0), (1, 1), (0, 1))
NEXT_ROWS = ((3, 1), (2, 3), (1, 2))
DISCOUNT = Fraction(99, 100)


@dataclass(frozen=True)
class Certificate:
    """What has been proved about the spectrum of one matrix.

    Attributes:
        count: Number of eigenvalues, with multiplicity.
        leading: Lower and upper bound of the leading real part.
        rest: Upper bound of the real parts of all others; of a leading complex pair both members lead.
        is_complex: Whether the leading eigenvalues are a complex pair.
    """

    count: int
    leading: tuple[float, float]
    rest: float
    is_complex: bool

    @property
    def isolated(self) -> bool:
        """Whether the leading real part is separated from all others."""
        return self.rest < self.leading[0]


def relu_seem_matrix(discount: Fraction = DISCOUNT) -> list[list[Fraction]]:
    """A of a two-layer ReLU critic with integer weights and inputs, exact.

    Args:
        discount: γ.

    Returns:
        The 3×3 matrix A, rational.
    """

    def row(x: Sequence[int]) -> list[int]:
        z = [w[0] * x[0] + w[1] * x[1] for w in FIRST]
        active = [int(value > 0) for value in z]
        inner = [a * g * part for a, g in zip(HEAD, active, strict=True) for part in x]
        return [value * g for value, g in zip(z, active, strict=True)] + inner

    here, there = [row(x) for x in ROWS], [row(x) for x in NEXT_ROWS]
    return [[discount * _dot(b, column) - _dot(a, column) for column in here] for a, b in zip(here, there, strict=True)]


def baird_seem_matrix(discount: Fraction) -> list[list[Fraction]]:
    """A of Baird's star, exact.

    Args:
        discount: γ.

    Returns:
        The 7×7 matrix.
    """
    phi = [[2 * (i == j) for j in range(7)] + [1] for i in range(6)] + [[0] * 6 + [1, 2]]

    return [[discount * _dot(phi[6], column) - _dot(row, column) for column in phi] for row in phi]


def certify_spectrum(matrix: Sequence[Sequence[Fraction]]) -> Certificate:
    """Prove where the eigenvalues of an exact rational matrix are.

    The characteristic polynomial is computed in exact rationals and split into square-free factors; the
    roots of each are enclosed in disjoint balls, real roots being recognised as real.

    Args:
        matrix: Square matrix of rationals.

    Returns:
        The certificate.
    """
    from flint import ctx, fmpq, fmpq_mat

    with ctx.workdps(DIGITS):
        exact = fmpq_mat([[fmpq(Fraction(e).numerator, Fraction(e).denominator) for e in row] for row in matrix])
        polynomial = exact.charpoly().numer()
        enclosed = [
            (root, multiplicity)
            for factor, multiplicity in polynomial.factor_squarefree()[1]
            for root, _ in factor.complex_roots()
        ]
        enclosed.sort(key=lambda entry: -float(entry[0].real.mid()))
        leading = enclosed[0][0]
        is_complex = not leading.imag.contains(0)
        # A repeated leading eigenvalue is not isolated from itself.
        others = [root for root, _ in enclosed[2 if is_complex else 1 :]] + [leading] * (enclosed[0][1] > 1)
        return Certificate(
            count=sum(multiplicity for _, multiplicity in enclosed),
            leading=(_below(leading.real), _above(leading.real)),
            rest=max((_above(root.real) for root in others), default=float("-inf")),
            is_complex=is_complex,
        )


def certify_radius(matrix: Sequence[Sequence[Fraction]]) -> tuple[float, float]:
    """Enclosure of the spectral radius of a rational matrix, from its exact characteristic polynomial.

    Args:
        matrix: Square matrix of rationals.

    Returns:
        Lower and upper bound of max |z| over its eigenvalues.
    """
    from flint import ctx, fmpq, fmpq_mat

    with ctx.workdps(DIGITS):
        exact = fmpq_mat([[fmpq(Fraction(e).numerator, Fraction(e).denominator) for e in row] for row in matrix])
        factors = exact.charpoly().numer().factor_squarefree()[1]
        moduli = [abs(root) for factor, _ in factors for root, _ in factor.complex_roots()]
        return max(_below(modulus) for modulus in moduli), max(_above(modulus) for modulus in moduli)


def certify_leading_by_signs(matrix: Sequence[Sequence[Fraction]], low: Fraction, high: Fraction) -> bool:
    """A second proof, by signs in exact rationals: p changes sign in (low, high) and is positive beyond.

    Args:
        matrix: Square matrix of rationals.
        low: A rational below the leading eigenvalue, where the characteristic polynomial is negative.
        high: A rational above it: all coefficients of p(high + z) are positive, so no real root exceeds it.

    Returns:
        Whether a simple real root lies in (low, high) and no real root beyond.
    """
    from flint import fmpq, fmpq_mat, fmpq_poly

    exact = fmpq_mat([[fmpq(Fraction(e).numerator, Fraction(e).denominator) for e in row] for row in matrix])
    polynomial = exact.charpoly()
    below, above = (fmpq(end.numerator, end.denominator) for end in (low, high))
    shifted = polynomial(fmpq_poly([above, 1]))
    return polynomial(below) < 0 and all(shifted[k] > 0 for k in range(shifted.degree() + 1))


def certify_tanh_spectrum(discount: str = "0.99") -> Certificate:
    """The same for a critic with irrational entries, Σ a_j tanh(w_j x), by eigenvalue enclosures of a ball matrix.

    Args:
        discount: γ, as a decimal.

    Returns:
        The certificate of the 2×2 matrix for inputs 1/2 and 1, successors 3/4 and 3/2.
    """
    from flint import acb_mat, arb, ctx

    with ctx.workdps(DIGITS):
        heads, inner = (arb(2), arb(1)), (arb("0.3"), arb("0.7"))

        def row(x: arb) -> list[arb]:
            slopes = [a * x * (1 - (w * x).tanh() ** 2) for a, w in zip(heads, inner, strict=True)]
            return [(w * x).tanh() for w in inner] + slopes

        here, there = [row(arb(x)) for x in ("0.5", "1")], [row(arb(x)) for x in ("0.75", "1.5")]

        entries = [[arb(discount) * _dot(b, c) - _dot(a, c) for c in here] for a, b in zip(here, there, strict=True)]
        # Not multiple=True: flint proves that the eigenvalues are simple or raises.
        roots = sorted(acb_mat(entries).eig(), key=lambda root: -float(root.real.mid()))
        return Certificate(
            count=len(roots),
            leading=(_below(roots[0].real), _above(roots[0].real)),
            rest=_above(roots[1].real),
            is_complex=not roots[0].imag.contains(0),
        )


def time_to_pass(depth: int, rate: Fraction, factor: int) -> tuple[float, float]:
    """Enclosure of the time at which the SGD law has grown ‖u‖ by ``factor``: (1 - factor^-p)/(p λ).

    Args:
        depth: L, at least 2.
        rate: λ at the start, per unit time.
        factor: Growth, above 1.

    Returns:
        Lower and upper bound of the time.
    """
    from flint import arb, ctx, fmpq

    with ctx.workdps(DIGITS):
        power = arb(fmpq(2 * depth - 2, depth))
        speed = arb(fmpq(rate.numerator, rate.denominator))
        passed = (1 - arb(factor) ** -power) / (power * speed)
        return _below(passed), _above(passed)


def euler_time_to_pass(depth: int, rate: Fraction, factor: int, growth: Fraction = Fraction(1, 50)) -> float:
    r"""Upper bound of the same time from the differential equation alone, without its solution.

    On the ray a' = (λ/L) a^(2L-1), a(0) = 1, is convex, so an explicit Euler step stays below the
    solution. Steps that grow a by 1 + ``growth`` take growth·L/(λ a^(2L-2)); their sum is a time at which
    a^L has certainly passed ``factor``.

    Args:
        depth: L, at least 2.
        rate: λ at the start, per unit time.
        factor: Growth of Q = a^L.
        growth: Relative growth per step.

    Returns:
        An upper bound of the passing time.
    """
    from flint import arb, ctx, fmpq

    with ctx.workdps(DIGITS):
        size, elapsed = arb(1), arb(0)
        step = arb(fmpq(growth.numerator, growth.denominator))
        speed = arb(fmpq(rate.numerator, rate.denominator)) / depth
        while not size**depth > factor:
            elapsed += step / (speed * size ** (2 * depth - 2))
            size *= 1 + step
        return _above(elapsed)


def _dot(left: Sequence, right: Sequence):
    """A dot product in the arithmetic of its operands: integers, or balls."""
    return sum(a * b for a, b in zip(left, right, strict=True))


def _below(value) -> float:
    """A float that is certainly at most the ball's lower end."""
    return math.nextafter(float(value.lower()), -math.inf)


def _above(value) -> float:
    return math.nextafter(float(value.upper()), math.inf)


def certify_growth(matrix: Sequence[Sequence[Fraction]], momentum: Fraction) -> tuple[float, float]:
    r"""Enclosure of the growth per step of Adam with copied targets, without its companion matrix.

    The eigenvalues x of hA_D are enclosed from the exact characteristic polynomial; of each
    :math:`\rho = (\sigma + \sqrt{\sigma^2 - 4\beta_1})/2` (`theory.copied_target_radius`), in balls.

    Args:
        matrix: hA_D, rational.
        momentum: β₁.

    Returns:
        Lower and upper bound of the largest ρ.
    """
    from flint import arb, ctx, fmpq, fmpq_mat

    with ctx.workdps(DIGITS):
        exact = fmpq_mat([[fmpq(Fraction(e).numerator, Fraction(e).denominator) for e in row] for row in matrix])
        beta = arb(fmpq(momentum.numerator, momentum.denominator))
        foci = [-(1 + beta + sign * 2 * beta.sqrt()) / (1 - beta) for sign in (1, -1)]
        bounds = []
        for factor, _ in exact.charpoly().numer().factor_squarefree()[1]:
            for rate, _ in factor.complex_roots():
                total = (1 - beta) * sum((abs(rate - focus) for focus in foci), arb(0)) / 2
                inside = total * total - 4 * beta
                root = inside.sqrt() if inside > 0 else arb(0).union(abs(inside).sqrt())
                bounds.append((total + root) / 2)
        return max(_below(bound) for bound in bounds), max(_above(bound) for bound in bounds)
