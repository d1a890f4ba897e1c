from __future__ import annotations

from performance import serving

from tests.support.fakes import fake_decoder, fake_models

PROBLEMS = [f"What is {number}?" for number in range(6)]


def test_both_ways_solve_the_same_and_batches_are_counted() -> None:
    service = serving.service_of(fake_models(), seed=3)
    findings, detail = serving.measure(service, fake_decoder(seed=3), PROBLEMS, runs=2)
    by_measure = {finding.measure.split(",")[0]: finding for finding in findings}
    assert by_measure["solutions whose text differs"].met
    assert set(by_measure) >= set(serving.SETTINGS)
    for policy, ways in detail["seconds"].items():
        assert {way: len(seconds) for way, seconds in ways.items()} == {"alone": 2, "at once": 2}
        sizes = detail["rows a batch"][policy]
        assert set(sizes) == {"target"} if policy == "target_only" else {"draft"} < set(sizes)
        assert all(1 <= size <= len(PROBLEMS) for size in sizes.values())


def test_a_text_that_differs_is_told() -> None:
    service = serving.service_of(fake_models(), seed=3)
    decoder = fake_decoder(seed=3)
    decoder.target.words = 1  # type: ignore[attr-defined]
    findings, _ = serving.measure(service, decoder, PROBLEMS, runs=1)
    (different,) = (finding for finding in findings if finding.measure == "solutions whose text differs")
    assert different.value > 0 and not different.met
