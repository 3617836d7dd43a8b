"""All studies of many training runs, by name."""

import verify_critical_point
import verify_discount
import verify_normalisation
import verify_sac
import verify_small_data
import verify_surge
import verify_targets

MODULES = (
    verify_surge,
    verify_discount,
    verify_normalisation,
    verify_targets,
    verify_critical_point,
    verify_sac,
    verify_small_data,
)
STUDIES = {module.STUDY.name: module.STUDY for module in MODULES}
