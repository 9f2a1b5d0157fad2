"""The page as text: its policy, what it escapes, its figures and its size."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from erde_cli.core.figures import macs, percent
from erde_cli.core.report.card import markdown
from erde_cli.core.report.collect.trade_off import written
from erde_cli.core.report.document import ClassesSection, Fact, ReportDocument, Table, Thumbnail
from erde_cli.core.report.page.explorer_figures import figures_under
from erde_cli.core.report.page.images_part import images_part
from erde_cli.core.report.page.page import html

from . import documents

PACKAGE = Path(html.__code__.co_filename).parent
DOCUMENTS = {
    "run": documents.run_document,
    "evil": documents.evil_document,
    "comparison": documents.comparison_document,
    "bare": documents.bare_document,
}


class Page(HTMLParser):
    """Elements with their attributes and their own text; every element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[int, str] = {}
        self._open: list[int] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), attrs
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img", "input"):
            self._open.append(len(self.found) - 1)

    def handle_endtag(self, tag: str) -> None:
        assert self.found[self._open.pop()][0] == tag

    def handle_data(self, data: str) -> None:
        if self._open:
            place = self._open[-1]
            self.texts[place] = self.texts.get(place, "") + data

    def all(self, tag: str) -> list[tuple[dict[str, str | None], str]]:
        return [
            (attributes, self.texts.get(place, ""))
            for place, (name, attributes) in enumerate(self.found)
            if name == tag
        ]

    def by_id(self, name: str) -> str:
        (place,) = (i for i, (_, found) in enumerate(self.found) if found.get("id") == name)
        return self.texts.get(place, "")


@pytest.fixture(scope="module")
def pages() -> dict[str, Page]:
    return {name: Page(html(make(), images=True)) for name, make in DOCUMENTS.items()}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_policy_allows_the_two_texts_of_the_page_and_nothing_else(
    pages: dict[str, Page], name: str
) -> None:
    page = pages[name]
    (policy,) = (
        found["content"] for found, _ in page.all("meta")
        if found.get("http-equiv") == "Content-Security-Policy"
    )  # fmt: skip
    ((_, style),) = page.all("style")
    script = page.all("script")[-1][1]
    hashes = [
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for text in (style, script)
    ]
    assert policy == (
        f"default-src 'none'; img-src data:; style-src 'sha256-{hashes[0]}'; "
        f"script-src 'sha256-{hashes[1]}'; base-uri 'none'; form-action 'none'"
    )
    for tag, found in page.found:
        assert "style" not in found
        assert not any(key.startswith("on") for key in found)
        links = {key: found[key] for key in ("src", "href", "action") if key in found}
        assert all(str(one).startswith(("#", "data:")) for one in links.values()), (tag, links)


def test_no_text_of_a_user_becomes_markup(pages: dict[str, Page]) -> None:
    text = html(documents.evil_document(), images=True)
    page = pages["evil"]
    assert documents.EVIL not in text
    assert not [found for found, _ in page.all("img") if "onerror" in found]
    assert [kind for kind, _ in page.all("b")] == [kind for kind, _ in pages["run"].all("b")]
    assert len(page.all("script")) == len(pages["run"].all("script")) == 2
    text.encode()  # no halves of surrogates
    assert "\0" not in text
    assert "\u202e" not in text
    assert page.all("title")[0][1] == f"{documents.EVIL} & <b>title</b>"
    stored = json.loads(page.by_id("explorer-data"))
    assert stored["command"].startswith(f"erde calibrate '{documents.EVIL}'")


def test_it_is_marked_as_a_report_near_its_beginning() -> None:
    text = html(documents.bare_document(), images=True)
    assert '<meta name="generator" content="erde report">' in text[:1000]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_ids_are_unique_and_every_chart_has_its_table(pages: dict[str, Page], name: str) -> None:
    found = [attributes for _, attributes in pages[name].found]
    ids = [one["id"] for one in found if "id" in one]
    assert len(ids) == len(set(ids))
    tables = {one["id"] for tag, one in pages[name].found if tag == "table" and "id" in one}
    drawn = {one["data-table"] for one in found if "data-table" in one}
    assert drawn
    assert drawn <= tables
    referred = [one[key] for one in found for key in ("for", "data-table") if key in one]
    assert set(referred) <= set(ids)


