"""Open ONNX files in ONNX Runtime, on the CPU."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from pathlib import Path

import onnxruntime

from erde_cli.core.errors import EXPORT_AGAIN, BundleError, brief
from erde_cli.core.runner.external_data import refuse_external_data

EXPECTED = "a file written by erde export"
_ERRORS_ONLY = 3  # severity of ONNX Runtime's messages on stderr
_LARGEST = 2**31 - 1  # bytes; protocol buffers have no larger messages


def open_session(
    path: Path, threads: int | None, *, one_of_several: bool = False
) -> onnxruntime.InferenceSession:
    """Open an ONNX file on the CPU. It cannot refer to other files, which could be anywhere.

    Args:
        path: of the file; it is read at once.
        threads: of ONNX Runtime; None: one for each core.
        one_of_several: whether other sessions of the same network compute in turn with it.

    Raises:
        BundleError: it is damaged, too large, not an ONNX file, or refers to another file.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.inter_op_num_threads = 1
    options.intra_op_num_threads = threads or 0
    options.enable_mem_pattern = False  # a plan for each shape takes memory of its own
    _share_memory()
    options.add_session_config_entry("session.use_env_allocators", "1")
    if one_of_several:
        # Threads that wait for work sleep at once. By default they spin for milliseconds, on cores
        # that the next stage needs; a single file is faster if they do (docs/speed.md).
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Never ONNX Runtime's own format, which is not checked.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        refuse_external_data(_content(path))
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise BundleError(
            f"{path} cannot be run: {brief(str(error))}", expected=EXPECTED, hint=EXPORT_AGAIN
        ) from error


@cache
def _share_memory() -> None:
    """Let all sessions of this process allocate from one arena.

    Stages run in turn, and an arena of each would keep its own largest size. Peak of a process that
    ran 120 batches of 1 to 64 images of 32x32 pixels through the stages of ResNet-8: 89 MB instead
    of 102, or 123 with a plan for each shape. The time is the same.
    """
    cpu = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    defaults = onnxruntime.OrtArenaCfg(0, -1, -1, -1)
    with suppress(Exception):  # the process has registered one already, which serves as well
        onnxruntime.create_and_register_allocator(cpu, defaults)


def _content(path: Path) -> bytes:
    if path.stat().st_size > _LARGEST:
        raise ValueError(f"it is larger than {_LARGEST:,} bytes")
    return path.read_bytes()
