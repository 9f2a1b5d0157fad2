"""What a process that decodes does all day, and how it is asked.

Decoding small files is bound by Python itself, where threads would only wait for each other. Needs
Pillow alone, as `decoding` does.
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
    """Answer requests on stdin, until it ends: one line of JSON each, both ways, and the pixels."""
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # what a decoder prints is no answer
        for line in sys.stdin.buffer:
            request = json.loads(line)
            Image.MAX_IMAGE_PIXELS = request["max_pixels"]
            ImageFile.LOAD_TRUNCATED_IMAGES = request["truncated"]
            rules = PixelRules(*request["rules"])
            _answer(decode_files(request["paths"], request["size"], rules), answers)


def write_request(stream: IO[bytes], paths: Sequence[str], size: int, rules: PixelRules) -> None:
    """Ask a serving process for files."""
    request = {"paths": list(paths), "size": size, "rules": rules, **pillow_settings()}
    stream.write(json.dumps(request).encode() + b"\n")
    stream.flush()


def read_answer(stream: IO[bytes]) -> Decoded:
    """Take what a serving process found.

    Raises:
        EOFError: it is no more.
    """
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    said = json.loads(line)
    pixels = bytearray(said["bytes"])
    if stream.readinto(pixels) != len(pixels):  # type: ignore[attr-defined]
        raise EOFError
    unreadable, unopened = (
        {int(position): reason for position, reason in said[name].items()}
        for name in ("unreadable", "unopened")
    )
    traits = Traits(*said["traits"])
    return Decoded(said["digests"], said["stamps"], pixels, unreadable, unopened, traits)


def _answer(found: Decoded, stream: BinaryIO) -> None:
    said = {
        "digests": found.digests,
        "stamps": found.stamps,
        "unreadable": found.unreadable,
        "unopened": found.unopened,
        "traits": found.traits,
        "bytes": len(found.pixels),
    }
    stream.write(json.dumps(said).encode() + b"\n")
    stream.write(found.pixels)
    stream.flush()
