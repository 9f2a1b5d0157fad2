"""The page in a real Chromium: sliders, keyboard, both widths, light and dark, what it may load."""

import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from erde_cli.core.figures import macs, milliseconds, percent, theta
from erde_cli.core.report.document import Explorer, ReportDocument
from erde_cli.core.report.page.explorer_figures import figures_under
from erde_cli.core.report.page.page import html

from ....browser import MODES, NARROW, Opened, opened, skip_without, started_browser
from . import documents

CENTRE = """(selector) => {
  const box = document.querySelector(selector).getBoundingClientRect();
  return [box.x + box.width / 2, box.y + box.height / 2];
}"""
REFUSE = "() => { navigator.clipboard.writeText = () => Promise.reject(new Error('no')) }"
LAST = "addEventListener('pointermove', (e) => { window.last = e }, { capture: true })"
UNMOVED = """(svg, kind) => {
  const { clientX, clientY } = window.last;
  svg.dispatchEvent(new PointerEvent(kind, { clientX, clientY }));
}"""
EXPLORER = documents.explorer(images=320)  # shares with ties, such as 0.625 %


def run_document() -> ReportDocument:
    document = documents.run_document()
    return replace(document, explorer=EXPLORER, training=document.training[1:])


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with started_browser() as found:
        yield found


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Callable[[ReportDocument], Path]:
    """A document as a file."""

    def write(document: ReportDocument) -> Path:
        path = tmp_path_factory.mktemp("page") / "a report.html"
        path.write_text(html(document, images=True), encoding="utf-8")
        return path

    return write


@pytest.fixture
def run(browser: Any, file: Callable[[ReportDocument], Path]) -> Iterator[Opened]:
    with opened(browser, file(run_document())) as shown:
        yield shown
        assert shown.faults == []


def thresholds(shown: Opened) -> tuple[float, ...]:
    """Those of the command, as the command line reads them."""
    words = shlex.split(shown.text("#command"))[-1].split(",")
    return tuple(float({"never": "0", "always": "inf"}.get(word, word)) for word in words)


def assert_figures(shown: Opened, found: Explorer = EXPLORER) -> None:
    """All figures on the page are those of numpy at the thresholds of the command."""
    chosen = thresholds(shown)
    expected = figures_under(found, chosen)
    exits = len(found.costs)
    assert shown.text("#now-accuracy") == f"{percent(expected.accuracy)} %"
    assert shown.text("#now-macs") == macs(expected.macs)
    assert shown.text("#now-saved") == f"{percent(1 - expected.macs / found.costs[-1], 1)} %"
    if expected.milliseconds is not None:
        assert shown.text("#now-time") == milliseconds(expected.milliseconds)
    rates = [shown.text(f"#rate-{i}") for i in range(exits)]
    assert rates == [f"{percent(rate, 1)} %" for rate in expected.rates]
    assert [shown.text(f"#shown-{i}") for i in range(exits - 1)] == list(map(theta, chosen))
    widths = shown.page.eval_on_selector_all(
        "#rate-bar rect", "all => all.map(r => +r.getAttribute('width'))"
    )
    assert widths == pytest.approx([1000 * rate for rate in expected.rates])


