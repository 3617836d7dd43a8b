"""What the theory says of a critic: for each property when it applies, and how it is checked on one example."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from properties.oracles import gradient_rows, gram_by_loop
from properties.subject import Trial, each_part
from properties.subject_traits import Traits, coupling
from seem.dynamics import Training
from seem.ntk import Inputs, evaluate, gram_blocks
from seem.reading import read
from seem.spectrum import eigenvalues, seem_matrix


@dataclass(frozen=True)
class CriticProperty:
    """One property of a critic.

    Attributes:
        name: What the table calls it.
        unless: Why it does not apply to a critic with these traits, or None.
        check: Raises AssertionError with the numbers where it fails.
    """

    name: str
    unless: Callable[[Traits], str | None]
    check: Callable[[Trial, Traits], None]


def sizes(gram: Tensor, columns: Tensor | None = None) -> Tensor:
    """√(k(z, z) k(x, x)) for every entry of a block, from the self-kernels' diagonals."""
    rows = gram.diagonal().clamp_min(0).sqrt()
    return rows[:, None] * (rows if columns is None else columns.diagonal().clamp_min(0).sqrt())[None]


def rows_do_not_meet(trial: Trial, traits: Traits) -> None:
    """A row's value does not change with the other rows, nor from call to call."""
    reason = coupling(trial)
    assert reason is None, reason


def kernel_equals_loop(trial: Trial, traits: Traits) -> None:
    """The closed form or torch.func agrees with autograd row by row."""
    gram, gram_next = gram_blocks(trial.module, trial.x, trial.x_next)
    oracle, oracle_next = (
        gram_by_loop(trial.module, trial.x, trial.x),
        gram_by_loop(trial.module, trial.x_next, trial.x),
    )
    size = sizes(oracle)
    size_next = sizes(gram_by_loop(trial.module, trial.x_next, trial.x_next), oracle)
    for name, block, expected, scale in (("X, X", gram, oracle, size), ("X*, X", gram_next, oracle_next, size_next)):
        error = (block - expected).abs()
        assert (error <= trial.tolerance * scale).all(), f"G({name}) is off by {error.max():.3g}"


def kernel_is_symmetric_and_positive(trial: Trial, traits: Traits) -> None:
    """G(X, X) is symmetric and has no negative eigenvalue."""
    gram, _ = gram_blocks(trial.module, trial.x, trial.x_next)
    slack = trial.tolerance * sizes(gram)
    skew = (gram - gram.T).abs()
    assert (skew <= slack).all(), f"G - Gᵀ reaches {skew.max():.3g}"
    smallest = torch.linalg.eigvalsh(gram).min()
    assert smallest >= -slack.norm(), f"an eigenvalue is {smallest:.3g}"


def reading_leaves_the_critic_alone(trial: Trial, traits: Traits) -> None:
    """A whole reading moves no parameter, buffer or flag, and puts no other object in a parameter's place."""
    before = dict(trial.module.named_parameters(remove_duplicate=False))
    values = {name: value.clone() for name, value in trial.module.state_dict().items()}
    trained = [parameter.requires_grad for parameter in trial.module.parameters()]
    modes, drawn = [module.training for module in trial.module.modules()], torch.get_rng_state()
    rows = {"x": trial.x, "x_next": trial.x_next, "td_error": torch.ones(trial.draw.rows)}
    read(trial.module, rows, training=Training(discount=trial.draw.discount, lr=1e-3))
    gram_blocks(trial.module, trial.x, trial.x_next)
    assert [parameter.requires_grad for parameter in trial.module.parameters()] == trained, "reading thaws or freezes"
    assert all(parameter.grad is None for parameter in trial.module.parameters()), "reading leaves gradients behind"
    assert [module.training for module in trial.module.modules()] == modes, "reading changes a mode"
    assert torch.equal(torch.get_rng_state(), drawn), "reading draws from torch's generator"
    after = dict(trial.module.named_parameters(remove_duplicate=False))
    changed = [name for name in before if after.get(name) is not before[name]]
    changed += [name for name, value in trial.module.state_dict().items() if not torch.equal(value, values[name])]
    assert not changed, f"reading changes {', '.join(changed)}"


def permuted_rows_permute_the_kernel(trial: Trial, traits: Traits) -> None:
    """Rows in another order give the kernel in that order."""
    order = torch.randperm(trial.draw.rows, generator=trial.generator)
    gram, gram_next = gram_blocks(trial.module, trial.x, trial.x_next)
    last, _ = gram_blocks(trial.module, trial.x_next, trial.x_next)
    permuted = gram_blocks(trial.module, *(each_part(lambda part: part[order], z) for z in (trial.x, trial.x_next)))
    slacks = trial.tolerance * sizes(gram), trial.tolerance * sizes(last, gram)
    for block, moved, slack in zip((gram, gram_next), permuted, slacks, strict=True):
        error = (moved - block[order][:, order]).abs()
        assert (error <= slack[order][:, order]).all(), f"order {order.tolist()} changes an entry by {error.max():.3g}"


