"""Every run of the tests knows the claims that they bear on; only the package's own unit tests check its shapes."""

import sys
from pathlib import Path

import pytest

pytest_plugins = ["claims.plugin"]
UNIT_TESTS = Path(__file__).parent / "reference" / "tests"
LIBRARIES = UNIT_TESTS / "libraries"
"""Whose tests hold generators to their bits, and the checks draw from one."""


@pytest.fixture(autouse=True, scope="module")
def _the_package_as_users_have_it(request):
    """Without the checks of shapes that the unit tests put on it in the same process."""
    jaxtyping = sys.modules.get("jaxtyping")  # `readme_test.py` runs where pytest alone is installed
    if jaxtyping is None:
        yield
        return
    disabled = jaxtyping.config.jaxtyping_disable
    checked = request.path.is_relative_to(UNIT_TESTS) and not request.path.is_relative_to(LIBRARIES)
    jaxtyping.config.update("jaxtyping_disable", not checked)
    yield
    jaxtyping.config.update("jaxtyping_disable", disabled)
