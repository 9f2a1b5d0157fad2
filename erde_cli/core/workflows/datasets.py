"""`erde data`: list, verify and download data sets."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from pathlib import Path

from erde_cli.core.data.download import fetch
from erde_cli.core.data.published_files import (
    PUBLISHED,
    Archive,
    archives_of,
    bad_files,
    data_root,
    require_whole,
)
from erde_cli.core.errors import InputError
from erde_cli.core.events import Observer
from erde_cli.core.storage.json_files import Json

_OWN = {
    "digits": ("digits is built in. There is nothing to download.", "erde run digits"),
    "imagefolder": (
        "imagefolder means your own images. There is nothing to download.",
        "erde run image-folder --set data.root=FOLDER",
    ),
}


@dataclass(frozen=True)
class Listed:
    """A data set, or its extra images: published facts, and the state of its files.

    state: "built in", "present" (complete), "missing" (some files) or "corrupt" (some files).
    test_images: None if no test split is published.
    """

    name: str
    classes: int
    train_images: int
    test_images: int | None
    state: str
    missing: list[str] = field(default_factory=list)
    corrupt: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class DataList:
    """All data sets, and the folder of the published ones."""

    folder: Path
    datasets: list[Listed]

    def to_json(self) -> Json:
        """The object that `--json` prints."""
        return {"folder": str(self.folder), "datasets": [asdict(one) for one in self.datasets]}


@dataclass(frozen=True)
class Fetched:
    """A complete published data set; `downloaded` lists the files fetched now."""

    name: str
    extra: bool
    folder: Path
    downloaded: list[str]

    def to_json(self) -> Json:
        """The object that `--json` prints."""
        return {**asdict(self), "folder": str(self.folder)}


def list_data() -> DataList:
    """List the data sets that a recipe can name, and verify the published files.

    Raises:
        DataError: the path for published files is not a folder, or a file cannot be read.
    """
    root = data_root()
    datasets = [Listed("digits", 10, 1797, None, "built in")]
    for name, facts in PUBLISHED.items():
        archives = archives_of(name)
        sizes = (facts.classes, facts.train_images, facts.test_images)
        datasets.append(_listed(name, sizes, root, archives))
        if facts.extra_images:
            extra = [one for one in archives_of(name, extra=True) if one not in archives]
            sizes = (facts.classes, facts.extra_images, 0)
            datasets.append(_listed(f"{name} --extra", sizes, root, extra))
    return DataList(root, datasets)


def fetch_data(name: str, root: Path | None, observer: Observer, *, extra: bool = False) -> Fetched:
    """Download the missing files of a published data set, and verify every file.

    Raises:
        InputError: the data set does not exist, is not downloadable, or has no extra images.
        DataError: the folder cannot be written to.
        DownloadError: no network, a wrong checksum, a full disk.
    """
    _check_name(name, extra)
    folder = data_root(str(root) if root else None)
    downloaded = fetch(name, folder, observer, extra=extra)
    if downloaded:
        require_whole(name, folder, extra=extra)
    return Fetched(name, extra, folder, downloaded)


def _listed(name: str, sizes: tuple[int, int, int], root: Path, archives: list[Archive]) -> Listed:
    bad = bad_files(root, archives)
    missing = [one.file.path for one in bad if one.found is None]
    corrupt = [one.file.path for one in bad if one.found is not None]
    state = "corrupt" if corrupt else "missing" if missing else "present"
    return Listed(name, *sizes, state, missing, corrupt)


def _check_name(name: str, extra: bool) -> None:
    if name in _OWN:
        message, hint = _OWN[name]
        raise InputError(message, expected=f"one of {', '.join(PUBLISHED)}", hint=hint)
    if name not in PUBLISHED:
        near = get_close_matches(name.lower(), [*PUBLISHED, "digits"], n=1)
        raise InputError(
            f"There is no data set {name!r}.",
            expected=f"one of {', '.join(PUBLISHED)}",
            hint=f"did you mean {near[0]}?" if near else "list them with: erde data",
        )
    if extra and not PUBLISHED[name].extra_images:
        raise InputError(
            f"{name} has no extra images; only svhn has.",
            got="--extra",
            hint="leave --extra out",
            expected="svhn with --extra",
        )