def test_the_sliders_start_at_the_calibrated_thresholds_with_their_figures(
    pages: dict[str, Page],
) -> None:
    page, given = pages["run"], documents.explorer()
    assert given.thresholds is not None
    figures = figures_under(given, given.thresholds)
    assert page.by_id("now-accuracy") == f"{percent(figures.accuracy)} %"
    assert page.by_id("now-macs") == macs(figures.macs)
    rates = [page.by_id(f"rate-{i}") for i in range(3)]
    assert rates == [f"{percent(rate, 1)} %" for rate in figures.rates]
    words = page.by_id("command").rpartition(" ")[2].split(",")
    assert tuple(map(float, words)) == given.thresholds


def test_the_embedded_scores_and_answers_are_those_given(pages: dict[str, Page]) -> None:
    given, stored = documents.explorer(), json.loads(pages["run"].by_id("explorer-data"))
    scores = np.frombuffer(base64.b64decode(stored["scores"]), "<f4").reshape(-1, 3)
    assert np.array_equal(scores, given.scores)
    bits = np.frombuffer(base64.b64decode(stored["correct"]), np.uint8)
    correct = np.unpackbits(bits, count=scores.size, bitorder="little").reshape(-1, 3)
    assert np.array_equal(correct.astype(bool), given.correct)


def test_an_exit_takes_what_is_strictly_below_its_threshold() -> None:
    given = replace(
        documents.explorer(3, 2),
        scores=np.array([[0.1, 9], [0.5, 9], [0.7, 9]], np.float32),
        correct=np.array([[1, 0], [1, 0], [0, 1]], bool),
        costs=(1.0, 4.0),
    )
    at_half = figures_under(given, (0.5,))
    assert at_half.rates == (1 / 3, 2 / 3)
    assert (at_half.accuracy, at_half.macs) == (2 / 3, 3.0)
    tenth = float(np.float32(0.1))
    assert figures_under(given, (tenth,)).rates[0] == 0
    assert figures_under(given, (np.nextafter(tenth, 1),)).rates[0] == 1 / 3  # not as float32
    assert figures_under(given, (np.inf,)).rates == (1.0, 0.0)


def test_images_can_be_left_out() -> None:
    document = documents.run_document()
    assert html(document, images=True).count("<img ") == sum(
        len(one.surest_right) + len(one.surest_wrong) + len(one.passed_on)
        for one in document.images
    )
    text = html(document, images=False)
    assert "<img" not in text
    assert "Images were left out." in text


def test_only_pictures_become_data_of_an_image() -> None:
    for kind in ("image/svg+xml", "image/webp"):
        odd = Thumbnail(b"<svg/>", kind, "a", "b", 0.5)
        one = replace(documents.thumbnails("ab")[0], surest_wrong=(odd,))
        with pytest.raises(ValueError, match=re.escape(kind)):
            images_part((one,), 3)


def test_a_threshold_is_shown_in_one_way() -> None:
    """Sliders, trade-off and headline round alike; the command has all digits."""
    chosen = (3.1234567e-5, 0.25)
    given = replace(documents.explorer(), thresholds=chosen)
    text = "3.12e-5 0.2500"
    assert written(chosen) == text
    page = Page(html(replace(documents.run_document(), explorer=given), images=False))
    assert " ".join(page.by_id(f"shown-{i}") for i in range(2)) == text
    assert page.by_id("command").endswith("--threshold 3.1234567e-05,0.25")


