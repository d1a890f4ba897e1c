"""Routers that read scalars: their data, the fit, and the number that comes out."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from arbitrage.config.load import ConfigError, validate_config
from arbitrage.config.router import Dataset, Variant
from arbitrage.engines.factory import load_routers
from arbitrage.engines.scoring.scalar_router import ScalarRouter, kind_of
from arbitrage.io.tables import TableError, read_table, write_table
from arbitrage.routing.dataset import build_dataset
from arbitrage.routing.heldout import heldout_rows
from arbitrage.routing.inputs import ScalarEncoding, states_of
from arbitrage.routing.label_classes import RoutingError
from arbitrage.routing.scalars import fit_scalars
from arbitrage.speculation.protocols import EngineError, ScoreError
from tests.unit.routing.conftest import step_row

KEY = ("study", "pair", "question_id", "step_index")
FORM = {"kind": "scalars", "network": "logistic", "loss": "weighted", "names": ["mean_logprob", "tokens"]}


def steps(questions: int = 60, **columns: Any) -> list[dict[str, Any]]:
    """Steps whose advantage is what the draft's least likely token says."""
    rows = []
    for number in range(questions):
        for index in range(1 + number % 3):
            lowest = -(1 + (7 * number + 3 * index) % 40) / 20
            advantage = [0.0, -0.25, 0.5, 0.75][(lowest < -0.5) + (lowest < -1.0) + (lowest < -1.5)]
            rows.append(step_row(f"q{number}", index, advantage) | {"draft_logprobs": [-0.125, lowest]} | columns)
    return rows


def build(folder: Path, rows: list[dict[str, Any]], variant: Variant, **settings: Any) -> dict[str, Any]:
    table = folder / "steps.parquet"
    write_table(table, "steps", rows)
    states = states_of(table, state_tables(folder, rows)) if variant.reads_states else None
    encoding = ScalarEncoding(variant.kind, table, states)
    return build_dataset(table, variant, Dataset(**settings), encoding, 42, folder / "data")


def state_tables(folder: Path, rows: list[dict[str, Any]], width: int = 3) -> list[Path]:
    """Tables `states` of two shards. A state holds what the draft's least likely token says, among other things."""
    tables = [folder / f"states-{width}-{shard}.parquet" for shard in range(2)]
    for shard, table in enumerate(tables):
        found = []
        for row in rows[shard::2]:
            state = [1.0, row["step_index"] - 2 * row["draft_logprobs"][1], -float(row["step_index"])]
            found.append({**{name: row[name] for name in KEY}, "state": (state * width)[:width]})
        write_table(table, "states", found)
    return tables


@pytest.mark.parametrize("kind", ["scalars", "scalars+prm", "scalars+target", "probe", "scalars+probe"])
@pytest.mark.parametrize("network", ["mlp", "logistic"])
def test_a_router_finds_what_its_scalars_say(kind: Any, network: Any, tmp_path: Path) -> None:
    report = build(tmp_path, steps(), Variant(kind=kind, network=network))
    told = fit_scalars(tmp_path / "data", network, 1, tmp_path / "router")
    assert told["examples"] == report["train"]["examples"] and told["kind"] == kind
    classifier, routers = load_routers(None, [tmp_path / "router"])  # type: ignore[arg-type]
    assert classifier is None and list(routers) == [kind] == [kind_of(tmp_path / "router")]
    router = routers[kind]
    assert list(router.names) == report["names"] and bool(router.names) == (kind != "probe")
    assert router.format.state_width == report["state_width"] == 3 * kind.endswith("probe")
    rows = heldout_rows(tmp_path / "data", router, kind)
    assert len(rows) == report["validation"]["examples"]
    assert all(0 < row["router_score"] < 1 for row in rows)
    told_apart = [(row["router_score"] > 0.5) == (row["advantage"] > 0) for row in rows if row["advantage"]]
    assert np.mean(told_apart) > 0.9
    examples = read_table(tmp_path / "data" / "validation.parquet", "examples")
    assert [router.score_one(row["scalars"]) for row in examples] == pytest.approx([r["router_score"] for r in rows])
    with pytest.raises(EngineError, match=rf"kind {re.escape(kind)} got {len(router.names) + 4} numbers; expected"):
        router.score_one([0.0] * (len(router.names) + 4))


