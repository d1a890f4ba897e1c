"""What a study will take, stage by stage, from a few questions of it: `arbitrage plan`.

A bound comes first, from a few timed passes; then the stages run on growing samples of the study's questions
(`pilot`), and what they took is scaled by the number of questions (`estimates`). Questions, merging, curves, figures
and tables run no model and are not counted; nor is quantisation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from arbitrage.config.study import Study
from arbitrage.io.tables import read_table
from arbitrage.planning.estimates import Cost, Speeds, bounds, scaled
from arbitrage.planning.pilot import Measured, Pilot, Rows
from arbitrage.questions.normal_form import digest
from arbitrage.questions.sampling import benchmark_questions, kept_out, sample_questions
from arbitrage.runtime.paths import StudyPaths

FIRST, GROWTH = 2, 4  # questions of the pilot's first round; how much larger all rounds together become with each


class Plan:
    """The estimate of a study, which becomes better with every round of `rounds`."""

    def __init__(self, study: Study, questions: int, folder: Path, say: Callable[[str], None]) -> None:
        """questions: of each set, >= 2; folder: for the pilot, the caller's to delete; say: what is done next."""
        self.study, self.questions, self.folder, self.say = study, questions, folder, say
        self._speeds: dict[str, Speeds] = {}
        self._jobs: dict[str, dict[str, Measured]] = {pair: {} for pair in study.pairs}  # by stage

    def rounds(self) -> Iterator[str]:
        """Work; with each title that comes, `costs` knows more. Raises PlanError, and what reading questions does."""
        self.say("choosing questions")
        rows = {name: _benchmark(self.study, name) for name in self.study.benchmarks}
        labelling = spread(_labelling(self.study), self.questions, self.study.seed)
        samples = {name: spread(each, self.questions, self.study.seed) for name, each in rows.items()}
        pilots = {}
        for pair in self.study.pairs:
            self.say(f"{pair}: timing a few passes of its models")
            pilots[pair] = pilot = Pilot(self.study, pair, self.folder / pair)
            one = pilot.passes(labelling[:1])
            self._speeds[pair] = Speeds.of(self.study, pair, one, one)
            yield f"bound, with one question at a time ({pair})"
            many = pilot.passes(labelling)
            self._speeds[pair] = Speeds.of(self.study, pair, one, many)
        yield "bound"
        for start, stop in round_limits(self.questions):
            parts = {name: each[start:stop] for name, each in samples.items() if each[start:stop]}
            for pair, pilot in pilots.items():
                self.say(f"{pair}: the stages on {stop - start} questions")
                done = self._jobs[pair]
                for stage, job in pilot.round(f"to-{stop}", labelling[start:stop], parts):
                    done[stage] = done[stage] + job if stage in done else job
                    self.say(f"{pair}: the stages on {stop - start} questions; done: {stage}")
            yield f"estimate from {stop} questions of each set"

    def costs(self, study: Study | None = None) -> list[Cost]:
        """What is known by now of every stage that runs a model: estimates, and bounds where there is none yet.

        study: the plan's own cut into other jobs; without, as it is.
        """
        study, costs = study or self.study, dict[str, Cost]()
        for pair, speeds in self._speeds.items():
            costs |= {cost.stage: cost for cost in bounds(study, pair, speeds)}
            estimates = (scaled(study, pair, stage, job, speeds) for stage, job in self._jobs[pair].items())
            costs |= {cost.stage: cost for cost in estimates}
        return list(costs.values())


def round_limits(questions: int) -> list[tuple[int, int]]:
    """Slices of the sample, one a round: the first FIRST questions, and so on to all."""
    stops = [FIRST]
    while stops[-1] * GROWTH < questions:
        stops.append(stops[-1] * GROWTH)
    stops = [stop for stop in stops if stop < questions] + [questions]
    return list(zip([0, *stops], stops, strict=False))


def spread(rows: Rows, count: int, seed: int) -> Rows:
    """`count` of `rows` (all, where there are fewer), evenly over the sources; in the seed's hash order."""
    ordered = sorted(rows, key=lambda row: (row["source"], digest(str(seed), "plan", row["question_id"])))
    count = min(count, len(ordered))
    chosen = [ordered[(2 * index + 1) * len(ordered) // (2 * count)] for index in range(count)]
    return sorted(chosen, key=lambda row: digest(str(seed), "plan", row["question_id"]))


def _benchmark(study: Study, name: str) -> Rows:
    written = StudyPaths.of(study).questions(name)
    if written.is_file():
        return read_table(written, "questions")
    return benchmark_questions(study.study, name, study.benchmarks[name], study.seed)


def _labelling(study: Study) -> Rows:
    written = StudyPaths.of(study).labelling_questions
    if written.is_file():
        return read_table(written, "questions")
    return sample_questions(study.study, study.questions, study.seed, kept_out(study))[0]