def scaled(trial: Trial, traits: Traits) -> tuple[nn.Module, float]:
    """The critic with its parameters scaled by their powers of 2^exponent, and that factor."""
    factor, module = 2.0**trial.draw.exponent, copy.deepcopy(trial.module)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter *= factor ** traits.degrees.exponents[name]
    return module, factor


# Powers of two commute with rounding, so that these three are exact.


def output_has_its_degree(trial: Trial, traits: Traits) -> None:
    """θ_p → c^{e_p} θ_p scales f by c^d, to the bit."""
    module, factor = scaled(trial, traits)
    before, after = evaluate(trial.module, trial.x), evaluate(module, trial.x)
    expected = before * factor**traits.degrees.degree
    assert torch.equal(after, expected), f"f becomes {after[0].item():.6g}, not {expected[0].item():.6g}"


def gradient_has_its_degree(trial: Trial, traits: Traits) -> None:
    """It scales ∂f/∂θ_p by c^{d - e_p}, to the bit."""
    module, factor = scaled(trial, traits)
    before = gradient_rows(trial.module, trial.x)
    for name, gradient in gradient_rows(module, trial.x).items():
        expected = before[name] * factor ** (traits.degrees.degree - traits.degrees.exponents[name])
        assert torch.equal(gradient, expected), f"∂f/∂{name} is off by {(gradient - expected).abs().max():.3g}"


def kernel_has_its_degree(trial: Trial, traits: Traits) -> None:
    """It scales the kernel by c^{2d - 2}, to the bit."""
    module, factor = scaled(trial, traits)
    power = factor ** (2 * traits.degrees.degree - 2)
    before, after = gram_blocks(trial.module, trial.x, trial.x_next), gram_blocks(module, trial.x, trial.x_next)
    for block, moved in zip(before, after, strict=True):
        assert torch.equal(moved, block * power), f"an entry is off by {(moved - block * power).abs().max():.3g}"


def euler_identity(trial: Trial, traits: Traits) -> None:
    """Σ e_p ⟨θ_p, ∂f/∂θ_p⟩ = d f."""
    # The identity is over all parameters, the frozen ones too.
    module = copy.deepcopy(trial.module).requires_grad_(True)
    gradients, products, terms = gradient_rows(module, trial.x), 0.0, 0.0
    for name, parameter in module.named_parameters():
        if name in gradients:
            product = traits.degrees.exponents[name] * gradients[name] * parameter.detach().flatten()
            products, terms = products + product.sum(1), terms + product.abs().sum(1)
    expected = traits.degrees.degree * evaluate(trial.module, trial.x).detach()
    error = (products - expected).abs()
    assert (error <= trial.tolerance * terms).all(), f"⟨θ, ∇f⟩ is {products[0]:.6g}, d f is {expected[0]:.6g}"


def _self_kernels_on_a_ray(trial: Trial) -> tuple[float, float]:
    """k(x, x) at x = x0 + ρv and at x0 + 2ρv, ρ so large that every unit has settled on its side."""
    radius = 2.0**40 if trial.dtype == torch.float64 else 2.0**20

    def point(distance: float) -> Inputs:
        # X's first row is x0, X*'s first row v.
        return tuple(a[:1] + distance * v[:1] for a, v in zip(_parts(trial.x), _parts(trial.x_next), strict=True))

    kernels = []
    for distance in (radius, 2 * radius):
        there = point(distance) if isinstance(trial.x, tuple) else point(distance)[0]
        kernels.append(gram_blocks(trial.module, there, there)[0].item())
    return kernels[0], kernels[1]


def _parts(x: Inputs) -> tuple[Tensor, ...]:
    return x if isinstance(x, tuple) else (x,)


def kernel_is_bounded_on_rays(trial: Trial, traits: Traits) -> None:
    """k(x, x) at x = x0 + ρv settles as ρ grows; so does |k(x0, x)| ≤ √(k(x0, x0) k(x, x))."""
    near, far = _self_kernels_on_a_ray(trial)
    # It converges like 1/ρ; a hundredth is far above that, and far below the 4 of growth.
    assert far <= 1.01 * near, f"doubling the distance multiplies the kernel by {far / near:.6g}"


def kernel_grows_on_rays(trial: Trial, traits: Traits) -> None:
    """k(x, x) at x = x0 + ρv grows as ρ², unless no unit that sees the ray is active: then it is constant."""
    near, far = _self_kernels_on_a_ray(trial)
    ratio = far / near if near else 1.0
    # Like 1/ρ again: a kernel αρ² + βρ + κ has |β| ≤ 2√(ακ).
    assert min(abs(ratio - 4), abs(ratio - 1)) <= 1e-2, f"doubling the distance multiplies the kernel by {ratio:.6g}"


