"""The report: one page, drawn by a real browser; what it says is what the runs have stored."""

import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from analysis.chromium import PROGRAM, Chromium

from mpifl.analysis.clients.stored import features_of, keep_features
from mpifl.analysis.figures.panels import Panel, Trace
from mpifl.analysis.kept import keep
from mpifl.analysis.landscape.stored import keep_landscapes, landscapes_of
from mpifl.analysis.landscape.values import Landscape
from mpifl.analysis.report import figures
from mpifl.analysis.report.blocks import NOTHING, chart, words_table
from mpifl.analysis.report.build import report
from mpifl.analysis.report.clients import domains
from mpifl.analysis.report.compared import Compared
from mpifl.analysis.report.missing import command_of, lacks
from mpifl.analysis.report.time_spent import _of_ranks, rank_seconds
from mpifl.analysis.runs.groups import group
from mpifl.store import Run
from mpifl.store.measurements import Finding, Findings
from mpifl.store.timeline import NAMES

RUNS = ("avg-1", "avg-2", "man-1", "man-2")


@pytest.fixture(scope="module")
def copies(folder, tmp_path_factory) -> Path:
    """A folder of runs with features beside each, and a landscape beside the first."""
    copied = tmp_path_factory.mktemp("report") / "runs"
    for name in RUNS:
        shutil.copytree(folder / name, copied / name)
        run = Run.open(copied / name)
        if name == "avg-1":
            keep_landscapes(run, 4, [[_line()], [_plane()]], {"samples": 10})
        keep_features(run, _features(), {"on": "test", "samples": 10})
    return copied


@pytest.fixture(scope="module")
def groups(copies):
    return group([Run.open(copies / name) for name in RUNS])


@pytest.fixture(scope="module")
def page(groups, tmp_path_factory) -> Path:
    """The report of the runs, as a file."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(report(groups), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser(page, tmp_path_factory):
    """A browser that shows the page, all of its figures drawn."""
    program = shutil.which(PROGRAM)
    if program is None:
        pytest.skip(f"{PROGRAM} is not installed")
    with Chromium(program, tmp_path_factory.mktemp("profile")) as browser:
        browser.open(page.as_uri(), width=1280)
        browser.wait_for("document.documentElement.dataset.figures === 'drawn'")
        yield browser


def _line() -> Landscape:
    at = np.linspace(-1, 1, 5)
    return Landscape("round 4", ("random 1",), (at,), at**2 + 1, 1 - at**2 / 2, {"round 4": (0.0,)})


def _plane() -> Landscape:
    at = np.linspace(-1, 1, 5)
    loss = 1 + at[:, None] ** 2 + 2 * at**2
    marks = {"round 4": (0.0, 0.0), "client 3": (1.0, 0.5)}
    return Landscape("round 4", ("first", "second"), (at, at), loss, loss / 10, marks)


def _features() -> dict[str, np.ndarray]:
    models = np.arange(2)
    return {
        "site": np.array(["1 (8)", "2 (4)"]),
        "round": np.array([2, 4]),
        "client": np.array([-1, -1]),
        "activation": 1.0 + models[:, None] + np.arange(2),
        "spectrum": np.array([[3.0, 1.0], [2.0, 1.0]]),
        "effective_rank": 1.5 + models,
        "feature_norm": 2.0 + models,
        "feature_norm_std": 0.1 + models,
        "accuracy": 0.5 + models / 4,
    }


@pytest.mark.slow
def test_a_browser_draws_every_figure_at_both_widths_and_asks_no_network(browser, page):
    drawn = "[...document.querySelectorAll('.plot')].map(p => p.querySelector('.main-svg') ? 1 : 0)"
    plots = browser.value(drawn)
    assert len(plots) == page.read_text(encoding="utf-8").count('<figure class="') > 15
    assert all(plots)
    for width in (1280, 400):
        browser.resize(width)
        browser.wait_for(f"document.documentElement.scrollWidth <= {width}")  # else it scrolls
    assert browser.problems == []
    assert {url.partition(":")[0] for url in browser.requests} <= {"file", "data", "blob"}


@pytest.mark.slow
def test_the_switch_changes_page_and_figures_and_keys_reach_everything(browser):
    browser.resize(1280)
    browser.prefer(dark=True)
    browser.wait_for("document.documentElement.dataset.theme === 'dark'")
    ground = "getComputedStyle(document.body).backgroundColor"
    line = "document.querySelector('.plot').layout.font.color"
    dark = (browser.value(ground), browser.value(line))
    browser.press("Tab")
    assert browser.value("document.activeElement.className") == "skip"
    browser.press("Tab")
    assert browser.value("document.activeElement.id") == "theme"
    browser.press("Enter")
    assert browser.value("document.documentElement.dataset.theme") == "light"
    light = (browser.value(ground), browser.value(line))
    assert dark == ("rgb(21, 24, 28)", "#e8e8e8") and light == ("rgb(255, 255, 255)", "#222222")
    browser.press("Tab")
    assert browser.value("document.activeElement.hash") == "#runs"


@pytest.mark.slow
def test_a_click_on_a_name_hides_its_lines_and_an_arrow_turns_a_landscape(browser):
    browser.value("document.querySelector('.legend button[data-group=\"1\"]').click()")
    hidden = "document.querySelector('.plot').data.filter(t => t.visible === false).length"
    shown = "document.querySelector('.plot').data.filter(t => t.legendgroup === '1').length"
    assert browser.value(hidden) == browser.value(shown) > 0
    eye = "document.querySelector('.solid .plot').layout.scene.camera.eye.x"
    before = browser.value(eye)
    browser.value("document.querySelector('.solid .plot').focus()")
    browser.press("ArrowLeft")
    assert browser.value(eye) != before


class Ids(HTMLParser):
    """The anchors of a page, the links to them, and every reference to something outside."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.outside: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id":
                self.ids.add(value or "")
            if name in ("href", "src"):
                (self.links.add if value.startswith("#") else self.outside.append)(value.strip("#"))


