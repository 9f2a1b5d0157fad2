"""Protocol of the worker processes that decode images.

Threads would not help: small files spend most of their time in Python itself. Imports only Pillow.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import IO, BinaryIO

from PIL import Image, ImageFile

from erde_cli.core.images.decoding import Decoded, decode_files, pillow_settings
from erde_cli.core.images.pixels import PixelRules, Traits


def serve() -> None:
    """Answer requests on stdin until it ends. Both are a line of JSON; pixels follow the answer."""
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # the output of decoders must not mix with answers
        for line in sys.stdin.buffer:
            request = json.loads(line)
            Image.MAX_IMAGE_PIXELS = request["max_pixels"]
            ImageFile.LOAD_TRUNCATED_IMAGES = request["truncated"]
            rules = PixelRules(*request["rules"])
            _write_answer(decode_files(request["paths"], request["size"], rules), answers)


def write_request(stream: IO[bytes], paths: Sequence[str], size: int, rules: PixelRules) -> None:
    """Send paths to a worker process."""
    request = {"paths": list(paths), "size": size, "rules": rules, **pillow_settings()}
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