@pytest.mark.parametrize(
    "make",
    [run_document, documents.evil_document, documents.comparison_document, documents.bare_document],
)
def test_nothing_is_loaded_and_all_can_read_it(
    browser: Any, file: Callable[[ReportDocument], Path], make: Callable[[], ReportDocument]
) -> None:
    """Both widths, light and dark: no fault, no sideways scrolling, and axe finds nothing."""
    with opened(browser, file(make())) as shown:
        colours = set()
        for size, scheme in MODES:
            shown.page.set_viewport_size(size)
            shown.page.emulate_media(color_scheme=scheme)
            assert shown.overflow() <= 0, (size, scheme)
            shown.unfold()
            assert shown.overflow() <= 0, (size, scheme, "unfolded")
            if make is not documents.evil_document:
                assert shown.violations() == [], (size, scheme)
            colours.add(shown.page.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert len(colours) == 2
        assert shown.faults == []


def test_sliders_start_at_the_calibrated_thresholds(run: Opened) -> None:
    assert thresholds(run) == EXPLORER.thresholds
    assert_figures(run)
    assert run.text("#state") == "Calibrated thresholds. No guarantee covers them."
    assert run.text("#shown-all") == "differ"


def test_sliders_follow_the_keyboard_and_go_back(run: Opened) -> None:
    assert EXPLORER.thresholds is not None
    seen = set()
    for slider, keys in {
        "#theta-0": ["ArrowRight", "PageUp", "ArrowUp", "End", "ArrowLeft"],
        "#theta-1": ["Home", "ArrowRight", "PageUp", "PageUp", "PageDown"],
        "#theta-all": ["PageDown", "ArrowLeft", "PageUp", "End", "PageDown", "Home"],
    }.items():
        before = thresholds(run)
        run.page.focus(slider)
        for key in keys:
            run.page.keyboard.press(key)
            assert_figures(run)
            seen.add(thresholds(run))
        moved = [one != other for one, other in zip(before, thresholds(run), strict=True)]
        assert moved == {"#theta-0": [True, False], "#theta-1": [False, True]}.get(
            slider, [True] * 2
        )
        assert run.text("#state").startswith("Uncertified: chosen by eye")
    assert len(seen) > 12
    assert thresholds(run) == (0.0, 0.0)
    assert run.text("#shown-all") == "never"
    run.page.focus("#reset")
    run.page.keyboard.press("Enter")
    assert thresholds(run) == EXPLORER.thresholds
    assert_figures(run)
    assert "Uncertified" not in run.text("#state")


def test_the_mark_of_the_sliders_is_at_their_figures(run: Opened) -> None:
    """It starts on the chart's scale, and lies on the mark of the last exit at never."""
    run.page.focus("#theta-all")
    run.page.keyboard.press("Home")
    star = np.array(run.page.evaluate(CENTRE, "#now-mark"))
    marks = run.page.eval_on_selector(
        "svg[data-table=explorer-table] .mark", "p => p.getAttribute('d')"
    )
    last = [float(one) for one in re.findall(r"M([\d.]+),([\d.]+)", marks)[-1]]
    box = run.page.locator("svg[data-table=explorer-table]").bounding_box()
    scale = box["width"] / 344
    assert star == pytest.approx([box["x"] + scale * last[0], box["y"] + scale * last[1]], abs=2)


def test_copy_takes_the_command_or_selects_it(run: Opened) -> None:
    run.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    run.page.click("#copy")
    run.page.wait_for_function("document.getElementById('copied').textContent !== ''")
    command = run.text("#command")
    assert run.text("#copied") == "Copied."
    assert run.page.evaluate("navigator.clipboard.readText()") == command
    assert shlex.split(command)[:4] == [
        "erde",
        "calibrate",
        "runs/my digits/student",
        "--threshold",
    ]
    run.page.evaluate(REFUSE)
    run.page.click("#copy")
    run.page.wait_for_function("document.getElementById('copied').textContent.startsWith('Sel')")
    assert run.page.evaluate("getSelection().toString()") == command


def test_points_tell_their_figures_to_pointer_and_keyboard(run: Opened) -> None:
    chart = run.page.locator("svg.wide[data-table=trade-off-table]")
    assert run.page.locator("#tip").is_hidden()
    run.page.focus("#theme")
    while not chart.evaluate("e => e === document.activeElement"):
        run.page.keyboard.press("Tab")
    first = run.text("#tip").splitlines()
    table = run.page.locator("#trade-off-table")
    row = table.locator("tbody tr").first.locator("th, td").all_text_contents()
    assert first == [row[0], f"MACs: {row[1]}", f"accuracy %: {row[2]}", f"thresholds: {row[3]}"]
    run.page.keyboard.press("ArrowRight")
    assert run.text("#tip").splitlines() != first
    run.page.keyboard.press("Escape")
    assert run.page.locator("#tip").is_hidden()
    path = chart.locator(".mark").first.get_attribute("d")
    x, y = map(float, re.findall(r"M([\d.]+),([\d.]+)", path)[2])
    run.page.evaluate(LAST)
    chart.hover(position={"x": x, "y": y})
    assert run.text("#tip").splitlines()[0] == "teacher, exit 3 of 3 alone"
    training = run.page.locator("svg[data-table=training-0-1-table]")
    training.focus()
    run.page.keyboard.press("ArrowDown")
    run.page.keyboard.press("End")
    for svg, kind in ((chart, "pointerleave"), (training, "pointermove")):  # as after a scroll
        svg.evaluate(UNMOVED, kind)
    name, value, epoch = run.text("#tip").splitlines()
    cells = run.page.locator("#training-0-1-table tbody tr").last.locator("th, td")
    assert (name, epoch) == ("exit 2", "epoch 60")
    assert value == cells.all_text_contents()[2]


def test_the_keyboard_reaches_everything_in_order(run: Opened) -> None:
    run.unfold()
    every = """[...document.querySelectorAll('a, button, input, summary, [tabindex]')]
      .filter((e) => e.checkVisibility()).length"""
    count = run.page.evaluate(every)
    reached = "(window.reached ??= new Set()).add(document.activeElement).size"
    for _ in range(count):
        run.page.keyboard.press("Tab")
        run.page.evaluate(reached)
    assert run.page.evaluate("window.reached.size") == count


def test_columns_sort_and_the_theme_changes(run: Opened) -> None:
    button = run.page.locator("#classes-table th button").nth(2)
    cells = run.page.locator("#classes-table tbody td:nth-child(3)")
    button.click()
    down = [float(one) for one in cells.all_text_contents()]
    assert down == sorted(down, reverse=True)
    button.click()
    assert [float(one) for one in cells.all_text_contents()] == sorted(down)
    colour = "getComputedStyle(document.body).backgroundColor"
    light = run.page.evaluate(colour)
    run.page.click("#theme")
    assert run.page.evaluate(colour) != light
    assert run.text("#theme") == "Light"


def test_the_sliders_of_20_000_images_answer_at_once(
    browser: Any, file: Callable[[ReportDocument], Path]
) -> None:
    document = documents.large_document()
    assert document.explorer is not None
    with opened(browser, file(document), viewport=NARROW) as shown:
        assert_figures(shown, document.explorer)
        shown.page.focus("#theta-2")
        shown.page.keyboard.press("PageUp")
        assert_figures(shown, document.explorer)
        assert shown.overflow() <= 0
        assert shown.faults == []


def test_thresholds_at_the_start_can_be_never_always_a_score_or_none(
    browser: Any, file: Callable[[ReportDocument], Path]
) -> None:
    """Scores that equal θ do not leave."""
    scores = (float(EXPLORER.scores[5, 0]), float(EXPLORER.scores[9, 1]))
    for given in ((np.inf, 0.0), scores, None):
        found = replace(EXPLORER, thresholds=given, milliseconds=None)
        with opened(browser, file(replace(documents.bare_document(), explorer=found))) as shown:
            assert thresholds(shown) == (given or (0.0, 0.0))
            assert_figures(shown, found)
            assert shown.faults == []


def test_without_script_the_figures_are_there(
    browser: Any, file: Callable[[ReportDocument], Path]
) -> None:
    with opened(browser, file(run_document()), java_script_enabled=False) as shown:
        assert_figures(shown)
        assert "JavaScript" in shown.text("noscript")


def test_a_missing_browser_is_a_failure_where_ci_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="chromium is not installed"):
        skip_without("chromium")
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception, match="apt-get install chromium"):
        skip_without("chromium")