def test_weights_follow_from_data_and_seed(tmp_path: Path) -> None:
    build(tmp_path, steps(), Variant(kind="scalars"))
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        fit_scalars(tmp_path / "data", "mlp", seed, tmp_path / name)
    one, again, other = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "again", "other"))
    assert one == again != other


def test_the_weighted_loss_outvotes_many_small_losses_with_few_large_gains(tmp_path: Path) -> None:
    """All scalars alike: the scalar is the share of positive advantage, by weight or by count."""
    rows = [
        step_row(f"q{number}", 0, 0.75 if number % 4 == 0 else -0.125)
        | {"draft_logprobs": [-0.5, -0.25], "target_logprobs": None}
        for number in range(80)
    ]
    scores = {}
    for loss in ("label", "weighted", "regression"):
        (tmp_path / loss).mkdir()
        variant = Variant(kind="scalars", network="logistic", loss=loss, balance=False)  # type: ignore[arg-type]
        build(tmp_path / loss, rows, variant)
        fit_scalars(tmp_path / loss / "data", "logistic", 1, tmp_path / loss / "router")
        train = read_table(tmp_path / loss / "data" / "train.parquet", "examples")
        (scores[loss],) = {round(row["router_score"], 6) for row in _heldout(tmp_path / loss)}
    gains = np.array([row["advantage"] for row in train])
    assert scores["label"] == pytest.approx((gains > 0).mean(), abs=1e-3)
    assert scores["weighted"] == pytest.approx(gains[gains > 0].sum() / np.abs(gains).sum(), abs=1e-3)
    assert scores["regression"] == pytest.approx((1 + gains.mean()) / 2, abs=1e-3)
    assert scores["label"] < 0.5 < scores["weighted"]


def _heldout(folder: Path) -> list[dict[str, Any]]:
    return heldout_rows(folder / "data", ScalarRouter(folder / "router"), "v")


def test_routers_that_read_scalars_take_all_steps_whatever_the_cap_of_classifiers(tmp_path: Path) -> None:
    rows = steps()
    report = build(tmp_path, rows, Variant(kind="scalars"), max_examples=10)
    parts = [read_table(tmp_path / "data" / f"{name}.parquet", "examples") for name in ("train", "validation")]
    assert sum(map(len, parts)) == len(rows) and report["left_out"]["balance_or_cap"] == 0
    assert all(row["input_ids"] is None for part in parts for row in part)


def test_steps_that_tie_are_accepted_where_no_other_step_is_to_be(tmp_path: Path) -> None:
    build(tmp_path, [row | {"advantage": max(row["advantage"], 0.0)} for row in steps()], Variant(kind="scalars"))
    fit_scalars(tmp_path / "data", "mlp", 1, tmp_path / "router")
    scores = {gains: [] for gains in (True, False)}  # type: dict[bool, list[float]]
    for row in _heldout(tmp_path):
        scores[row["advantage"] > 0].append(row["router_score"])
    assert np.mean(scores[True]) > 0.5 > np.mean(scores[False])


def test_entropies_are_read_where_every_step_has_them(tmp_path: Path) -> None:
    assert "first_token_entropy" in build(tmp_path, steps(), Variant(kind="scalars"))["names"]
    rows = steps()
    rows[-1]["draft_entropies"] = None
    assert "first_token_entropy" not in build(tmp_path, rows, Variant(kind="scalars"))["names"]


