from arbitrage.speculation.labelling import label
from arbitrage.speculation.sweep import sweep
from tests.support.fakes import QUESTIONS, fake_models


def test_labels_follow_the_oracles_path_at_zero():
    rows = label(fake_models(), QUESTIONS, samples=1, temperature=0.0, seed=1)
    oracle = {
        t.node.question.question_id: t for t in sweep(fake_models(), QUESTIONS, ["oracle"], seed=1) if 0.0 in t.interval
    }
    for question in QUESTIONS:
        mine = [row for row in rows if row["question_id"] == question.question_id]
        visits = oracle[question.question_id].visits
        assert [row["step_index"] for row in mine] == list(range(len(visits)))
        for row, visit in zip(mine, visits, strict=True):
            assert row["advantage"] == visit.policy_score
            assert row["label"] == int(visit.policy_score > 0) == int(visit.escalated)
            assert [(h["model"], h["text"]) for h in row["history"]] == list(visit.node.path)


def test_more_samples_change_labels_but_never_the_path():
    greedy = label(fake_models(), QUESTIONS, samples=1, temperature=0.0, seed=1)
    sampled = label(fake_models(), QUESTIONS, samples=3, temperature=1.0, seed=1)
    assert [(r["question_id"], r["history"]) for r in greedy] == [(r["question_id"], r["history"]) for r in sampled]
    for row in sampled:
        assert len(row["target_steps"]) == len(row["target_scores"]) == 3
        assert abs(row["advantage"] - (sum(row["target_scores"]) / 3 - row["draft_score"])) < 1e-12
        assert row["label"] == int(row["advantage"] > 0)
    assert any(a["advantage"] != b["advantage"] for a, b in zip(greedy, sampled, strict=True))
