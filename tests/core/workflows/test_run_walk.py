"""A run computes and loads each thing once, and hands it down."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from erde_cli.core.bundle.bundle import load_bundle
from erde_cli.core.bundle.document import read_bundle_document
from erde_cli.core.bundle.weights import load_network
from erde_cli.core.calibration.thresholds_file import read_thresholds
from erde_cli.core.data.digits import DigitsSource
from erde_cli.core.data.normalisation import Normalisation
from erde_cli.core.data.opening import open_dataset
from erde_cli.core.events import Observer
from erde_cli.core.recipe.inputs import inputs_digest
from erde_cli.core.recipe.loading import load_recipe
from erde_cli.core.storage.files import digest_of_file
from erde_cli.core.workflows.options import Options
from erde_cli.core.workflows.run import run_recipe

ONCE_A_NETWORK = (inputs_digest, load_bundle, load_network, read_bundle_document, digest_of_file)
ONCE = (open_dataset, read_thresholds)


class _Watched(Observer):
    shows_progress = True  # so that a plan is made first, as on a terminal


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each function is called, under whatever name a module has it."""
    found: Counter[str] = Counter()

    def counted(function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            found[name] += 1
            return function(*arguments, **named)

        return call

    mine = [module for name, module in sys.modules.items() if name.startswith("erde_cli")]
    for function in (*ONCE_A_NETWORK, *ONCE):
        for module in mine:
            for name, value in list(vars(module).items()):
                if value is function:
                    monkeypatch.setattr(module, name, counted(function, function.__name__))
    for owner, name in ((DigitsSource, "read"), (Normalisation, "of")):
        monkeypatch.setattr(owner, name, counted(getattr(owner, name), name))
    return found


@pytest.mark.usefixtures("short_timings")
@pytest.mark.parametrize("method", ["erde", "cross_entropy"])
def test_each_thing_is_computed_and_loaded_once(
    calls: Counter[str], tiny_recipe: Path, tmp_path: Path, method: str
) -> None:
    epochs = [f"training.{role}.epochs=1" for role in ("teacher", "student")]
    recipe = load_recipe(str(tiny_recipe), [*epochs, f"distillation.method={method}"])
    once = {
        **{function.__name__: 2 for function in ONCE_A_NETWORK},
        **{function.__name__: 1 for function in ONCE},
    }
    run_recipe(recipe, tmp_path, Options("cpu", 1, _Watched()))
    # Train, calibration and test are decoded once each.
    assert calls == once | {"read": 3, "of": 1}
    calls.clear()
    assert len(run_recipe(recipe, tmp_path, Options("cpu", 1, _Watched())).kept) == 4
    assert calls == once
