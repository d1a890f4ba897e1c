import os
import re
import shutil
import signal
import subprocess
import time

import pandas as pd
import pytest

from arbitrage.io.tables import read_table
from tests.integration.study.conftest import ROOT, SmokeStudy, environment

pytestmark = [pytest.mark.study, pytest.mark.timeout(1800)]

EXPECTED = [
    *(
        f"figures/{name}.{kind}"
        for name in ("fig3", "fig4", "fig5", "fig6", "figA1", "figE1", "routers")
        for kind in ("pdf", "png")
    ),
    *(
        f"tables/{name}.{kind}"
        for name in ("table1", "table2", "table3", "tableC1", "routers", "latencies")
        for kind in ("csv", "md")
    ),
    "curves/accuracy_acceptance.csv",
    "curves/accuracy_latency.csv",
    "summary.md",
    "report/index.html",
]


def test_the_smoke_study_writes_every_figure_and_table(smoke):
    missing = [name for name in EXPECTED if not (smoke.folder / name).is_file()]
    assert not missing


def test_a_second_run_does_nothing(smoke):
    assert "Nothing to be done" in smoke.run().stderr


def test_the_curves_have_their_columns_and_are_shares(smoke):
    acceptance = pd.read_csv(smoke.folder / "curves/accuracy_acceptance.csv")
    assert {
        "pair",
        "benchmark",
        "policy",
        "threshold",
        "acceptance",
        "accuracy",
        "accuracy_low",
        "accuracy_high",
    } <= set(acceptance)
    assert acceptance[["acceptance", "accuracy"]].stack().between(0, 1).all()
    ends = acceptance[["accuracy_low", "accuracy_high"]]
    assert ends.stack().dropna().between(0, 1).all()
    # None where all questions end alike, nor for a mean over trainings that too few resamples have a point for.
    varied = ~acceptance["accuracy"].isin([0, 1]) & (acceptance["trainings"] <= 1)
    assert varied.any() and ends[varied].notna().all(axis=None)
    latency = pd.read_csv(smoke.folder / "curves/accuracy_latency.csv")
    assert set(latency["measured"]) == {True, False}
    assert (latency["latency_s"] > 0).all()


def test_the_shares_of_the_data_sets_are_those_of_their_tables(smoke):
    shares = pd.read_csv(smoke.folder / "router/shares.csv")
    assert set(shares["variant"]) == {"default", "four-class"}
    for row in shares.to_dict("records"):
        part = {"training": "train", "held out": "validation"}[row["part"]]
        path = smoke.folder / "router" / row["pair"] / row["variant"] / f"dataset/{part}.parquet"
        gains = [example["gain"] > 0 for example in read_table(path, "examples")]
        assert (row["label_1"], row["label_0"]) == (sum(gains), len(gains) - sum(gains))
        steps = read_table(smoke.folder / f"steps/{row['pair']}.parquet", "steps")
        labels = [step["label"] for step in steps]
        both = shares[(shares["pair"] == row["pair"]) & (shares["variant"] == row["variant"])]
        assert both[["label_1", "dropped_1"]].sum(axis=None) == sum(labels)
        assert both[["label_1", "dropped_1", "label_0", "dropped_0", "too_long"]].sum(axis=None) == len(labels)


def test_every_threshold_of_every_question_meets_exactly_one_trajectory(smoke):
    rows = read_table(smoke.folder / "trajectories/small/labolympiad.parquet", "trajectories")
    for policy in ("rsd", "oracle", "router", "random", "confidence"):
        for question in {row["question_id"] for row in rows}:
            mine = [row for row in rows if (row["question_id"], row["policy"]) == (question, policy)]
            for seed in {row["router_seed"] for row in mine}:
                own = [row for row in mine if row["router_seed"] == seed]
                for threshold in (-0.5, 0.0, 0.25, 0.5, 0.75, 1.0):
                    assert sum(row["threshold_low"] <= threshold < row["threshold_high"] for row in own) == 1


