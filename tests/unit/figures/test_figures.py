"""Figures: they draw whatever policies there are, say what they show, and are the same bytes each time."""

import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from arbitrage.figures import fig3, fig4, fig5, fig6, figA1, figE1, style
from arbitrage.io.csv_tables import read_csv
from arbitrage.io.tables import write_table
from tests.conftest import World
from tests.support import synthetic

FROM_CURVES: dict[str, Callable] = {
    "fig3": fig3.from_study,
    "fig4": fig4.from_study,
    "fig5": fig5.from_study,
    "figA1": figA1.from_study,
    "figE1": figE1.from_study,
}


@pytest.fixture(scope="module")
def questions(world: World) -> Path:
    rows = [
        {"study": "s", "question_id": question, "source": "x", "problem": r"What is $\boxed{x}$ & 50 % of it?"}
        | {"solution": "", "answers": ["1"], "grading": "{}"}
        for question in synthetic.questions_of("lab500", 40)
    ]
    write_table(world.folder / "questions" / "lab500.parquet", "questions", rows)
    return world.folder / "questions" / "lab500.parquet"


def _titles(figure: Figure) -> list[str]:
    return [ax.get_title(loc="left") for ax in figure.axes if ax.get_title(loc="left")]


@pytest.mark.parametrize("name", FROM_CURVES)
def test_a_figure_has_a_titled_labelled_panel_for_each_pair_and_benchmark(world: World, name: str) -> None:
    figure = FROM_CURVES[name](world.study)
    pairs = ["small"] if name == "fig5" else ["small", "lowbit"]  # in the study's order, not the alphabet's
    expected = [f"pair {pair}, benchmark {benchmark}" for pair in pairs for benchmark in ("lab500", "labolympiad")]
    assert list(dict.fromkeys(_titles(figure))) == expected
    for ax in figure.axes:
        assert ax.get_xlabel()
        assert ax.get_ylabel()
    assert len(figure._supxlabel.get_text()) > 100


def _one_panel(world: World, name: str) -> pd.DataFrame:
    frame = read_csv(world.folder / "curves" / f"{name}.csv")
    return frame[(frame["pair"] == "small") & (frame["benchmark"] == "lab500")]


