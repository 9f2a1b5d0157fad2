"""Protocol of the worker processes that decode images.

Threads would not help: small files spend most of their time in Python itself. Imports only Pillow.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import IO, Any, BinaryIO

from PIL import Image, ImageFile

from erde_cli.core.images.decoding import Decoded, decode_files, pillow_settings
from erde_cli.core.images.pixels import PixelRules, Traits

Request = dict[str, Any]  # paths, side and rules of the decoded images, settings of Pillow


def serve(answer: Callable[[Request], Decoded] | None = None) -> None:
    """Answer requests on stdin until it ends. Both are a line of JSON; pixels follow the answer.

    Args:
        answer: what is done with a request; None: its files are decoded.
    """
    answer = answer or decode_request
    # The parent was killed if nobody reads an answer.
    with suppress(BrokenPipeError), os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # the output of decoders must not mix with answers
        for line in sys.stdin.buffer:
            _write_answer(answer(json.loads(line)), answers)


def request_of(paths: Sequence[str], size: int, rules: PixelRules) -> Request:
    """Request to decode files with this process's settings of Pillow."""
    return {"paths": list(paths), "size": size, "rules": rules, **pillow_settings()}


def decode_request(request: Request) -> Decoded:
    """Decode the files of a request, by its settings of Pillow."""
    Image.MAX_IMAGE_PIXELS = request["max_pixels"]
    ImageFile.LOAD_TRUNCATED_IMAGES = request["truncated"]
    return decode_files(request["paths"], request["size"], PixelRules(*request["rules"]))


def write_request(stream: IO[bytes], request: Request) -> None:
    """Send a request to a worker process."""
    stream.write(json.dumps(request).encode() + b"\n")
    stream.flush()


def read_answer(stream: IO[bytes]) -> Decoded:
    """Read the answer of a worker process.

    Raises:
        EOFError: the process has ended.
    """
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    answer = json.loads(line)
    pixels = bytearray(answer["bytes"])
    if stream.readinto(pixels) != len(pixels):  # type: ignore[attr-defined]
        raise EOFError
    unreadable, unopened = (
        {int(position): reason for position, reason in answer[name].items()}
        for name in ("unreadable", "unopened")
    )
    traits = Traits(*answer["traits"])
    return Decoded(
        answer["digests"], answer["stamps"], pixels, unreadable, unopened, traits, answer["ratios"]
    )


def _write_answer(decoded: Decoded, stream: BinaryIO) -> None:
    answer = decoded._asdict()
    answer["bytes"] = len(answer.pop("pixels"))
    stream.write(json.dumps(answer).encode() + b"\n")
    stream.write(decoded.pixels)
    stream.flush()
