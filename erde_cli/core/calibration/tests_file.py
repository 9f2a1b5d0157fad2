"""`tests.json` of a bundle: every test that was made on a test half.

The record belongs to the images, not to the thresholds in force. Tests are added and never removed,
and they outlive `thresholds.json` and the weights. Image files are recognised by their content, in
any folder.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, Base64Bytes, BaseModel, ConfigDict, Field, ValidationError

from erde_cli.core.calibration.document import StoredPrecision
from erde_cli.core.calibration.thresholds_file import (
    EarlierDocument,
    ThresholdsDocument,
    written_thresholds,
)
from erde_cli.core.errors import BundleError, InputError, first_reason
from erde_cli.core.storage.files import write_file
from erde_cli.core.storage.json_files import digest_of, read_json, write_json
from erde_cli.core.storage.short_digests import ShortDigests
from erde_cli.core.thresholds.target import Risk

TESTS = "tests.json"
FORMAT = 1
_BYTES = 8  # of a short digest


class Tested(BaseModel):
    """One test: its images, what decides their scores, and the risk tested."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    split_fingerprint: str
    weights_digest: str
    precision: StoredPrecision
    device: str
    temperatures: list[Annotated[float, Field(gt=0)]] | None
    criterion: str
    risk: Risk
    epsilon: float
    confidence: float

    @property
    def level(self) -> EarlierDocument:
        """Risk, ε and confidence of the test."""
        return EarlierDocument(risk=self.risk, epsilon=self.epsilon, confidence=self.confidence)


def _eights(content: bytes) -> bytes:
    if len(content) % _BYTES:
        raise ValueError(f"a multiple of {_BYTES} bytes expected")
    return content


_Digests = Annotated[Base64Bytes, AfterValidator(_eights)]


class TestsDocument(BaseModel):
    """Content of `tests.json`, the oldest test first.

    images: short digests of the files in the test half, by split fingerprint; only for images that
    are files.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1]
    tests: list[Tested]
    images: dict[str, _Digests]
    seal: str


def test_of(document: ThresholdsDocument) -> Tested | None:
    """The test behind the certificate of a calibration; None without a certificate."""
    certificate = document.certificate
    if certificate is None:
        return None
    level = {name: getattr(certificate, name) for name in EarlierDocument.model_fields}
    names = set(Tested.model_fields) - set(level)
    return Tested(**document.model_dump(include=names), **level)


def read_tests(bundle: Path) -> list[Tested]:
    """Every known test: those in the record, and those that the certificate in force names.

    The certificate names no others unless the record was lost, or replaced by an older one.

    Raises:
        BundleError: the record cannot be read.
    """
    tests = _recorded(bundle)
    thresholds = written_thresholds(bundle)
    last = None if thresholds is None else test_of(thresholds)
    if thresholds is None or thresholds.certificate is None or last is None:
        return tests
    images = last.split_fingerprint
    recorded = [one.level for one in tests if one.split_fingerprint == images]
    unrecorded = [
        last.model_copy(update=one.model_dump())
        for one in thresholds.certificate.earlier
        if one not in [*recorded, last.level]
    ]
    return [*unrecorded, *tests, *([] if last in tests else [last])]


def earlier_tests(bundle: Path, this: Tested, half_b: ShortDigests | None) -> list[EarlierDocument]:
    """Levels of all other tests on images of this test half, without duplicates.

    Args:
        bundle: folder with the record.
        this: the test that is being made.
        half_b: short digests of the files in the test half, uint64 [images]; None: not files.
    """
    same = {this.split_fingerprint}
    if half_b is not None:
        same |= {
            fingerprint
            for fingerprint, content in _images(bundle).items()
            if np.isin(np.frombuffer(content, "<u8"), half_b).any()
        }
    tests = read_tests(bundle)
    earlier: list[EarlierDocument] = []
    for one in tests:
        if one.split_fingerprint in same and one != this and one.level not in earlier:
            earlier.append(one.level)
    return earlier


def write_tests(
    bundle: Path, tests: Sequence[Tested], images: Mapping[str, bytes] | None = None
) -> None:
    """Write `tests.json` into a bundle, whole or not at all, if it changes.

    Args:
        bundle: its folder.
        tests: all tests.
        images: short digests of test halves by split fingerprint, added to the recorded ones.

    Raises:
        BundleError: the present record cannot be read.
    """
    known = _images(bundle)
    every = {**known, **(images or {})}
    if list(tests) == _recorded(bundle) and every == known:
        return
    content = {
        "format": FORMAT,
        "tests": [one.model_dump() for one in tests],
        "images": {name: base64.b64encode(content).decode() for name, content in every.items()},
    }
    write_json(bundle / TESTS, {**content, "seal": digest_of(content)})


def add_test(bundle: Path, this: Tested, half_b: ShortDigests | None) -> None:
    """Add a test to the record, and the images that it was made on.

    Raises:
        BundleError: the present record cannot be read.
    """
    tests = read_tests(bundle)
    images = {}
    if half_b is not None:
        images[this.split_fingerprint] = np.unique(half_b).astype("<u8").tobytes()
    write_tests(bundle, tests if this in tests else [*tests, this], images)


def keep_tests(bundle: Path) -> None:
    """Record the tests that only the certificate names, before it is replaced.

    A record that cannot be read stays unchanged.
    """
    with suppress(BundleError):
        write_tests(bundle, read_tests(bundle))


def carry_tests(old: Path, new: Path) -> None:
    """Copy the tests of a bundle into its replacement; a damaged record is copied unchanged."""
    try:
        write_tests(new, read_tests(old), _images(old))
    except BundleError:
        content = (old / TESTS).read_bytes()
        write_file(new / TESTS, lambda path: path.write_bytes(content))


def check_carried(bundle: Path) -> None:
    """Check, before a long training, that the record of a bundle can be carried over.

    Raises:
        BundleError: it cannot.
    """
    path = bundle / TESTS
    if path.exists() and not (path.is_file() and os.access(path, os.R_OK)):
        raise BundleError(
            f"{path} cannot be read, so a bundle that replaces this one would lose it.",
            got="a file without read permission" if path.is_file() else "not a file",
            expected="the tests that its images were used for, as erde calibrate wrote them",
            hint="restore the file, or name another folder with --out",
        )


def _recorded(bundle: Path) -> list[Tested]:
    document = _document(bundle)
    return [] if document is None else document.tests


def _images(bundle: Path) -> dict[str, bytes]:
    document = _document(bundle)
    return {} if document is None else document.images


def _document(bundle: Path) -> TestsDocument | None:
    """The record; None without one.

    Raises:
        BundleError: it cannot be read.
    """
    path = bundle / TESTS
    if not path.exists():
        return None
    try:
        content = read_json(path)
    except InputError as error:
        raise _unknown(path, error.message) from error
    stored_format = content.get("format") if isinstance(content, dict) else None
    if stored_format != FORMAT:
        raise _unknown(path, f"format {stored_format}")
    try:
        document = TestsDocument.model_validate(content)
    except ValidationError as error:
        raise _unknown(path, first_reason(error)) from error
    rest = {name: value for name, value in content.items() if name != "seal"}
    if document.seal != digest_of(rest):
        raise _unknown(path, "a digest that does not match the content")
    return document


def _unknown(path: Path, got: str) -> BundleError:
    return BundleError(
        f"{path} is not what erde wrote. Earlier tests on these images are unknown, so nothing can "
        "be promised.",
        got=got,
        expected="every test that erde calibrate --max-risk made",
        hint="restore the file; if it is lost, move it away and give images that no test has used: "
        "--data FOLDER or --images FOLDER",
    )
