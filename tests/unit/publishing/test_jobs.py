"""Jobs are told from the records of what they wrote."""

from arbitrage.publishing.jobs import external_inputs, needed_for
from tests.unit.publishing.conftest import Results


def test_what_one_command_wrote_is_one_job(results: Results) -> None:
    (questions,) = [job for job in results.jobs if job.stage == "questions"]
    assert set(questions.outputs) == {"questions/labelling.parquet", "questions/labelling.json"}
    assert [job.stage for job in results.jobs][:3] == ["questions", "label", "steps"]  # as they ended


def test_a_result_needs_the_jobs_before_it_and_no_others(results: Results) -> None:
    stages = [job.stage for job in needed_for("curves/comparison.csv", results.jobs)]
    # the router read a file of the data set's directory; nothing rests on the figure
    assert stages == ["questions", "label", "steps", "dataset", "router", "sweep", "curves"]
    assert needed_for("nobody/made.this", results.jobs) == []


def test_inputs_from_outside_are_those_that_no_job_wrote(results: Results) -> None:
    assert external_inputs(results.jobs) == {"models/of/mine": "sha of models/of/mine"}
