"""Every study of data takes a file of any task: its command line, and the runs that it plans."""

import numpy as np
import pytest
from studies.growth.study import STUDY as GROWTH
from studies.shared.study import parse
from studies.small_data.study import STUDY as SMALL_DATA
from studies.training import critical_point, discount, normalisation, sac, surge, targets

from seem.errors import InputError

TRAINING = [module.STUDY for module in (critical_point, discount, normalisation, sac, surge, targets)]


@pytest.fixture
def path(tmp_path):
    drawn = np.random.default_rng(0)
    flags = np.zeros(300, np.float32)
    file = tmp_path / "Task-high-300-train.npz"
    np.savez(
        file,
        obs=drawn.standard_normal((300, 4)),
        action=drawn.uniform(-1, 1, (300, 2)),
        next_obs=drawn.standard_normal((300, 4)),
        reward=drawn.standard_normal(300),
        done=flags,
        truncated=flags,
    )
    return file


@pytest.mark.parametrize("study", TRAINING, ids=lambda study: study.name)
@pytest.mark.parametrize("option", ["--data", "--dataset"])
def test_a_study_of_training_runs_takes_a_file_of_any_task(study, option, path):
    plan = study.plan(parse(study, [option, str(path)]))
    assert [dataset.path for dataset in plan.datasets] == [path]
    assert {run.data for run in plan.tasks} == {path}
    assert "unverified file Task-high-300-train.npz" in plan.told[0]
    assert "states of 4 and actions of 2 components" in plan.told[0]


def test_arms_that_need_an_environment_are_left_out_and_said(path):
    plan = sac.STUDY.plan(parse(sac.STUDY, ["--dataset", str(path)]))
    assert {run.arm for run in plan.tasks} == {"offline none", "offline LayerNorm"}
    assert "Task-high-300-train: offline arms only" in plan.told[1]
    both = sac.STUDY.plan(parse(sac.STUDY, ["--data", "hopper", str(path)]))
    assert {run.arm for run in both.tasks if run.data != path} == {arm.name for arm in sac.ARMS}


def test_the_growth_study_needs_no_environment_where_a_file_is_named(path):
    options = parse(GROWTH, ["--dataset", str(path)])
    plan = GROWTH.plan(options)
    assert [dataset.path for dataset in plan.datasets] == [path]
    assert GROWTH.folder is not None
    assert GROWTH.folder(options) == "growth-Task-high-300-train"
    with pytest.raises(InputError, match="4 and 2 components, but hopper has 11 and 3"):
        GROWTH.plan(parse(GROWTH, ["--env", "hopper", "--dataset", str(path)]))
    with pytest.raises(InputError, match="no data are named"):
        GROWTH.plan(parse(GROWTH, []))


def test_a_study_that_scores_policies_says_that_it_needs_an_environment(path):
    with pytest.raises(InputError, match="has no environment here, and this study scores every policy in one"):
        SMALL_DATA.plan(parse(SMALL_DATA, ["--dataset", str(path)]))
