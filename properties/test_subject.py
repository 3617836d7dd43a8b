"""The properties of a critic that the theory names, for the one that SEEM_CRITIC names, or else for the built-in ones.

Hypotheses are decided by looking at the critic; a property that does not apply is skipped with what was seen.
"""

import os
from functools import cache

import pytest

from properties.subject import VARIABLE, Subject, load
from properties.subject_builtin import BUILT_IN
from properties.subject_properties import PROPERTIES
from properties.subject_report import examine, to_property
from properties.subject_traits import Traits, read_traits

# What a foreign module warns of while it computes is no property of it.
pytestmark = pytest.mark.filterwarnings("ignore")
SUBJECTS = (load(os.environ[VARIABLE]),) if os.environ.get(VARIABLE) else BUILT_IN


@cache
def traits_of(subject: Subject) -> Traits:
    return read_traits(subject)


@pytest.mark.parametrize("prop", PROPERTIES, ids=lambda prop: prop.check.__name__)
@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
def test_property_holds(subject, prop, request):
    examined, error = examine(subject, traits_of(subject), prop)
    request.node.user_properties.append(to_property(examined))
    if error:
        raise error
    if examined.outcome == "not applicable":
        pytest.skip(f"not applicable: {examined.detail}")