def test_the_number_is_the_networks(tmp_path: Path) -> None:
    weights = {"mean": [-1.0, 10.0], "scale": [0.5, 4.0], "out.weight": [[2.0, -1.0]], "out.bias": [0.25]}
    write_router(tmp_path / "linear", FORM, weights)
    router = ScalarRouter(tmp_path / "linear")
    logit = 2.0 * (-0.5 + 1) / 0.5 - (12.0 - 10) / 4 + 0.25
    assert router.score_one([-0.5, 12.0]) == pytest.approx(1 / (1 + math.exp(-logit)), abs=1e-12)
    hidden = {"hidden.weight": [[1.0, 0.0], [0.5, 0.5]], "hidden.bias": [0.0, -0.5]}
    write_router(tmp_path / "mlp", FORM | {"network": "mlp"}, weights | hidden)
    first, second = math.tanh(1.0), math.tanh(0.5 * 1.0 + 0.5 * 0.5 - 0.5)
    expected = 1 / (1 + math.exp(-(2 * first - second + 0.25)))
    assert ScalarRouter(tmp_path / "mlp").score_one([-0.5, 12.0]) == pytest.approx(expected, abs=1e-12)
    assert 0 < router.score_one([1e6, 10.0]) < 1
    with pytest.raises(ScoreError, match=r"kind scalars got mean_logprob nan, tokens 12; expected finite"):
        router.score_one([math.nan, 12.0])


def test_a_state_with_a_number_that_is_not_finite_is_told_by_the_router(tmp_path: Path) -> None:
    weights = {"mean": [0.0] * 3, "scale": [1.0] * 3, "out.weight": [[1.0] * 3], "out.bias": [0.0]}
    form = FORM | {"kind": "scalars+probe", "names": ["tokens"], "state_width": 2}
    write_router(tmp_path / "router", form, weights)
    with pytest.raises(ScoreError, match="got tokens 12, a state with 1 numbers that are not finite; expected finite"):
        ScalarRouter(tmp_path / "router").score_one([12.0, math.inf, 0.0])


def write_router(folder: Path, form: dict[str, Any], weights: dict[str, Any]) -> None:
    folder.mkdir()
    (folder / "router.json").write_text(json.dumps(form))
    save_file({name: np.array(weight) for name, weight in weights.items()}, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": ["mean_logprob"]}, "no router that reads scalars"),
        ({"kind": "scalars+luck"}, "no router that reads scalars"),
        ({"network": "mlp"}, "hidden.weight"),
    ],
)
def test_a_damaged_router_is_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    weights = {"mean": [-1.0, 10.0], "scale": [0.5, 4.0], "out.weight": [[2.0, -1.0]], "out.bias": [0.25]}
    write_router(tmp_path / "router", FORM | change, weights)
    with pytest.raises(EngineError, match=message):
        ScalarRouter(tmp_path / "router")
    with pytest.raises(EngineError, match=r"router\.json: missing; expected a directory that the router stage wrote"):
        kind_of(tmp_path)


def test_data_that_no_router_can_be_fitted_to_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RoutingError, match=r"0 of .* training steps have advantage > 0; a router needs both kinds"):
        build(tmp_path, [row | {"advantage": -0.5} for row in steps()], Variant(kind="scalars"))
    with pytest.raises(TableError, match="draft_logprobs would hold nan"):
        build(tmp_path, steps(draft_logprobs=[-0.5, math.nan]), Variant(kind="scalars"))
    with pytest.raises(RoutingError, match=r"labelled without the target reading them.*label them again"):
        build(tmp_path, steps(target_logprobs=None), Variant(kind="scalars+target"))
    gap = [row for row in steps() if (row["question_id"], row["step_index"]) != ("q2", 1)]
    with pytest.raises(RoutingError, match="question q2, step 2: 2 steps before it, and 1 of them labelled"):
        build(tmp_path, gap, Variant(kind="scalars"))


