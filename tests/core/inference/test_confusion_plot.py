"""The picture of a confusion matrix."""

from pathlib import Path
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

import numpy as np
import pytest

from erde_cli.core.events import Observer
from erde_cli.core.inference.by_class import ByClass, by_class
from erde_cli.core.inference.confusion_plot import draw_confusion

ODD = r"$\frac{x}{$ <b> [bold]"  # as a formula it cannot be drawn


class Strict(Observer):
    """A picture that cannot be drawn fails the test."""

    def warning(self, message: str) -> None:
        pytest.fail(message)


def counted(classes: int, wrong: int = 0, first: str = "class 0") -> ByClass:
    """Ten images of each class; some of class 0 are taken for class 1."""
    labels = np.repeat(np.arange(classes), 10)
    answers = labels.copy()
    answers[:wrong] = 1
    names = (first, *(f"class {number}" for number in range(1, classes)))
    return by_class(names, labels, answers, np.zeros_like(labels), np.array([1.0, 2.0]))


def texts(path: Path, found: ByClass, title: str = "title") -> list[str]:
    """What can be read in the picture: an SVG names each text in a comment."""
    assert draw_confusion(path / "a.svg", title, found, Strict()) == path / "a.svg"
    parser = ET.XMLParser(target=ET.TreeBuilder(insert_comments=True))  # noqa: S314 (our own file)
    root = ET.parse(path / "a.svg", parser).getroot()  # noqa: S314
    return [(one.text or "").strip() for one in root.iter() if callable(one.tag)]


def test_up_to_20_classes_every_share_of_the_true_class_is_a_number(tmp_path: Path) -> None:
    seen = texts(tmp_path, counted(20, wrong=3))
    assert [seen.count(one) for one in ("70", "30", "100")] == [1, 1, 19]
    assert seen.count("class 5") == 2


def test_beyond_20_classes_the_most_confused_pairs_are_named(tmp_path: Path) -> None:
    seen = texts(tmp_path, counted(21, wrong=3))
    assert "class 0 → class 1" in seen
    assert "3 of 10" in seen
    assert "class 5" not in seen


@pytest.mark.parametrize("classes", [2, 20, 21, 150])
def test_nothing_confused_is_drawn_too_and_the_same_bytes_each_time(
    classes: int, tmp_path: Path
) -> None:
    for name in ("a.png", "b.png"):
        assert draw_confusion(tmp_path / name, "title", counted(classes), Strict())
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    draw_confusion(tmp_path / "c.png", "title", counted(classes, wrong=4), Strict())
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "c.png").read_bytes()


@pytest.mark.parametrize("classes", [2, 21])
def test_a_name_is_no_formula_and_no_markup(classes: int, tmp_path: Path) -> None:
    seen = texts(tmp_path, counted(classes, wrong=4, first=ODD), title=ODD)
    assert seen.count(escape(ODD)) >= 1
    found = counted(classes, wrong=4, first="x" * 255)
    assert not any("x" * 30 in one for one in texts(tmp_path, found))
