"""Content of `bundle.json`, validated when it is written and when it is read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from erde_cli.core.errors import BundleError, InputError
from erde_cli.core.events import Role
from erde_cli.core.images.class_names import ClassNames
from erde_cli.core.images.pixels import PixelRules
from erde_cli.core.recipe.schema import LONGEST_NAME, NAME
from erde_cli.core.storage.json_files import (
    digest_of,
    not_what_erde_writes,
    read_json,
    require_format,
)

WEIGHTS, DOCUMENT = "model.safetensors", "bundle.json"
# Unknown keys are refused at every level and no key of the pixels has a default. So a version that
# does not know a new key never uses other pixels silently, and the format can stay. Raise it where
# a key that exists gets another meaning.
FORMAT = 1
_HINT = "copy the folder again, or train it again"


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class _Architecture(_Document):
    backbone: str
    depth: int | None = Field(ge=8, le=10_000)
    width: int | None = Field(ge=1, le=1024)
    cuts: list[int]
    head: str
    classes: int = Field(ge=2)
    image_size: int = Field(ge=8, le=1024)
    widening: int = Field(ge=1, le=64)
    stem: Annotated[int, Field(ge=1, le=1024)] | Literal["small"] | None
    dropout: float = Field(ge=0, lt=1)
    stem_stride: int = Field(ge=1, le=2)
    head_dropout: float = Field(ge=0, lt=1)


class _Normalisation(_Document):
    mean: list[float] = Field(min_length=3, max_length=3)
    std: list[Annotated[float, Field(gt=0)]] = Field(min_length=3, max_length=3)


class PixelsDocument(_Document):
    """How files become pixels, under the keys of a recipe's data section."""

    transparent: Literal["white", "black", "ignore"]
    bit_depth: int | None = Field(ge=8, le=16)
    frames: Literal["first", "refuse"] | None
    resize: Literal["squash", "crop"]
    crop_share: float | None = Field(ge=0.1, le=1)  # null: squash
    interpolation: Literal["bilinear", "bicubic"]

    @model_validator(mode="after")
    def _only_a_crop_has_a_share(self) -> Self:
        if self.rules.resize != self.resize:
            raise ValueError("crop_share: a number for resize: crop, null for squash")
        return self

    @property
    def rules(self) -> PixelRules:
        """The same rules in the form that decoding takes."""
        return PixelRules(**self.model_dump(exclude={"resize"}))


class TrainedOnDocument(_Document):
    """Number of files in `trained_on.bin`, and its digest."""

    files: int = Field(ge=1)
    digest: str


class FirstWeightsDocument(_Document):
    """Weights that the training started from: their name, SHA-256 of their file, tensors taken."""

    source: str
    sha256: str
    tensors: int = Field(ge=1)
    license: Annotated[str, Field(max_length=200)] | None = None  # null: its source states none


class _Input(_Document):
    channels: Literal[3] = 3
    height: int
    width: int
    pixels: PixelsDocument


def _named(recipe: dict[str, Any]) -> dict[str, Any]:
    """Check the name alone: it is shown, and it names folders."""
    name = recipe.get("name")
    if not isinstance(name, str) or len(name) > LONGEST_NAME or not NAME.fullmatch(name):
        raise ValueError("recipe.name is not a valid name")
    return recipe


class BundleDocument(_Document):
    """Content of `bundle.json`."""

    format: Literal[1]
    role: Role
    architecture: _Architecture
    input: _Input
    normalisation: _Normalisation
    class_names: ClassNames
    recipe: Annotated[dict[str, Any], AfterValidator(_named)]
    split_fingerprint: str
    inputs_digest: str
    weights_digest: str
    trained_on: TrainedOnDocument | None  # null unless the data set is a folder of images
    training: dict[str, Any]
    first_weights: FirstWeightsDocument | None  # null: random ones
    versions: dict[str, str]
    git_commit: str | None  # of erde's code; null without a checkout
    digest: str  # of all other keys, as they are in the file

    def sealed(self) -> BundleDocument:
        """The same document with the digest of its content."""
        return self.model_copy(update={"digest": _digest(self.model_dump())})

    @property
    def rules(self) -> PixelRules:
        """How files become pixels."""
        return self.input.pixels.rules


def _digest(content: dict[str, Any]) -> str:
    return digest_of({name: value for name, value in content.items() if name != "digest"})


def read_bundle_document(path: Path) -> BundleDocument:
    """Read and validate `bundle.json` alone, without the weights.

    Raises:
        BundleError: it is missing, damaged, or of another version.
    """
    if not (path / DOCUMENT).is_file():
        raise BundleError(
            f"{path} is not a bundle.",
            got=_kind_of(path),
            expected=f"a folder with {DOCUMENT} and {WEIGHTS}",
            hint=_hint(path),
        )
    content = _read(path / DOCUMENT, _HINT)
    require_format(
        path / DOCUMENT,
        content,
        FORMAT,
        BundleError,
        "use the version of erde that wrote it, or train again",
    )
    try:
        document = BundleDocument.model_validate(content)
    except ValidationError as error:
        raise not_what_erde_writes(path / DOCUMENT, error, _HINT) from error
    if document.digest != _digest(content):
        raise BundleError(
            f"{path / DOCUMENT} is damaged, or was changed after training.",
            expected=f"digest {document.digest[:12]}",
            hint=_HINT,
        )
    if len(document.class_names) != document.architecture.classes:
        raise BundleError(
            f"{path / DOCUMENT} names {len(document.class_names)} classes.",
            expected=f"{document.architecture.classes}, the number in its architecture",
            hint=_HINT,
        )
    return document


def _kind_of(path: Path) -> str:
    if path.is_dir():
        return f"a folder without {DOCUMENT}"
    return "a file" if path.exists() else "no such folder"


def _hint(path: Path) -> str:
    """Name the bundles inside a run folder, or the command that makes one."""
    inside = [path / role for role in ("student", "teacher") if (path / role / DOCUMENT).is_file()]
    if inside:
        return f"did you mean {' or '.join(map(str, inside))}?"
    return "make one with: erde run digits"


def _read(path: Path, hint: str) -> Any:
    try:
        return read_json(path)
    except InputError as error:
        raise BundleError(error.message, expected=error.expected, hint=hint) from error
