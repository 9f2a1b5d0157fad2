"""Untrusted JSON is refused in time that grows with its length."""

import time

import pytest

from erde_cli.core.storage.json_files import JsonError, parse_json


def test_a_repeated_key_is_found_at_once() -> None:
    keys = "".join(f'"{number}": 0, ' for number in range(50_000))
    start = time.process_time()
    with pytest.raises(JsonError, match="repeats the key '49999'"):
        parse_json("{" + keys + '"49999": 0}')
    assert time.process_time() - start < 5  # quadratic: 50 s
