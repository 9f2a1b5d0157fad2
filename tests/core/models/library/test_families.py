"""Every supported family: what must hold for its chain, and its cost next to published figures."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.core.models.library import checks, families
from tests.core.models.library.families import Family
from tests.core.models.library.small import TIMM, TORCHVISION, Case, make

PAGE = Path(__file__).parents[4] / "docs/backbones.md"
HAS_TIMM = find_spec("timm") is not None
FAMILIES = [*families.TORCHVISION, *(families.TIMM if HAS_TIMM else ())]
CHECKS = [
    checks.answers_as_the_network,
    checks.holds_the_networks_own_weights,
    checks.blocks_leave_what_they_read,
    checks.counts_alike,
    checks.routes_to_the_exit_of_the_full_forward_pass,
    checks.trains_with_a_head_after_every_block,  # the last one: it changes the weights
]


@pytest.fixture(scope="module", params=[*TORCHVISION, *(TIMM if HAS_TIMM else ())])
def case(request: pytest.FixtureRequest) -> Case:
    return make(request.param)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_network_as_a_chain(case: Case, check: Callable[[Case], None]) -> None:
    check(case)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.small)
def test_an_exported_file_answers_as_the_chain(family: Family, tmp_path: Path) -> None:
    checks.answers_as_its_onnx_file(checks.shortened(make(family.small)), tmp_path / "m.onnx")


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.example)
def test_the_cost_of_a_family_is_the_published_one(family: Family) -> None:
    if family.of_timm is None:
        assert family.giga_macs == pytest.approx(family.published, abs=6e-4)
    else:  # rounded to 0.01, with the operations of norms
        assert 0.95 * (family.published - 0.005) <= family.giga_macs <= family.published + 0.005
    assert family.row in PAGE.read_text().splitlines()