def test_page_and_card_show_the_same_table_of_classes() -> None:
    names, counts = ("a", "b", "none"), [[700.0, 300.0, 0], [100, 900, 0], [0, 0, 0]]
    shares = np.array([[0.25, 0.75], [1, 0], [0, 0]])
    confusion = np.array([np.eye(3) * [1000, 1000, 0], counts])
    section = ClassesSection(names, confusion, np.array(counts), shares)
    document = replace(documents.bare_document(), classes=section)
    expected = [
        ["class", "images", "exit 1: right %", "exit 2: right %", "with θ: right %", "leave at 1 %",
         "leave at 2 %"],
        ["a", "1,000", "100.0", "70.0", "70.0", "25.0", "75.0"],
        ["b", "1,000", "100.0", "90.0", "90.0", "100.0", "0.0"],
        ["none", "0", *"-----"],
    ]  # fmt: skip
    card = markdown(document)
    for cells in expected:
        assert f"| {' | '.join(cells)} |" in card
    drawn = html(document, images=False).partition('id="classes-table"')[2].partition("</table>")[0]
    body = re.sub("<[^>]+>", "|", drawn.partition("<tbody>")[2])
    found = [one for one in body.split("|") if one]
    assert found == [cell for cells in expected[1:] for cell in cells]


def test_what_is_missing_leaves_no_empty_section() -> None:
    page = Page(html(documents.bare_document(), images=True))
    assert [text for _, text in page.all("h2")] == ["Trade-off"]
    assert len(page.all("script")) == 1
    everything = ReportDocument("run", "nothing", ())
    assert Page(html(everything, images=True)).all("h2") == []


@pytest.mark.parametrize(
    ("make", "limit"),
    [
        (documents.run_document, 700_000),
        (documents.large_document, 2_000_000),
        (lambda: documents.large_document(1_000), 2_000_000),
    ],
)
def test_the_file_is_small(make: object, limit: int) -> None:
    assert callable(make)
    assert len(html(make(), images=True).encode()) <= limit


def test_the_script_is_short_and_loads_nothing() -> None:
    script = (PACKAGE / "page.js").read_text()
    assert len(script.splitlines()) <= 300
    for word in (
        "fetch(",
        "import ",
        "import(",
        "innerHTML",
        "eval(",
        "XMLHttp",
        "http:",
        "https:",
    ):
        assert word not in script
    assert "url(" not in (PACKAGE / "page.css").read_text()


def test_the_headline_is_first_and_a_table_of_the_data_last() -> None:
    document = documents.run_document()
    facts = (Fact("MACs", "622.41 k (67 % fewer)"), Fact("thresholds", "0.5 never"))
    long = Fact("difference", "erde - kd: +0.43 points of mean accuracy, no difference shown")
    data = Table("Data by class", ("class", "train"), (("zero", "107"),))
    document = replace(document, headline=(*facts, long), tables=(*document.tables, data))
    text = html(document, images=True)
    assert "<b>622.41 k</b><span>(67 % fewer)</span>" in text
    assert '<span class="words">0.5 never</span>' in text
    assert f'<span class="words sentence">{long.value}</span>' in text
    order = ["622.41 k", 'id="trade-off"', "Exits, on 359", 'id="sliders"', 'id="images"',
             'id="classes"', 'id="training"', 'id="again"', "Data by class"]  # fmt: skip
    places = [text.index(one) for one in order]
    assert places == sorted(places)
    compared = html(replace(document, kind="comparison"), images=True)
    assert compared.index("Data by class") < compared.index('id="sliders"')


def test_only_the_first_of_many_trainings_is_unfolded() -> None:
    document = documents.run_document()
    many = replace(document, training=tuple(documents.training(role, 2) for role in "abc"))
    for given, opened in ((document, 2), (many, 1)):
        text = html(given, images=True).partition('id="training"')[2]
        assert text.count("<details open><summary><h3>Training of") == opened


def test_classes_that_are_many_become_a_map_and_pairs() -> None:
    few, many = (documents.classes([f"n{i}" for i in range(n)]) for n in (20, 21))
    document = documents.bare_document()
    assert html(replace(document, classes=few), images=True).count('class="matrix"') == 4
    page = Page(html(replace(document, classes=many), images=True))
    maps = [found for found, _ in page.all("svg") if found.get("class") == "map"]
    assert len(maps) == 4
    assert sum(text == "% of the class" for _, text in page.all("th")) == 4
