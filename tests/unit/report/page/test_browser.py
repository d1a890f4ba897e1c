"""The report in a real browser: its numbers are the tables', a question opens, filters count, the address keeps all."""

import html
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import pytest

from arbitrage.config.study import Study
from arbitrage.evaluation.accuracy_acceptance import write_accuracy_acceptance
from arbitrage.io.csv_tables import read_csv
from arbitrage.io.tables import read_table, write_table
from arbitrage.report.page.explorer_data import panel_data
from arbitrage.report.page.page import write_page
from arbitrage.report.page.router_section import parts
from arbitrage.runtime.paths import StudyPaths
from tests.support import synthetic
from tests.unit.report.page.test_page import way_at

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.extra,
    pytest.mark.timeout(400),
    pytest.mark.skipif(BROWSER is None, reason="no chromium; on Debian: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def page(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "index.html"
    write_page(study, path)
    return path


def opened(page: Path, *options: str, **state: object) -> str:
    """What the browser makes of the page at this state; errors on its console fail the test."""
    address = f"file://{page}#{urlencode({'panel': 'small lab500', **state})}" if state else f"file://{page}"
    command = [str(BROWSER), "--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=30000"]
    command += ["--enable-logging=stderr", *options, address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    told = [line for line in done.stderr.splitlines() if "CONSOLE" in line and "Infinite extent" not in line]
    assert not told
    return html.unescape(done.stdout)


def test_the_numbers_at_a_threshold_are_those_of_the_table(study: Study, page: Path) -> None:
    points = read_csv(StudyPaths.of(study).curves("accuracy_acceptance"))
    own = points[(points["pair"] == "small") & (points["benchmark"] == "lab500") & (points["policy"] == "rsd")]
    row = own.iloc[len(own) // 2]
    dom = opened(page, "--dump-dom", run="rsd", tau=row["threshold"], against="oracle")
    assert 'data-ready="true"' in dom
    for name, value in (("acceptance", row["acceptance"]), ("accuracy", row["accuracy"])):
        (shown,) = re.findall(rf'id="now-{name}">([0-9.]+) %', dom)
        assert float(shown) == pytest.approx(100 * value, abs=0.051)


def test_a_question_opens_with_the_sweeps_own_texts_and_filters_count_right(study: Study, page: Path) -> None:
    paths = StudyPaths.of(study)
    panel = panel_data(paths.trajectories("small", "lab500"), paths.questions("lab500"))
    run = panel["runs"].index("rsd")
    ways = {question["id"]: way_at(question, run, 0.5) for question in panel["questions"]}
    escalated = [name for name, way in ways.items() if "t" in way[3]]
    chosen = next(question for question in panel["questions"] if question["id"] == escalated[-1])
    dom = opened(page, "--dump-dom", run="rsd", tau=0.5, outcome="escalated", question=chosen["id"])
    assert f"{len(escalated)} of {len(ways)} questions" in dom and dom.count("<li><button") == len(escalated)
    (dom,) = re.findall(r'<article id="question".*?</article>', dom, re.DOTALL)
    path = ways[chosen["id"]][3]
    for index, author in enumerate(path):
        text = chosen["texts"][chosen["nodes"][path[:index]][0 if author == "d" else 1]]
        assert text.strip() in dom
    assert dom.count('class="step target"') == path.count("t")


READY = "const wait = setInterval(() => { if (document.body.dataset.ready) { clearInterval(wait); %s } }, 100);"


def with_script(page: Path, name: str, script: str) -> Path:
    """The page with a script that runs once all is drawn."""
    changed = page.with_name(name)
    changed.write_text(page.read_text().replace("</body>", f"<script>{READY % script}</script></body>"))
    return changed


def test_charts_of_the_routers_are_drawn_and_described(study: Study, page: Path) -> None:
    dom = opened(page, "--dump-dom")
    charts = [chart for part in parts(study) for panel in part.panels for chart in panel.charts]
    drawn = re.findall(r'<div data-chart="([^"]+)"[^>]*aria-label="([^"]+)"[^>]*><svg', dom)
    assert drawn == [(chart.key, chart.specification["description"]) for chart in charts]


def test_an_example_of_a_mistake_opens_in_the_explorer(page: Path) -> None:
    script = "const link = [...document.querySelectorAll('a.explore')].at(-1); link.click();"
    link = re.findall(r'class="explore" href="#([^"]+)"', page.read_text())[-1]
    state = dict(parse_qsl(html.unescape(link)))
    dom = opened(with_script(page, "clicked.html", script), "--dump-dom", panel="small lab500", run="oracle", tau=0.1)
    assert f"<h3>{state['question']}</h3>" in dom and state["panel"] == "small labolympiad"
    steps = re.findall(r"<li class=\"[^\"]*\">Arbitrage router, training 0 ([0-9.]+): (\w+)", dom)
    assert steps and all((float(score) > 0.5) == (word == "escalate") for score, word in steps)


def test_nothing_is_wider_than_a_phone(page: Path) -> None:
    """In a frame: the browser's own window has a least width."""
    told = (
        "parent.document.title = [document.documentElement.scrollWidth, document.documentElement.clientWidth].join();"
    )
    framed = with_script(page, "narrow.html", told)
    frame = page.with_name("frame.html")
    frame.write_text(f"<iframe src='{framed.name}' style='width: 390px; height: 800px'></iframe>")
    dom = opened(frame, "--allow-file-access-from-files", "--dump-dom")
    (widths,) = re.findall(r"<title>(\d+),(\d+)</title>", dom)
    assert int(widths[0]) <= int(widths[1]) <= 390


@pytest.mark.parametrize("policies", [(), ("rsd",), ("draft_only",)])
def test_a_study_that_leaves_things_out_gives_a_page_without_errors(
    study: Study, tmp_path: Path, policies: tuple[str, ...]
) -> None:
    """No router, no clock, one benchmark without a solution and one with those of a single policy or none."""
    bare = study.model_copy(update={"results": str(tmp_path)})
    paths, questions = StudyPaths.of(bare), read_table(StudyPaths.of(study).questions("lab500"), "questions")
    write_table(paths.questions("lab500"), "questions", questions)
    write_table(paths.questions("labolympiad"), "questions", [])
    write_table(paths.trajectories("small", "labolympiad"), "trajectories", [])
    solved = synthetic.trajectories("small", "lab500", 4, policies)
    write_table(paths.trajectories("small", "lab500"), "trajectories", solved)
    if solved:
        swept, table = [paths.trajectories("small", "lab500")], paths.curves("accuracy_acceptance")
        write_accuracy_acceptance(swept, study.curves, study.seed, table)
    write_page(bare, tmp_path / "index.html")
    dom = opened(tmp_path / "index.html", "--dump-dom")
    assert 'data-ready="true"' in dom and f"{paths.router_detail('mistakes')}: no such table" in dom
    assert ("4 of 4 questions" if solved else "No trajectories: run the study's sweep first.") in dom


@pytest.mark.parametrize("size", ["1280,1000", "390,844"])
def test_it_is_drawn_at_the_width_of_a_desk_and_of_a_phone(page: Path, size: str, tmp_path: Path) -> None:
    opened(page, f"--window-size={size}", f"--screenshot={tmp_path / 'page.png'}", run="rsd", tau=0.5)
    assert (tmp_path / "page.png").stat().st_size > 20_000


def test_a_browser_that_cannot_unpack_says_so_and_shows_the_rest(page: Path, tmp_path: Path) -> None:
    old = tmp_path / "old.html"
    old.write_text(page.read_text().replace("<head>", "<head><script>delete window.DecompressionStream</script>", 1))
    dom = opened(old, "--dump-dom")
    assert "The explorer needs a newer browser: Chrome 80" in dom and "data-ready" not in dom
    assert 'alt="fig4: Accuracy against acceptance' in dom
