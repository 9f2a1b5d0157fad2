"""torchvision with a build of torch that it was not made for."""

import subprocess
import sys
import types

import pytest

from erde_cli.core.errors import DataError
from erde_cli.core.platform import torchvision_import
from erde_cli.core.platform.torchvision_import import torchvision_datasets


def python(code: str) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(arguments, capture_output=True, text=True, check=False)


# A torchvision whose Python half describes operators that the compiled half did not define.
BROKEN = """
import sys, torch
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder
class Without(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "torchvision._internally_replaced_utils":
            spec = PathFinder.find_spec(name, path)
            loader = spec.loader
            run = loader.exec_module
            def exec_module(module):
                run(module)
                def no_library(name): raise ImportError
                module._get_extension_path = no_library
            loader.exec_module = exec_module
            return spec
sys.meta_path.insert(0, Without())
try:
    import torchvision
except RuntimeError as error:
    print("FAILS", error)
stale = sys.modules["torchvision.extension"]
"""


def test_data_sets_are_read_with_a_torch_whose_operators_do_not_fit() -> None:
    done = python(
        BROKEN
        + "from erde_cli.core.platform.torchvision_import import torchvision_datasets\n"
        + "datasets = torchvision_datasets()\n"
        + "import torchvision; assert torchvision.datasets is datasets is torchvision_datasets()\n"
        + "assert sys.modules['torchvision.extension'] is torchvision.extension is not stale\n"
        + "print('LOADED', datasets.CIFAR10.filename, datasets.utils.calculate_md5.__name__)\n"
    )
    assert "FAILS operator torchvision::nms does not exist" in done.stdout, done.stderr
    assert "LOADED cifar-10-python.tar.gz calculate_md5" in done.stdout, done.stderr
    assert done.stderr == ""


def test_networks_are_built_with_a_torch_whose_operators_do_not_fit() -> None:
    done = python(
        BROKEN
        + "from erde_cli.core.platform.torchvision_import import torchvision_models\n"
        + "print(torchvision_models().resnet18(num_classes=3)(torch.zeros(2, 3, 32, 32)).shape)\n"
    )
    assert "FAILS operator torchvision::nms does not exist" in done.stdout, done.stderr
    assert "torch.Size([2, 3])" in done.stdout, done.stderr


def test_the_compiler_is_imported_once_torchvision_asks_it() -> None:
    done = python(
        "import sys\n"
        "from erde_cli.core.platform import torchvision_import\n"
        "models = torchvision_import.torchvision_models()\n"
        "assert models.resnet18 and 'torch._dynamo' not in sys.modules\n"
        "assert 'torch._dynamo.utils' not in sys.modules\n"
        "with torchvision_import._compiler_later():\n"  # any other name is its own
        "    from torch._dynamo.utils import is_compile_supported as later, counters\n"
        "import torch._dynamo.utils as real\n"
        "assert counters is real.counters and later is not real.is_compile_supported\n"
        "from torchvision.ops import roi_align\n"
        "later = sys.modules['torchvision.ops.roi_align'].is_compile_supported\n"
        "assert later is not real.is_compile_supported\n"
        "assert later('cpu') == real.is_compile_supported('cpu')\n"
    )
    assert done.returncode == 0, done.stderr


def test_the_module_is_imported_once() -> None:
    assert torchvision_datasets() is torchvision_datasets()


@pytest.mark.parametrize("first", ["not found", "operator torchvision::nms does not exist"])
def test_a_torchvision_that_cannot_be_mended_is_an_error_with_a_hint(
    monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    def fail(name: str) -> types.ModuleType:
        raise ImportError(first) if first == "not found" else RuntimeError(first)

    before = {name: module for name, module in sys.modules.items() if "torchvision" in name}
    monkeypatch.setattr(torchvision_import, "import_module", fail)
    try:
        with pytest.raises(DataError, match="cannot be imported") as caught:
            torchvision_datasets()
    finally:
        sys.modules.update(before)
    assert first in caught.value.got
    assert "pip install torchvision" in caught.value.hint
    assert caught.value.exit_code == 2


def test_another_failure_is_not_taken_for_a_missing_operator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[str] = []

    def fail(name: str) -> types.ModuleType:
        calls.append(name)
        raise RuntimeError("another failure")

    monkeypatch.setattr(torchvision_import, "import_module", fail)
    with pytest.raises(DataError, match="cannot be imported") as caught:
        torchvision_datasets()
    assert calls == ["torchvision.datasets"]
    assert "another failure" in caught.value.got
