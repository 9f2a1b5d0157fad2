"""The picture of a comparison: what is drawn, and that the same is drawn again."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from erde_cli.core.comparison.plot import (
    ComparisonPicture,
    Drawn,
    _comparison,
    _style,
    band,
    draw_comparison,
)
from erde_cli.core.events import Observer
from erde_cli.core.storage.pictures import Point


def drawn(label: str, scale: float = 1.0) -> Drawn:
    first = np.array([0.3, 0.6, 1.0]) * 1e6 * scale, np.array([0.5, 0.6, 0.7])
    second = np.array([0.3, 0.5, 1.0]) * 1e6 * scale, np.array([0.4, 0.7, 0.8])
    exits = [Point(3e5 * scale, 0.45), Point(1e6 * scale, 0.75)]
    return Drawn(label, [first, second], exits, one_theta=[second, second])


def test_a_band_is_where_all_seeds_reach() -> None:
    macs, shares = band([
        (np.array([1.0, 3.0]), np.array([0.0, 1.0])), (np.array([2.0, 3.0]), np.array([0.5, 0.7])),
    ])  # fmt: skip
    assert (macs[0], macs[-1]) == (2, 3)
    assert shares[:, 0].tolist() == [0.5, 0.5]
    assert shares[:, -1].tolist() == pytest.approx([1.0, 0.7])


@pytest.mark.parametrize("teacher", [True, False])
def test_every_method_and_the_teacher_are_named(tmp_path: Path, teacher: bool) -> None:
    path = tmp_path / "picture.svg"
    far = drawn("teacher", 20) if teacher else None
    draw_comparison(
        path, ComparisonPicture("a $title", [drawn("erde"), drawn("kd")], far), Observer()
    )
    text = path.read_text()
    for label in ("erde", "kd", "marks: each exit alone", "a $title"):
        assert f"{label} -->" in text
    assert ("<!-- teacher, last exit marked -->" in text) == teacher


def test_the_same_picture_is_the_same_bytes(tmp_path: Path) -> None:
    picture = ComparisonPicture("title", [drawn("erde")], drawn("teacher", 20))
    for kind in ("png", "svg"):
        first, second = tmp_path / f"1.{kind}", tmp_path / f"2.{kind}"
        draw_comparison(first, picture, Observer())
        draw_comparison(second, picture, Observer())
        assert first.read_bytes() == second.read_bytes()
    with Image.open(tmp_path / "1.png") as image:
        assert min(image.size) > 500


def test_a_variant_is_a_line_alone_and_rivals_are_marked() -> None:
    one = drawn("erde: weights entropy 0")
    variant = Drawn(one.label, one.seeds, one.exits, reference=False, one_theta=one.one_theta)
    figure = _comparison(ComparisonPicture("t", [variant, drawn("erde")], None, [Point(5e5, 0.6)]))
    axes, _ = figure.axes
    marks = [str(marks.get_label()) for marks in axes.collections if len(marks.get_offsets()) > 0]
    assert "erde: exits" in marks
    assert "static: no early exits, kd" in marks
    assert "erde: weights entropy 0: exits" not in marks
    [legend] = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["erde", "erde: weights entropy 0", "static: no early exits, kd"]


def test_one_theta_has_a_panel_of_its_own_without_marks() -> None:
    figure = _comparison(ComparisonPicture("t", [drawn("erde"), drawn("kd")], drawn("teacher", 20)))
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["a threshold for each exit", "one θ for all exits", "with the teacher"]
    main, single, _ = figure.axes
    assert [line.get_label() for line in single.lines] == ["erde", "kd"]
    middle = np.interp(6e5, *single.lines[0].get_data())
    assert middle == pytest.approx(72, abs=0.2)  # of the second seed alone
    assert np.interp(6e5, *main.lines[0].get_data()) == pytest.approx((60 + 72) / 2, abs=0.2)
    assert not [marks for marks in single.collections if len(marks.get_offsets()) > 1]


def test_kinds_of_students_look_different_however_many_there_are() -> None:
    looks = [_style(place)[:2] for place in range(28)]
    assert len(set(looks)) == 28