def test_sections_are_linked_and_nothing_refers_to_outside(page):
    found = Ids(page.read_text(encoding="utf-8"))
    assert found.links <= found.ids
    assert {"runs", "accuracy", "clients", "classes", "partition", "costs"} <= found.links
    assert {"time", "landscape", "features", "provenance", "missing"} <= found.links
    assert found.outside == []


def test_the_options_that_differ_and_no_others_are_in_the_table(page):
    text = page.read_text(encoding="utf-8")
    caption = "The options in which the methods differ"
    table = text[text.index(caption) :].partition("</table>")[0]
    assert re.findall(r'<th scope="row">(.*?)</th>', table) == ["local.loss"]
    assert "man(zeta=0.3" in table


def test_figures_have_the_numbers_of_the_runs_and_one_colour_for_a_group(groups, page):
    text = page.read_text(encoding="utf-8")
    found = re.findall(r'<script type="application/json">(.*?)</script>', text)
    accuracy = json.loads(found[0])["data"]
    means = [trace for trace in accuracy if trace.get("line", {}).get("width") == 2]
    for trace, of_group in zip(means, groups, strict=True):
        known = [100 * run.rounds["test_accuracy"] for run in of_group.runs]
        assert trace["y"] == pytest.approx(np.mean(known, axis=0), rel=1e-4)
    assert [trace["line"]["color"] for trace in means] == ["#0072B2", "#D55E00"]


def test_a_group_that_lacks_a_quantity_leaves_the_colours_of_others(groups):
    other = Trace("second", np.array([1.0, 2.0]), np.ones((1, 2)))
    made = figures.of_groups(Panel("x", "y", [other]), ["first", "second"])
    [drawn] = made["data"]
    assert drawn["legendgroup"] == "1" and drawn["line"]["color"] == "#D55E00"


