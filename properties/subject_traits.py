"""What a critic is, as far as a property needs it: inspected by its operations, probed by its behaviour."""

from dataclasses import dataclass

import torch

from properties.subject import Draw, Subject, Trial, each_part
from properties.subject_degrees import Degrees
from seem.ntk import evaluate, gram_blocks

PROBES = tuple(Draw(seed=seed, rows=3, exponent=1, discount=0.5) for seed in range(3))


@dataclass(frozen=True)
class Traits:
    """A critic, read once.

    Attributes:
        degrees: Degrees in parameters and inputs.
        no_kernel: Why there is no kernel, or None.
        whole: Why its inputs lie on no ray, or None.
        coarse: Why rounding hides what is of second order, or None.
    """

    degrees: Degrees
    no_kernel: str | None
    whole: str | None
    coarse: str | None


def read_traits(subject: Subject) -> Traits:
    """Inspect and probe a critic at a few fixed draws."""
    trial = subject.trial(PROBES[0])
    degrees = Degrees(trial.module, trial.x)
    coupled = next((reason for draw in PROBES if (reason := coupling(subject.trial(draw)))), None)
    coarse = None if trial.dtype == torch.float64 else f"it computes in {trial.dtype} only"
    no_kernel = "no row has a gradient of its own, see above" if coupled else _no_kernel(trial)
    parts = trial.x if isinstance(trial.x, tuple) else (trial.x,)
    whole = None if all(part.is_floating_point() for part in parts) else "some of its inputs are whole numbers"
    return Traits(degrees, no_kernel, whole, coarse)


def coupling(trial: Trial) -> str | None:
    """Why the first row's value is not its own, or None.

    The other rows are replaced, and then nothing is: dropout moves a value that nothing has touched.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        # Random numbers inside the module, as dropout's, come from torch's own generator.
        torch.manual_seed(trial.draw.seed)
        others = each_part(lambda part: torch.cat((part[:1], _other_rows(trial, part[1:]))), trial.x)
        try:
            value, again, moved = (evaluate(trial.module, x) for x in (trial.x, trial.x, others))
        except (RuntimeError, ValueError) as error:
            what = f"{type(error).__name__} ({' '.join(str(error).split())[:120]})"
            return f"a batch of {trial.draw.rows} raises {what}: call .eval() in the factory"
    before, repeated, beside = value[0].item(), again[0].item(), moved[0].item()
    if before != repeated:
        return f"row 0 gives {before:.6g}, then {repeated:.6g}: the module is random (call .eval() in the factory)"
    if abs(beside - before) > trial.tolerance * (value.abs().sum() + moved.abs().sum()):
        return (
            f"row 0 gives {before:.6g}, and {beside:.6g} beside other rows: "
            "it has no gradient of its own (call .eval() in the factory)"
        )
    return None


def _other_rows(trial: Trial, part: torch.Tensor) -> torch.Tensor:
    if part.is_floating_point():
        return 3 * trial.random(*part.shape)
    values = part.flatten()
    return values[torch.randint(max(len(values), 1), part.shape, generator=trial.generator)] if len(values) else part


def _no_kernel(trial: Trial) -> str | None:
    try:
        gram_blocks(trial.module, trial.x, trial.x_next)
    except (RuntimeError, ValueError, NotImplementedError) as error:
        return f"torch.func takes no per-sample gradients of it: {' '.join(str(error).split())[:120]}"
    return None
