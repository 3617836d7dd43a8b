"""How the tests of the strategies look for one example of a kind."""

from hypothesis import Phase, settings

SEARCH = settings(max_examples=2000, phases=[Phase.generate])
"""``find`` raises when none is among these; the first one will do, so it is not made smaller.

What fewer examples hold depends on more than the strategy: Hypothesis also draws constants of the modules that are
loaded.
"""