def test_steps_without_states_or_with_those_of_two_drafts_are_refused(tmp_path: Path) -> None:
    rows = steps()
    write_table(tmp_path / "steps.parquet", "steps", rows)
    tables, wide = state_tables(tmp_path, rows), state_tables(tmp_path, rows, width=5)
    assert len(states_of(tmp_path / "steps.parquet", tables)) == len(rows)
    for given, count in ((tables[:1], len(rows) // 2), ([], len(rows))):
        told = rf"{count} labelled steps have no hidden state of the draft \(question q\d+.*all shards.*\(--states\)"
        with pytest.raises(RoutingError, match=told):
            states_of(tmp_path / "steps.parquet", given)
    with pytest.raises(RoutingError, match=r"hidden states of 3 and 5 numbers; expected one draft's"):
        states_of(tmp_path / "steps.parquet", [tables[0], wide[1]])
    with pytest.raises(RoutingError, match=r"0 of .* training steps have advantage > 0; a router needs both kinds"):
        build(tmp_path, [row | {"advantage": -0.5} for row in rows], Variant(kind="probe"))
    with pytest.raises(TableError, match="state would hold nan"):
        state = {**{name: rows[0][name] for name in KEY}, "state": [math.nan]}
        write_table(tmp_path / "nan.parquet", "states", [state])


STUDY: dict[str, Any] = {
    "study": "s",
    "models": {name: {"path": f"a/{name}", "revision": "0" * 40} for name in ("d", "t")},
    "pairs": {
        "p": {"draft": "d", "target": "t", "latency": False},
        "q": {"draft": "t", "target": "d", "latency": False},
    },
    "prm": {"path": "a/p", "revision": "0" * 40},
    "benchmarks": {"lab500": {"source": "lab500"}},
    "router": {
        "variants": {"default": {}, "mlp": {"kind": "scalars"}, "line": {"kind": "scalars", "network": "logistic"}}
    },
    "sweep": {"policies": ["rsd", "router", "scalars"]},
}


def test_a_policy_takes_the_default_of_its_kind_or_the_first_that_is() -> None:
    study = validate_config(STUDY)
    assert [study.variant_of(policy) for policy in ("rsd", "router", "scalars", "scalars_prm")] == [
        *(None, "default", "mlp", None)
    ]
    assert study.routing_variants == ["default", "mlp"]
    assert study.variants_of("p") == ["default", "mlp", "line"] and study.variants_of("q") == ["default", "mlp"]
    variants = {"text": {}, "mlp": {"kind": "scalars"}, "default": {"kind": "scalars", "network": "logistic"}}
    other = validate_config(STUDY | {"router": {"variants": variants}})
    assert (other.variant_of("router"), other.variant_of("scalars")) == ("text", "default")


@pytest.mark.parametrize(
    ("variants", "message"),
    [
        ({"default": {}}, r"router\.variants: expected a variant of kind scalars, as sweep.policies has scalars"),
        ({"default": {}, "x": {"kind": "scalars", "classes": 4, "loss": "label"}}, "reads no text: leave out classes"),
        ({"default": {"classes": 4, "loss": "weighted"}}, "classes 4 needs loss `label`"),
        ({"default": {"network": "logistic"}}, "network is of the kinds that read numbers"),
        ({"default": {"loss": "luck"}}, r"router\.variants\.default\.loss"),
    ],
)
def test_variants_that_cannot_be_are_refused_with_the_key(variants: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        validate_config(STUDY | {"router": {"variants": variants}})


def test_a_target_that_cannot_read_is_refused_where_a_variant_learns_from_it() -> None:
    variants = {"default": {}, "mlp": {"kind": "scalars"}, "x": {"kind": "scalars+target"}}
    study = STUDY | {"router": {"variants": variants}}
    assert validate_config(study).target_reads_labelled and not validate_config(STUDY).target_reads_labelled
    models = {"d": STUDY["models"]["d"], "t": STUDY["models"]["t"] | {"engine": "openai"}}
    with pytest.raises(ConfigError, match=r"models\.t\.engine: .*variants\.x is of kind scalars\+target.*openai"):
        validate_config(study | {"models": models})


def test_the_loss_and_the_balance_follow_from_the_kind() -> None:
    told = {kind: (Variant(kind=kind).objective, Variant(kind=kind).balanced) for kind in ("classifier", "scalars")}  # type: ignore[arg-type]
    assert told == {"classifier": ("label", True), "scalars": ("weighted", False)}
    assert Variant(loss="weighted").balanced is False and Variant(loss="weighted", balance=True).balanced is True
