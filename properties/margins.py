"""How near a property came to its bound: told to Hypothesis, which looks for more, and to whoever runs the tests."""

from hypothesis import target

_LARGEST: dict[str, float] = {}


def target_share(share: float, label: str) -> None:
    """Aim for examples near a bound, and remember the nearest.

    Args:
        share: What was observed over its bound; 1 is the bound.
        label: What is observed, and of what.
    """
    share = float(share)
    target(share, label=label)
    _LARGEST[label] = max(share, _LARGEST.get(label, 0.0))


def take() -> dict[str, float]:
    """The largest share since the last call, by label."""
    taken = dict(_LARGEST)
    _LARGEST.clear()
    return taken
