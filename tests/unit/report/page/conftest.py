"""The simulated study, complete for the page."""

import pytest

from arbitrage.config.study import Study
from arbitrage.io.tables import write_table
from arbitrage.runtime.paths import StudyPaths
from tests.conftest import World
from tests.support import synthetic


@pytest.fixture(scope="module")
def study(world: World) -> Study:
    """The simulated study with its questions."""
    for benchmark in synthetic.BENCHMARKS:
        rows = [
            {"study": "s", "question_id": question, "source": "x", "problem": "<b>What</b> is $x$ & y?"}
            | {"solution": "", "answers": ["1", "one"], "grading": "{}"}
            for question in synthetic.questions_of(benchmark, 40)
        ]
        write_table(StudyPaths.of(world.study).questions(benchmark), "questions", rows)
    return world.study
