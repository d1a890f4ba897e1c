"""Which questions are labelled, and which of a benchmark are asked (the release: by stratum, seed 42).

Every choice follows the order of a hash of (seed, question), so that the same questions come out whatever the order or
the number of copies they came in.
"""

from collections import Counter, defaultdict
from typing import Any

from arbitrage.config.questions import Benchmark, Questions
from arbitrage.config.study import Study
from arbitrage.questions.files import Row
from arbitrage.questions.normal_form import QuestionError, digest, normalise
from arbitrage.questions.overlap import find_overlaps
from arbitrage.questions.sources import load
from arbitrage.questions.spelling import copy_key


def sample_questions(
    study_name: str,
    settings: Questions,
    seed: int,
    benchmark_rows: list[Row],
) -> tuple[list[Row], dict[str, Any]]:
    """The questions to label, as rows of the `questions` table sorted by id, and a report of what was left out.

    Blank problems, copies, and questions that overlap with `benchmark_rows` go; of the rest `settings.sample` are drawn
    by largest remainder over `source`. Report: rows read, blank, duplicates, overlap (removed, by rule and by source),
    available and sampled (by source). Raises QuestionError where fewer are left than asked for.
    """
    rows = load(study_name, settings, seed)
    filled = [row for row in rows if row["problem"].strip()]
    unique = distinct(filled)
    problems = [row["problem"] for row in benchmark_rows]
    rules = find_overlaps([row["problem"] for row in unique], problems, settings.overlap_ngram)
    clean = [row for row, rule in zip(unique, rules, strict=True) if rule is None]
    removed = [row for row, rule in zip(unique, rules, strict=True) if rule is not None]
    sampled = stratified(clean, settings.sample, seed)
    report = {
        "rows": len(rows),
        "blank": len(rows) - len(filled),
        "duplicates": len(filled) - len(unique),
        "overlap": {
            "removed": len(removed),
            "by_rule": _counts([rule for rule in rules if rule is not None]),
            "by_source": _counts([row["source"] for row in removed]),
            "ngram": settings.overlap_ngram,
            "benchmark_questions": len(benchmark_rows),
        },
        "available": _counts([row["source"] for row in clean]),
        "sampled": _counts([row["source"] for row in sampled]),
    }
    return sampled, report


def kept_out(study: Study) -> list[Row]:
    """All questions of the study's benchmarks, beyond a `limit` too: none of them may be labelled.

    Raises QuestionError as `benchmark_questions`.
    """
    whole = study.whole_benchmarks.items()
    return [row for name, each in whole for row in benchmark_questions(study.study, name, each, study.seed)]


def benchmark_questions(study_name: str, name: str, settings: Benchmark, seed: int) -> list[Row]:
    """The questions of benchmark `name`, sorted by id; with `limit`, the first so many in the seed's hash order.

    Raises QuestionError where a question has no answer or two share an id.
    """
    rows = load(study_name, settings, seed)
    copies = [key for key, count in Counter(row["question_id"] for row in rows).items() if count > 1]
    if copies:
        problem = next(row["problem"] for row in rows if row["question_id"] == copies[0])
        message = f"{settings.columns.id} {copies[0]!r} names two questions; make the ids unique"
        if settings.columns.id is None:
            message = f"the question {problem[:60]!r} comes twice; remove one, or name a column of ids as `columns.id`"
        raise QuestionError(f"benchmark {name!r}: {message}")
    for row in rows:
        if not row["answers"]:
            raise QuestionError(f"benchmark {name!r}: question {row['question_id']!r} has no answer; add or remove it")
    if settings.limit is not None and settings.limit > len(rows):
        raise QuestionError(
            f"benchmark {name!r}: limit is {settings.limit}, it has {len(rows)} questions; lower `limit`"
        )
    chosen = sorted(rows, key=lambda row: digest(str(seed), row["question_id"]))[: settings.limit]
    return sorted(chosen, key=lambda row: str(row["question_id"]))


def distinct(rows: list[Row]) -> list[Row]:
    """One row of each spelling of the problem: the one whose text sorts last, so small letters win over capitals."""
    best: dict[str, Row] = {}
    for row in rows:
        form = copy_key(row["problem"])
        if form not in best or _rank(row) > _rank(best[form]):
            best[form] = row
    return list(best.values())


def stratified(rows: list[Row], size: int, seed: int) -> list[Row]:
    """`size` of the `rows` (distinct ids), by largest remainder over `source`, sorted by id (section 4.2: 30,000).

    Raises QuestionError where there are fewer rows than `size`.
    """
    if len(rows) < size:
        raise QuestionError(
            f"questions.sample is {size}, but {len(rows)} questions are left after de-duplication and decontamination; "
            "lower questions.sample, or offer more questions (questions.pool in the lab)"
        )
    strata: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        strata[row["source"]].append(row)
    quotas = largest_remainder({source: len(members) for source, members in strata.items()}, size)
    chosen: list[Row] = []
    for source, members in strata.items():
        members.sort(key=lambda row: digest(str(seed), normalise(row["problem"])))
        chosen += members[: quotas[source]]
    return sorted(chosen, key=lambda row: str(row["question_id"]))


def largest_remainder(counts: dict[str, int], size: int) -> dict[str, int]:
    """`size` seats over the strata, proportional to `counts`: the whole seats, then one each by largest remainder.

    Ties go to the larger stratum, then to the name that sorts first. Needs 0 <= size <= sum(counts); then no stratum
    gets more than it has, and each is less than one seat off its exact share.
    """
    total = sum(counts.values())
    if not 0 <= size <= total:
        raise QuestionError(f"cannot share {size} questions over strata that hold {total}; ask for at most {total}")
    if total == 0:
        return dict.fromkeys(counts, 0)
    seats = {source: size * count // total for source, count in counts.items()}
    order = sorted(counts, key=lambda source: (-(size * counts[source] % total), -counts[source], source))
    for source in order[: size - sum(seats.values())]:
        seats[source] += 1
    return seats


def _rank(row: Row) -> tuple[str, str, str]:
    return row["problem"], row["source"], row["solution"]


def _counts(values: list[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))
