"""The picture of a profile."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from erde_cli.core.events import Observer
from erde_cli.core.measurement.latency import BatchLatency, EndToEnd, Timing
from erde_cli.core.measurement.profile_plot import ProfilePicture, draw_profile


def timing(median: float) -> Timing:
    return Timing(median, 0.9 * median, 1.3 * median, 10)


def measured(batch: int, scale: float) -> BatchLatency:
    exits = tuple(timing(scale * factor) for factor in (1, 2, 3))
    end = EndToEnd((0.5, 0.3, 0.2), 1.8 * scale, timing(1.5 * scale), (1.0, 1.0, 1.0))
    return BatchLatency(batch, 8, exits, exits, end)


MACS = [100_000, 200_000, 300_000]
WIDE = [measured(1, 1), measured(32, 0.1), measured(256, 0.05)]
FULL = ProfilePicture("title", MACS, MACS, 170_000, WIDE)
SEVEN = [measured(2**index, 1 / (index + 1)) for index in range(7)]
UNCALIBRATED = replace(
    FULL, expected_macs=None, latencies=[replace(one, end_to_end=None) for one in WIDE]
)


@pytest.mark.parametrize(
    "picture",
    [FULL, UNCALIBRATED, replace(FULL, latencies=WIDE[:1]), replace(FULL, latencies=SEVEN)],
    ids=["full", "no thresholds", "one batch size", "seven batch sizes"],
)
def test_a_picture_is_a_png_of_its_size_with_something_on_it(
    tmp_path: Path, picture: ProfilePicture
) -> None:
    draw_profile(tmp_path / "a.png", picture, Observer())
    with Image.open(tmp_path / "a.png") as image:
        assert image.format == "PNG"
        assert image.size == (1560, 690)
        colours = image.convert("RGB").getcolors(maxcolors=2**24)
    assert colours is not None
    assert len(colours) > 10


def test_the_same_picture_is_the_same_bytes_and_every_figure_changes_it(tmp_path: Path) -> None:
    slower = replace(WIDE[0], exits=(*WIDE[0].exits[:2], timing(5)))
    shaky = replace(WIDE[0], exits=(*WIDE[0].exits[:2], Timing(3, 1, 4, 10)))
    end = WIDE[0].end_to_end
    assert end is not None
    mix = replace(end, exit_rates=(0.2, 0.3, 0.5))  # only what is expected of them changes
    others = [
        replace(FULL, title="another"),
        replace(FULL, cumulative_macs=[100_000, 250_000, 300_000]),
        replace(FULL, static_macs=[90_000, 190_000, 290_000]),
        replace(FULL, expected_macs=270_000),
        replace(FULL, latencies=[slower, *WIDE[1:]]),
        replace(FULL, latencies=[shaky, *WIDE[1:]]),
        replace(FULL, latencies=[replace(WIDE[0], static=slower.exits), *WIDE[1:]]),
        replace(FULL, latencies=[replace(WIDE[0], end_to_end=replace(end, mean=2.5)), *WIDE[1:]]),
        replace(FULL, latencies=[replace(WIDE[0], batch=2), *WIDE[1:]]),
        replace(FULL, latencies=[replace(WIDE[0], end_to_end=mix), *WIDE[1:]]),
    ]
    for index, picture in enumerate([FULL, FULL, *others]):
        draw_profile(tmp_path / f"{index}.png", picture, Observer())
    first, again, *changed = [
        (tmp_path / f"{index}.png").read_bytes() for index in range(len(others) + 2)
    ]
    assert first == again
    assert all(one != first for one in changed)
