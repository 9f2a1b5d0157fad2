"""Device, number format and memory layout: a fixed rule, never a measurement."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from erde_cli.core.device import (
    PRECISIONS,
    Context,
    Precision,
    has_bfloat16,
    images_at_once,
    make_context,
    require_compiler,
    unsupported_reason,
)
from erde_cli.core.errors import InputError
from erde_cli.core.processes.engine import Engine

from ..process_state import state_of_the_process

CPU = torch.device("cpu")


@pytest.fixture
def forgets_what_devices_can_do() -> Iterator[None]:
    unsupported_reason.cache_clear()
    yield
    unsupported_reason.cache_clear()


def test_auto_precision_follows_the_arithmetic_of_the_processor() -> None:
    expected = "bfloat16" if has_bfloat16(CPU) else "float32"
    assert make_context("cpu", "auto").precision == expected
    assert make_context("cpu", "auto") == make_context("cpu", expected)


@pytest.mark.parametrize(
    ("arithmetic", "used", "expected"),
    [
        ({"avx512_bf16": True}, "AVX512", True),
        ({"amx_bf16": True}, "AVX512", True),
        ({"avx512_bf16": True}, "AVX2", False),  # ATEN_CPU_CAPABILITY=avx2
        ({"avx512_bf16": True}, "DEFAULT", False),
        ({"avx512_bf16": False}, "AVX512", False),
        ({}, "AVX512", False),
    ],
)
def test_a_processor_has_bfloat16_where_torch_uses_it(
    monkeypatch: pytest.MonkeyPatch, arithmetic: dict[str, bool], used: str, expected: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: arithmetic)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: used)
    assert has_bfloat16(CPU) is expected


def test_a_device_without_a_layout_refuses_it_by_name_and_auto_takes_another(
    monkeypatch: pytest.MonkeyPatch, forgets_what_devices_can_do: None
) -> None:
    def refuse(self: nn.Module, *_: object, **__: object) -> None:
        raise RuntimeError("no such layout here")

    monkeypatch.setattr(torch.nn.Conv2d, "forward", refuse)
    with pytest.raises(InputError, match=r"cannot train in float32, channels_last: no such"):
        make_context("cpu", "float32", memory_format="channels_last")
    assert make_context("cpu", "auto").threads  # nothing was named


@pytest.mark.parametrize("device", ["mps", "meta"])
def test_other_devices_are_not_taken_to_have_bfloat16(device: str) -> None:
    assert not has_bfloat16(torch.device(device))


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_named_precision_is_taken_as_it_is(precision: Precision) -> None:
    assert make_context("cpu", precision).precision == precision


def test_the_precision_is_float32_where_none_is_named() -> None:
    assert make_context("cpu").precision == "float32"


def test_auto_takes_cuda_where_there_is_one_and_else_the_processor() -> None:
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert make_context().device.type == expected


@pytest.mark.parametrize(
    ("precision", "wanted", "dtype", "memory_format"),
    [
        ("float32", "auto", torch.float32, torch.channels_last),
        ("bfloat16", "auto", torch.bfloat16, torch.channels_last),
        ("float16", "auto", torch.float16, torch.channels_last),
        ("float32", "contiguous", torch.float32, torch.contiguous_format),
        ("bfloat16", "contiguous", torch.bfloat16, torch.contiguous_format),
        ("float16", "contiguous", torch.float16, torch.contiguous_format),
    ],
)
def test_a_cpu_computes_in_channels_last_by_default(
    precision: Precision, wanted: str, dtype: torch.dtype, memory_format: torch.memory_format
) -> None:
    context = make_context("cpu", precision, 1, wanted)
    layer = nn.Conv2d(3, 4, 3)
    context.place(layer)
    with context.autocast():
        output = layer(torch.zeros(2, 3, 8, 8))
    assert context.dtype == dtype
    assert context.memory_format == memory_format
    assert layer.weight.is_contiguous(memory_format=memory_format)
    assert layer.weight.dtype == torch.float32
    assert output.dtype == dtype


def test_float32_does_not_reach_into_the_autocast_of_its_surroundings() -> None:
    with Context(CPU, "bfloat16", 1).autocast(), Context(CPU, "float32", 1).autocast():
        assert nn.Linear(4, 4)(torch.zeros(2, 4)).dtype == torch.float32


@pytest.mark.parametrize("device", ["tpu", "", "CPU", "cuda:99"])
def test_a_device_that_is_not_there_is_refused_with_a_hint(device: str) -> None:
    with pytest.raises(InputError, match="is not available") as caught:
        make_context(device)
    assert repr(device) in caught.value.message
    assert "cpu" in caught.value.expected
    assert "--device" in caught.value.hint


@pytest.mark.parametrize("threads", [0, -1, 3000])
def test_an_absurd_number_of_threads_is_refused_and_changes_nothing(threads: int) -> None:
    before = torch.get_num_threads()
    with pytest.raises(InputError, match="number of threads") as caught:
        make_context("cpu", threads=threads)
    assert torch.get_num_threads() == before
    assert caught.value.got == str(threads)


def test_fewer_than_one_thread_is_refused_with_a_hint() -> None:
    with pytest.raises(InputError) as caught:
        make_context("cpu", threads=0)
    assert caught.value.hint


def test_the_threads_are_those_that_are_asked_for() -> None:
    assert make_context("cpu", threads=1).apply().threads == 1
    assert torch.get_num_threads() == 1
    assert make_context("cpu").threads == 1
    described = make_context("cpu")
    torch.set_num_threads(2)
    assert described.apply().threads == torch.get_num_threads() == 1


def test_what_is_described_is_applied_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # made, not computed on
    monkeypatch.setattr("erde_cli.core.device.unsupported_reason", lambda *_: "")
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")  # so that it is unset again at the end
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    set_: list[tuple[bool, bool]] = []
    monkeypatch.setattr(
        torch,
        "use_deterministic_algorithms",
        lambda mode, *, warn_only=False: set_.append((mode, warn_only)),
    )
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    before = state_of_the_process()
    context = make_context("cuda", "float32", torch.get_num_threads() + 1)
    assert state_of_the_process() == before
    assert set_ == []
    context.apply()
    assert torch.get_num_threads() == context.threads
    assert not torch.backends.cudnn.benchmark
    assert set_ == [(True, True)]
    assert not torch.utils.deterministic.fill_uninitialized_memory
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_a_device_that_cannot_do_a_named_precision_is_refused_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, forgets_what_devices_can_do: None, precision: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("\"slow_conv2d\" not implemented for 'Half'\nand more")

    monkeypatch.setattr(torch.nn.Conv2d, "forward", refuse)
    message = rf"cannot train in {precision}, channels_last: .*'Half'\n  got"
    with pytest.raises(InputError, match=message) as caught:
        make_context("cpu", precision)
    assert caught.value.exit_code == 2
    assert f"precision: {precision}" in caught.value.got
    assert "precision: auto" in caught.value.hint


def test_trying_a_precision_leaves_the_generator_as_it_was() -> None:
    before = torch.random.get_rng_state()
    assert [unsupported_reason(CPU, precision) for precision in PRECISIONS] == ["", "", ""]
    assert torch.equal(before, torch.random.get_rng_state())
    assert "meta" in unsupported_reason(torch.device("meta"), "float16")


def test_a_missing_compiler_is_an_error_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(function: object) -> object:
        def call(*_: object) -> None:
            raise RuntimeError("backend='inductor' raised:\nNo working C++ compiler\n\nSet X=1")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(
        InputError, match=r"does not work on this machine: No working C\+\+ compiler\n  got"
    ) as caught:
        require_compiler(CPU)
    assert "compile: false" in caught.value.hint


def test_a_run_stores_all_settings() -> None:
    second = Engine()
    second.rank, second.world_size = 1, 3
    context = Context(CPU, "bfloat16", 2, layout="channels_last", engine=second)
    assert context.to_json() == {
        "device": "cpu",
        "precision": "bfloat16",
        "memory_format": "channels_last",
        "threads": 2,
        "rank": 1,
        "world_size": 3,
    }


def test_a_device_takes_fewer_images_at_once_the_larger_they_are() -> None:
    cpu = torch.device("cpu")
    assert [images_at_once(side, cpu) for side in (16, 32, 64, 1024)] == [256, 64, 16, 1]
    assert [images_at_once(side, cpu) for side in (96, 128, 224, 256, 384)] == [7, 4, 4, 4, 1]
    accelerator = torch.device("meta")
    assert [images_at_once(side, accelerator) for side in (32, 128, 256)] == [512, 512, 128]