def test_a_long_line_keeps_its_ends_and_extremes():
    values = np.sin(np.arange(5000) / 300)
    values[1234] = 9.0
    values[4321] = -9.0
    trace = Trace("long", np.arange(5000.0), np.stack([values, values + 1]))
    made = figures.of_groups(Panel("x", "y", [trace]), ["long"])
    band, *runs, mean = made["data"]
    assert len(mean["x"]) <= figures.MOST_POINTS + 2
    assert {0, 1234, 4321, 4999} <= set(mean["x"])
    assert band["x"] == band["x"][: len(band["x"]) // 2] * 2 or band["x"][0] == band["x"][-1]
    assert len(mean["x"]) == len(mean["y"]) == len(mean["text"])
    assert {1234, 4321} <= set(runs[0]["x"])


def test_landscapes_and_features_are_read_as_they_were_kept(copies):
    findings = Findings.open(copies / "avg-1")
    [[line], [plane]] = landscapes_of(findings)
    assert line.axes == ("random 1",) and line.marks == _line().marks
    assert np.array_equal(plane.loss, _plane().loss) and plane.marks == _plane().marks
    assert features_of(findings)["spectrum"].tolist() == _features()["spectrum"].tolist()
    run = Run.open(copies / "avg-1")
    keep_landscapes(run, 2, [[_line()], [_plane()]], {"samples": 20})
    assert len(Findings.open(run).under("landscape")) == 2, "replaced, not added"


def test_what_is_missing_comes_with_a_command_for_each_run_that_lacks_it(folder, tmp_path):
    for name in ("avg-1", "man-1"):  # without what other tests have measured of them
        shutil.copytree(folder / name, tmp_path / name, ignore=shutil.ignore_patterns("hessian.h5"))

    def opened(name: str) -> Run:
        return Run.open(tmp_path / name)

    compared = Compared.of(group([opened("avg-1"), opened("man-1")]))
    commands = {lack.what.partition(",")[0]: command_of(lack) for lack in lacks(compared)}
    assert 'mpifl hessian "$run"' in commands["Curvature and spectra."]
    assert str(opened("man-1").path) in commands["Curvature and spectra."]
    both = " \\\n    ".join(str(opened(name).path) for name in ("avg-1", "man-1"))
    assert commands["Features and activations."] == f"mpifl features --what features {both}"
    alone = Compared.of(group([opened("avg-1")]))
    commands = {lack.what.partition(":")[0]: command_of(lack) for lack in lacks(alone)}
    path = opened("avg-1").path
    again = f"mpirun -n 3 mpifl run {path} holdout.ratio=4 holdout.clients=0.2 --out {path}-unseen"
    assert commands["The participation gap"] == again
    places = [command.split()[-1] for command in commands.values() if " --out " in command]
    assert len(set(places)) == len(places) > 2


def test_a_hostile_name_stays_text(opened):
    label = "</script><img src=x onerror=alert(1)>\x1b[31m"
    text = report(group([opened("avg-1")], labels=[label]))
    assert "<img src=x" not in text and "\x1b" not in text
    assert Ids(text).outside == []


def test_a_folder_of_runs_is_its_runs_and_mistakes_are_one_line(command, copies, tmp_path):
    code, _, told = command("report", str(copies), "-o", str(tmp_path / "all.html"))
    assert code == 0 and "ce + man: 2 runs, seeds 1, 2" in told
    assert (tmp_path / "all.html").stat().st_size < 10e6
    for words, mistake in (
        (["avg-1", "-o", "report.pdf"], "expected a name ending in .html; got .pdf"),
        (["avg-1", "--target", "2"], "target: expected an accuracy above 0 and up to 1; got 2.0"),
        (["nowhere"], "nowhere"),
        ([], "expected at least one run"),
    ):
        code, _, told = command("report", *words)
        assert code == 2 and mistake in told.splitlines()[-1]


def test_of_many_ranks_the_server_and_the_busiest_are_drawn():
    train = np.arange(100.0)[None] + np.array([[0.0], [2.0]])
    train[:, 0] = 0
    train[1, 50] = np.nan
    ranks, seconds = rank_seconds(dict.fromkeys(NAMES, train))
    assert ranks == [0, *range(61, 100)]
    assert seconds[0] == [0.0] * 5 and seconds[1] == [62.0] * 5
    ranks, seconds = rank_seconds(dict.fromkeys(NAMES, train[:, :52]))
    assert ranks[-2:] == [50, 51] and seconds[-2] == [50.0] * 5, "the mean of the known rounds"


def test_a_run_of_before_messages_were_told_apart_has_its_four_kinds():
    older = dict.fromkeys(("train", "test", "wait", "write"), np.ones((2, 3)))
    assert rank_seconds(older) == ([0, 1, 2], [[1.0] * 4] * 3)
    resumed = older | {"communicate": np.full((2, 3), np.nan)}
    assert rank_seconds(resumed) == ([0, 1, 2], [[1.0] * 4] * 3)
    assert rank_seconds(older | {"communicate": np.full((2, 3), 2.0)})[1][0] == [1, 1, 1, 2, 1]


@pytest.mark.parametrize(
    ("messages", "caption"),
    [
        ([np.nan, np.nan], "the version that wrote this run did not tell"),
        ([np.nan, 2.0], "In the rounds that an older version wrote, waiting has the messages too"),
        ([2.0, 2.0], "all others wait for.<"),
    ],
)
def test_a_chart_of_ranks_says_where_waiting_has_the_messages_too(messages, caption):
    known = dict.fromkeys(("train", "test", "wait", "write"), np.ones((2, 3)))
    timeline = known | {"communicate": np.repeat(np.array(messages)[:, None], 3, axis=1)}
    assert caption in _of_ranks(timeline, "a run")


def test_rows_of_a_wide_table_are_lists_on_paper():
    heads = [f"local.option{number}" for number in range(9)]
    cells = ["method", "a<b", NOTHING, *"345678"]
    wide = words_table(heads, [cells], "options")
    assert wide.startswith('<div class="words wide">')
    assert '<td data-head="local.option1">a&lt;b</td>' in wide
    assert f'<td data-head="local.option2" class="nothing">{NOTHING}</td>' in wide
    narrow = words_table(heads[:8], [cells[:8]], "options")
    assert narrow.startswith('<div class="words">')
    assert "data-head" not in narrow


def test_domains_have_a_table_and_their_own_names(groups):
    evaluations = {
        "round": np.array([2, 4]),
        "names_by_domain": np.array(["photo", "<sketch>"], object),
        "test_samples_by_domain": np.array([10, 4]),
        "test_right_by_domain": np.array([[1, 1], [5, 3]]),
    }
    runs = [replace(run, evaluations=evaluations) for run in groups[0].runs]
    section = domains(Compared.of(group(runs)))
    cells = re.findall(r"<t[hd](?: [^>]*)?>(.*?)</t[hd]>", section.html())
    assert cells == ["method", "photo", "&lt;sketch&gt;", "small", "50.00 ± 0.00", "75.00 ± 0.00"]


@pytest.mark.parametrize("name", ["first", "bare"])
def test_a_run_of_one_round_and_one_without_clients_models_have_a_page(opened, name):
    found = Ids(report(group([opened(name)])))
    assert {"accuracy", "provenance", "missing"} <= found.links <= found.ids


def test_numbers_that_are_not_finite_are_gaps():
    drawn = {"data": [{"type": "surface", "z": [[1.0, np.inf]]}], "layout": {"margin": {}}}
    assert '"z":[[1.0,null]]' in chart(drawn, "title", "caption")


def test_what_was_kept_in_part_is_told_and_left_out(folder, tmp_path, command):
    shutil.copytree(folder / "avg-1", tmp_path / "x")
    run = Run.open(tmp_path / "x")
    keep(run, "landscape", {}, {"round_000004/models/000_000": Finding({"loss": np.ones(3)})})
    keep_features(run, _features() | {"accuracy": np.ones(1)}, {})
    code, _, told = command("report", str(tmp_path / "x"))
    assert code == 0
    assert "expected landscapes as `mpifl landscape` keeps them; got 'axes'" in told
    assert "expected features as `mpifl features` keeps them; got 1 values of accuracy" in told


def test_a_damaged_hessian_is_told_and_left_out(folder, tmp_path, command):
    shutil.copytree(folder / "avg-1", tmp_path / "x")
    (tmp_path / "x" / "hessian.h5").write_bytes(b"\x89HDF\r\n\x1a\nno more")
    code, _, told = command("report", str(tmp_path / "x"))
    assert code == 0 and "the table leaves out its curvature" in told
