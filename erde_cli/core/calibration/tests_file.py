"""`tests.json` of a bundle: every test that half B of some images was used for.

What was tested belongs to the images, not to the thresholds in force: it is only ever added to, and
outlives `thresholds.json` and the weights. Files are known again by their content, in whatever
folder they lie then.
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
    """One test: on the half B of which images, of which scores, and what for."""

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
    def asked(self) -> EarlierDocument:
        """What was tested for, whatever the scores were."""
        return EarlierDocument(risk=self.risk, epsilon=self.epsilon, confidence=self.confidence)


def _eights(content: bytes) -> bytes:
    if len(content) % _BYTES:
        raise ValueError(f"a multiple of {_BYTES} bytes expected")
    return content


_Digests = Annotated[Base64Bytes, AfterValidator(_eights)]


class TestsDocument(BaseModel):
    """What `tests.json` holds; the first test first.

    images: of each split fingerprint whose images are files, the short digests of half B.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1]
    tests: list[Tested]
    images: dict[str, _Digests] = {}
    seal: str


def test_of(document: ThresholdsDocument) -> Tested | None:
    """The test that the certificate of a calibration speaks of; None without a certificate."""
    certificate = document.certificate
    if certificate is None:
        return None
    asked = {name: getattr(certificate, name) for name in EarlierDocument.model_fields}
    names = set(Tested.model_fields) - set(asked)
    return Tested(**document.model_dump(include=names), **asked)


def read_tests(bundle: Path) -> list[Tested]:
    """Every known test: those in the record, and those that the certificate in force names.

    The certificate names no others unless the record was lost, or replaced by an older one.

    Raises:
        BundleError: the record cannot be read, so it is not known what was tested.
    """
    tests = _recorded(bundle)
    thresholds = written_thresholds(bundle)
    last = None if thresholds is None else test_of(thresholds)
    if thresholds is None or thresholds.certificate is None or last is None:
        return tests
    images = last.split_fingerprint
    known = [one.asked for one in tests if one.split_fingerprint == images]
    told = [
        last.model_copy(update=one.model_dump())
        for one in thresholds.certificate.earlier
        if one not in [*known, last.asked]
    ]
    return [*told, *tests, *([] if last in tests else [last])]


def earlier_tests(bundle: Path, this: Tested, half_b: ShortDigests | None) -> list[EarlierDocument]:
    """What images of this half B were tested for, each once, other than by this very test.

    Args:
        bundle: whose record is read.
        this: the test.
        half_b: short digests of the files, uint64 [images]; None where they are no files.
    """
    same = {this.split_fingerprint}
    if half_b is not None:
        same |= {
            fingerprint
            for fingerprint, content in _images(bundle).items()
            if np.isin(np.frombuffer(content, "<u8"), half_b).any()
        }
    tests = read_tests(bundle)
    others = (one.asked for one in tests if one.split_fingerprint in same and one != this)
    found: list[EarlierDocument] = []
    for one in others:
        if one not in found:
            found.append(one)
    return found


def write_tests(
    bundle: Path, tests: Sequence[Tested], images: Mapping[str, bytes] | None = None
) -> None:
    """Write `tests.json` into a bundle, whole or not at all, unless it says that already.

    Args:
        bundle: its folder.
        tests: all of them.
        images: digests of half B by split fingerprint, added to those that are known.

    Raises:
        BundleError: the record that is there cannot be read.
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
        BundleError: the record that is there cannot be read.
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
    """Give a new bundle the tests of the one whose place it takes; what is damaged stays so."""
    try:
        write_tests(new, read_tests(old), _images(old))
    except BundleError:
        content = (old / TESTS).read_bytes()
        write_file(new / TESTS, lambda beside: beside.write_bytes(content))


def check_carried(bundle: Path) -> None:
    """Check that the record of a bundle can be carried over, before hours are spent.

    Raises:
        BundleError: it cannot.
    """
    path = bundle / TESTS
    if path.exists() and not (path.is_file() and os.access(path, os.R_OK)):
        raise BundleError(
            f"{path} cannot be read, so a bundle in the place of this one would lose it.",
            got="a file that may not be read" if path.is_file() else "no file",
            expected="the tests that its images were used for, as erde calibrate wrote them",
            hint="put the file back as it was, or give another folder with --out",
        )


def _recorded(bundle: Path) -> list[Tested]:
    document = _document(bundle)
    return [] if document is None else document.tests


def _images(bundle: Path) -> dict[str, bytes]:
    document = _document(bundle)
    return {} if document is None else document.images


def _document(bundle: Path) -> TestsDocument | None:
    """The record; None where there is none.

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
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise _unknown(path, f"format {found}")
    try:
        document = TestsDocument.model_validate(content)
    except ValidationError as error:
        raise _unknown(path, first_reason(error)) from error
    rest = {name: value for name, value in content.items() if name != "seal"}
    if document.seal != digest_of(rest):
        raise _unknown(path, "another digest than that of what it holds")
    return document


def _unknown(path: Path, got: str) -> BundleError:
    return BundleError(
        f"{path} is not what erde wrote, so nobody knows what these images were tested for, and "
        "nothing can be promised.",
        got=got,
        expected="every test that erde calibrate --max-risk made",
        hint="put the file back as it was; where it is lost, move it away and give images that no "
        "test has seen: --data FOLDER or --images FOLDER",
    )