def test_the_same_figure_is_the_same_bytes(world: World, tmp_path: Path) -> None:
    for run in ("a", "b"):
        figure = fig4.draw(_one_panel(world, "accuracy_acceptance"), 0.95)
        style.save(figure, tmp_path / f"{run}.pdf", tmp_path / f"{run}.png", dpi=50)
    for kind in ("pdf", "png"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()
    assert b"CreationDate" not in (tmp_path / "a.pdf").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pdf", "a.png", "b.pdf", "b.png"]


@pytest.mark.parametrize("missing", [["oracle"], ["random", "confidence"], ["router"], ["draft_only", "target_only"]])
def test_figures_without_some_policies_still_draw(world: World, missing: list[str]) -> None:
    points = {name: _one_panel(world, name) for name in ("accuracy_acceptance", "outcomes", "accuracy_latency")}
    points = {name: frame[~frame["policy"].isin(missing)] for name, frame in points.items()}
    speedup = _one_panel(world, "speedup")
    speedup = speedup[~speedup["policy"].isin(missing) & ~speedup["against"].isin(missing)]
    for figure in (
        fig3.draw(points["outcomes"], 0.95),
        fig4.draw(points["accuracy_acceptance"], 0.95),
        figE1.draw(points["accuracy_acceptance"], 0.95),
        figA1.draw(points["outcomes"], 0.95),
        fig5.draw(points["accuracy_latency"], speedup, 0.95),
    ):
        figure.draw_without_rendering()
        labels = [text.get_text() for text in figure.legends[0].get_texts()]
        assert not {style.LABELS[policy] for policy in missing} & set(labels)


def test_fig4_joins_the_points_of_the_table_in_the_order_of_thresholds(world: World) -> None:
    points = read_csv(world.folder / "curves" / "accuracy_acceptance.csv")
    panel = points[(points["pair"] == "small") & (points["benchmark"] == "lab500")]
    figure = fig4.draw(panel, 0.9)
    lines = [line for line in figure.axes[0].lines if line.get_color() == style.COLOURS["rsd"]]
    own = panel[panel["policy"] == "rsd"].sort_values("threshold")
    assert np.concatenate([line.get_xdata() for line in lines]) == pytest.approx(100 * own["acceptance"])
    assert np.concatenate([line.get_ydata() for line in lines]) == pytest.approx(100 * own["accuracy"])
    assert "90 %" in figure._supxlabel.get_text()


def test_a_line_breaks_where_no_operating_point_is(world: World) -> None:
    panel = _one_panel(world, "accuracy_acceptance")
    holed = panel[~((panel["policy"] == "rsd") & panel["acceptance"].between(0.3, 0.6))]
    figure = fig4.draw(holed, 0.95)
    lines = [line for line in figure.axes[0].lines if line.get_color() == style.COLOURS["rsd"]]
    assert not any((line.get_xdata() < 30).any() and (line.get_xdata() > 60).any() for line in lines)
    assert all(np.diff(line.get_xdata()).max(initial=0) <= 5 for line in lines)
    assert "A line breaks" in " ".join(figure._supxlabel.get_text().split())


def test_listed_thresholds_are_points(world: World) -> None:
    panel = _one_panel(world, "accuracy_acceptance")
    panel = panel[panel["threshold"].isna() | panel["threshold"].isin([0.3, 0.7])]
    figure = fig4.draw(panel[panel["trainings"] < 3], 0.95, listed=True)
    rsd = [line for line in figure.axes[0].lines if line.get_color() == style.COLOURS["rsd"] and len(line.get_xdata())]
    assert {line.get_linestyle() for line in rsd} == {"None"}
    assert "Points: the thresholds that the study lists" in " ".join(figure._supxlabel.get_text().split())


def test_every_training_of_the_router_is_drawn_below_their_mean(world: World) -> None:
    figure = fig4.from_study(world.study)
    widths = [line.get_linewidth() for line in figure.axes[0].lines if line.get_color() == style.COLOURS["router"]]
    assert len([width for width in widths if width < 1]) >= 3
    assert len([width for width in widths if width > 1]) >= 1
    assert "3 trainings" in figure._supxlabel.get_text()


def test_a_caption_names_the_policies_that_have_a_band(world: World) -> None:
    means = _one_panel(world, "accuracy_acceptance")
    alone = means[means["router_seed"].notna() | (means["policy"] != "router")].drop(columns="trainings")
    one = alone[~(alone["router_seed"] > 0)]
    assert "of oracle, router and RSD." in style.bands(0.95, means) and "of oracle and RSD." in style.bands(0.95, alone)
    assert "of oracle, router and RSD." in style.bands(0.95, one)


def test_the_axis_of_fig3_does_not_hide_the_oracle_which_wastes_nothing(world: World) -> None:
    assert all(ax.get_ylim()[0] < 0 for ax in fig3.from_study(world.study).axes)


def test_the_largest_speed_up_is_in_no_title(world: World) -> None:
    figure = fig5.from_study(world.study)
    said = " ".join(text.get_text() for ax in figure.axes for text in (*ax.texts, ax.title))
    assert "on average" in said
    assert "at most" not in said
    assert "largest" not in said


def test_a_line_above_a_panel_does_not_squeeze_it(world: World) -> None:
    figure = fig5.from_study(world.study)
    figure.draw_without_rendering()
    assert all(ax.get_position().width > 0.3 for ax in figure.axes if ax.get_visible())


def test_fig5_marks_measured_points_and_says_which_pair_is_not_timed(world: World) -> None:
    figure = fig5.from_study(world.study)
    ax = figure.axes[0]
    assert sum(len(container.lines[0].get_xdata()) for container in ax.containers) == 16
    assert "No latency for lowbit" in " ".join(figure._supxlabel.get_text().split())
    assert any("router over RSD" in text.get_text() for text in ax.texts)


def test_fig5_says_which_pairs_times_are_starts_of_kernels(world: World) -> None:
    on_gpu = {name: model.model_copy(update={"device": "cuda"}) for name, model in world.study.models.items()}
    for models, said in ((world.study.models, False), (on_gpu, True)):
        figure = fig5.from_study(world.study.model_copy(update={"models": models}))
        caption = " ".join(figure._supxlabel.get_text().split())
        assert ("Times of small are mostly starts of kernels" in caption) == said


def test_fig5_says_where_curves_do_not_overlap(world: World) -> None:
    curves = world.folder / "curves"
    speedup = read_csv(curves / "speedup.csv").assign(value=float("nan"))
    figure = fig5.draw(read_csv(curves / "accuracy_latency.csv"), speedup, 0.95)
    assert any("no common accuracy" in text.get_text() for text in figure.axes[0].texts)


def test_a_figure_with_nothing_to_show_says_why(world: World) -> None:
    none = read_csv(world.folder / "curves" / "outcomes.csv").iloc[:0]
    latency, speedup = (
        read_csv(world.folder / "curves" / f"{name}.csv").iloc[:0] for name in ("accuracy_latency", "speedup")
    )
    sweep = world.study.sweep.model_copy(update={"policies": ["rsd"]})
    figures = {
        "no rsd": figA1.draw(none, 0.95),
        "has none": fig3.draw(none, 0.95),
        "No pair": fig5.draw(latency, speedup, 0.95),
        "lacks one": fig6.from_study(world.study.model_copy(update={"sweep": sweep})),
    }
    for said, figure in figures.items():
        assert said in " ".join(figure.texts[0].get_text().split())


def test_fig6_shows_every_step_of_both_solutions_and_the_rule(world: World, questions: Path, tmp_path: Path) -> None:
    figure = fig6.from_study(world.study)
    style.save(figure, tmp_path / "6.pdf", tmp_path / "6.png", dpi=60)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert r"What is $\boxed{x}$ & 50 % of it?" in texts[0]
    heads = [text for text in texts if "draft accepted" in text or "escalated" in text]
    example = fig6.pick_example(world.tables["trajectories"][0], questions, 0.8, world.study.seed)
    assert len(heads) == sum(len(row["steps"]) for row in example.rows.values())
    assert f"among the {example.eligible}" in " ".join(" ".join(texts).split())


def test_fig6_of_steps_with_control_characters_is_a_drawing_that_can_be_read(
    world: World, questions: Path, tmp_path: Path
) -> None:
    example = fig6.pick_example(world.tables["trajectories"][0], questions, 0.8, world.study.seed)
    for row in example.rows.values():
        row["steps"][0] |= {"text": "x\x12\ufffe\n\n", "draft_step": "y\x00"}
    with mpl.rc_context({"svg.fonttype": "none"}), warnings.catch_warnings(action="ignore"):  # the font lacks the sign
        fig6.draw(example).savefig(tmp_path / "6.svg")
    assert "x\ufffd\ufffd" in "".join(ElementTree.parse(tmp_path / "6.svg").getroot().itertext())


def test_drawing_leaves_matplotlibs_settings_as_they_were(world: World) -> None:
    before = dict(mpl.rcParams)
    fig4.from_study(world.study)
    assert dict(mpl.rcParams) == before


def test_an_empty_panel_does_not_break_the_study_order(world: World) -> None:
    points = pd.DataFrame({"pair": ["lowbit", "small"], "benchmark": ["lab500", "labolympiad"]})
    ordered = style.in_study_order(points, world.study)
    assert style.panels_of(ordered) == [("small", "labolympiad"), ("lowbit", "lab500")]


def test_importing_figures_and_the_summary_does_not_import_torch() -> None:
    modules = ["fig3", "fig4", "fig5", "fig6", "figA1", "figE1", "routers", "table1", "table2", "table3", "tableC1"]
    code = "import sys\n" + "\n".join(f"import arbitrage.figures.{name}" for name in modules)
    code += "\nimport arbitrage.report.summary, arbitrage.grading.grade\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