@pytest.mark.parametrize(
    ("override", "reruns", "spares"),
    [
        ("figures={dpi: 99}", {"figure"}, {"table", "curves", "sweep"}),
        ("curves={resamples: 201}", {"curves", "accuracy_latency", "router_quality"}, {"latency", "router"}),
        ("latency={warmup: 0}", {"latency"}, {"sweep", "label", "router", "curves"}),
        ("sweep={chunk: 5}", {"sweep"}, {"label", "router", "evaluation_questions"}),
        ("router={training: {epochs: 2.0}}", {"router"}, {"dataset", "label", "questions"}),
        ("dataset={max_examples: 50}", {"dataset"}, {"label", "questions"}),
        ("steps={chunk: 21}", {"label"}, {"questions", "evaluation_questions", "quantise"}),
        ("questions={sample: 81}", {"questions"}, {"evaluation_questions", "quantise"}),
        (
            "benchmarks={lab500: {limit: 15}}",
            {"evaluation_questions", "sweep"},
            {"questions", "label", "router", "quantise"},
        ),
        (
            "models={draft: {server: {concurrency: 9, url: 'http://x/v1'}, vllm: {cache_gib: 2.0}}}",
            set(),
            {"label"},
        ),
        ("generation={max_steps: 41}", {"label", "sweep", "latency"}, {"questions", "evaluation_questions"}),
    ],
)
def test_a_changed_key_reruns_the_rules_that_read_it_and_spares_the_others(smoke, override, reruns, spares):
    planned = smoke.run("--dry-run", config=(override,))
    assert planned.returncode == 0, planned.stderr[-2000:]
    rules = set(re.findall(r"^(\w+) +\d+$", planned.stdout + planned.stderr, flags=re.MULTILINE))
    assert reruns <= rules
    assert not spares & rules


def test_a_changed_study_that_cannot_run_is_told_before_its_first_job(smoke, tmp_path):
    """A draft whose tokenizer has no chat template: nothing runs, and nothing that is finished is touched."""
    bare = tmp_path / "bare"
    shutil.copytree(ROOT / "src/arbitrage/lab/zoo/draft", bare, ignore=shutil.ignore_patterns("chat_template.jinja"))
    refused = smoke.run(config=(f"models={{draft: {{path: {bare}}}}}",))
    assert refused.returncode != 0
    told = " ".join((refused.stdout + refused.stderr).split())
    assert "models.draft │ fault" in told and "template" in told and "is not ready to run" in told
    assert "localrule" not in told and "rule label:" not in told
    assert "Nothing to be done" in smoke.run().stderr


@pytest.mark.fault("whole smoke study killed twice")
def test_a_run_killed_in_the_middle_goes_on_to_the_same_tables(smoke, tmp_path):
    """SIGKILL during `label`, again during `sweep`; the same command finishes, with nothing to clean up."""
    study = SmokeStudy(tmp_path / "results")
    for stage in ("logs/label", "logs/sweep"):
        _kill_when_there(study, stage)
    done = study.run()
    assert done.returncode == 0, done.stderr[-6000:]
    assert study.tables() == smoke.tables()


def _kill_when_there(study: SmokeStudy, stage: str) -> None:
    run = subprocess.Popen(
        study.command(), cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 600
    while not list((study.folder / stage).glob("*.log")):
        assert run.poll() is None, f"the run ended before {stage}"
        assert time.monotonic() < deadline
        time.sleep(0.2)
    time.sleep(8)  # models are loaded, chunks are under way
    os.kill(run.pid, signal.SIGKILL)
    run.wait()


@pytest.mark.fault("second run in the same folder")
def test_a_second_run_at_the_same_time_is_refused_and_names_the_first(tmp_path):
    study = SmokeStudy(tmp_path / "results")
    first = subprocess.Popen(
        study.command(), cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while not (study.folder / ".lock").exists():
            assert first.poll() is None
            time.sleep(0.1)
        time.sleep(1)
        second = study.run()
        assert second.returncode != 0
        assert str(first.pid) in second.stderr
    finally:
        first.terminate()  # a shell in the background has its children ignore SIGINT
        first.wait(timeout=60)


@pytest.mark.fault("finished table truncated, or one bit flipped")
def test_a_truncated_shard_is_named_and_the_others_are_kept(smoke, tmp_path):
    shards = sorted((smoke.folder / "trajectories/small/lab500").glob("shard-*.parquet"))
    broken = tmp_path / shards[0].name
    broken.write_bytes(shards[0].read_bytes()[:-100])
    out = tmp_path / "merged.parquet"
    study = ["--study", "studies/smoke.yaml"]
    done = subprocess.run(
        ["arbitrage", "trajectories", *study, "--out", str(out), str(broken), str(shards[1])],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert str(broken) in done.stderr and "snakemake" in done.stderr and "Traceback" not in done.stderr
    assert not out.exists() and shards[1].exists()


def test_a_config_with_three_mistakes_is_refused_with_three_lines(tmp_path):
    study = SmokeStudy(tmp_path / "results")
    mistakes = ("sweep={treshold: exact}", "curves={resamples: 0}", "prm={pth: no/such/model/here}")
    done = study.run(config=mistakes)
    assert done.returncode != 0
    for key in ("sweep.treshold", "curves.resamples", "prm.pth"):
        assert key in done.stderr
    assert "Traceback" not in done.stderr and not study.folder.joinpath("questions").exists()