def td_step_follows_the_seem_matrix(trial: Trial, traits: Traits) -> None:
    """One semi-gradient step takes u to (I + ηA)u with a remainder of order η²."""
    module, rewards = copy.deepcopy(trial.module), trial.random(trial.draw.rows)
    terminals = (torch.arange(trial.draw.rows) % 2).to(rewards)
    mask = trial.draw.discount * (1 - terminals)

    def td_error() -> Tensor:
        return evaluate(module, trial.x) - rewards - mask * evaluate(module, trial.x_next)

    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    start, error, values = [p.detach().clone() for p in parameters], td_error().detach(), evaluate(module, trial.x)
    gradients = torch.autograd.grad(values @ error, parameters, allow_unused=True, materialize_grads=True)
    gram, gram_next = gram_blocks(trial.module, trial.x, trial.x_next)
    push = seem_matrix(gram, gram_next, trial.draw.discount, terminals) @ error
    step = 1 / (gram.norm() + gram_next.norm() + torch.finfo(trial.dtype).tiny)
    floor = trial.tolerance * (1 + error.norm().item() + values.abs().max().item())
    remainders: list[float] = []
    with torch.no_grad():
        for halvings in range(4, 33):
            size = step * 2.0**-halvings
            for parameter, old, gradient in zip(parameters, start, gradients, strict=True):
                parameter.copy_(old - size * gradient)
            remainders.append((td_error() - error - size * push).norm().item())
            # Late ones at the floor tell nothing: there even what falls by halves has come down to it.
            told = halvings <= 16 or remainders[-3] > floor
            if told and _is_of_second_order(remainders[-3:], floor):
                return
    raise AssertionError(f"‖u(η) - (I + ηA)u‖ is {remainders} at halved η")


def _is_of_second_order(remainders: list[float], floor: float) -> bool:
    """Whether the last three remainders fall as η² does, or faster, or are rounding.

    A quarter at every halving, an eighth where the second order vanishes, a half where A is wrong. A unit that crosses
    its kink within a step spoils the larger ones, so two halvings in a row are enough.
    """
    return len(remainders) == 3 and all(a <= floor or a >= 3 * b for a, b in pairwise(remainders))


def seem_is_not_positive_without_bootstrap(trial: Trial, traits: Traits) -> None:
    """At γ = 0 the leading eigenvalue of A = -G(X, X) is 0 or less."""
    gram, gram_next = gram_blocks(trial.module, trial.x, trial.x_next)
    leading = eigenvalues(seem_matrix(gram, gram_next, 0.0, torch.zeros(len(gram)).to(gram)))[0].real.item()
    assert leading <= trial.tolerance * sizes(gram).norm(), f"SEEM is {leading:.3g} at γ = 0"


def _has_no_degree(traits: Traits) -> str | None:
    return traits.no_kernel or traits.degrees.why_no_degree


def _has_no_kernel_degree(traits: Traits) -> str | None:
    repaired = [name for name, exponent in traits.degrees.exponents.items() if exponent != 1]
    if reason := _has_no_degree(traits):
        return reason
    return f"{repaired[0]} scales by another power than the weights" if repaired else None


def _is_not_bounded(traits: Traits) -> str | None:
    degrees = traits.degrees
    if reason := traits.no_kernel or traits.whole or degrees.why_no_growth:
        return reason
    return None if degrees.growth == 0 else "no normalisation of rows and no bounded unit bounds it"


def _is_not_growing(traits: Traits) -> str | None:
    degrees = traits.degrees
    if reason := traits.no_kernel or traits.whole or degrees.why_no_growth:
        return reason
    if degrees.smooth or degrees.standardises:
        return f"it has {'a normalisation of rows' if degrees.standardises else degrees.smooth}"
    return None if degrees.growth == 1 else f"it grows with power {degrees.growth} of its inputs"


PROPERTIES = (
    CriticProperty("a row's value is its own", lambda _: None, rows_do_not_meet),
    CriticProperty("kernel equals autograd by rows", lambda traits: traits.no_kernel, kernel_equals_loop),
    CriticProperty("kernel symmetric and PSD", lambda traits: traits.no_kernel, kernel_is_symmetric_and_positive),
    CriticProperty("reading leaves the critic alone", lambda traits: traits.no_kernel, reading_leaves_the_critic_alone),
    CriticProperty(
        "permuted rows permute the kernel", lambda traits: traits.no_kernel, permuted_rows_permute_the_kernel
    ),
    CriticProperty("f scales with c^d", _has_no_degree, output_has_its_degree),
    CriticProperty("gradient scales with c^(d-1)", _has_no_degree, gradient_has_its_degree),
    CriticProperty("kernel scales with c^(2d-2)", _has_no_kernel_degree, kernel_has_its_degree),
    CriticProperty("Euler: ⟨θ, ∇f⟩ = d f", _has_no_degree, euler_identity),
    CriticProperty("kernel bounded on rays", _is_not_bounded, kernel_is_bounded_on_rays),
    CriticProperty("kernel grows as ρ² on rays", _is_not_growing, kernel_grows_on_rays),
    CriticProperty(
        "TD step is (I + ηA)u up to O(η²)",
        lambda traits: traits.no_kernel or traits.coarse,
        td_step_follows_the_seem_matrix,
    ),
    CriticProperty("SEEM ≤ 0 at γ = 0", lambda traits: traits.no_kernel, seem_is_not_positive_without_bootstrap),
)
