"""Files that erde skips in image folders: counts, and advice what to do about them."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from erde_cli.core.events import Observer

# Folders of file managers, NAS systems and notebooks, with thumbnails and other copies.
_SYSTEM = frozenset(
    ("@eadir", "#recycle", "@recycle", "@recently-snapshot", "@__thumb", ".@__thumb", "__macosx",
     ".thumbnails", ".appledouble", ".picasaoriginals", "$recycle.bin", "lost+found",
     "system volume information", ".trashes", ".git", ".ipynb_checkpoints"),
)  # fmt: skip
NO_ENDING, QUERY, OTHER = "no ending", "?…", "other endings"
BROKEN_LINK, LINK_TO_FOLDER = "broken links", "links to folders"
_ENDING = re.compile(r"\.[a-z0-9_+-]{1,8}")
_HEIC = (".heic", ".heif", ".hif")
_RAW = (".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".raf", ".rw2")
_LISTED = 10  # names per line

_HEIC_ADVICE = (
    "HEIC and HEIF files are not supported ({}). Convert them, for example with heif-convert from "
    "the package libheif-examples: heif-convert photo.heic photo.jpg"
)
_RAW_ADVICE = "Raw camera files are not supported ({}). Export them as JPEG, PNG or TIFF"
_QUERY_ADVICE = (
    "Files with a ? in their names are not read ({}). If they are downloaded images, rename them "
    "to end in .jpg, .png or another ending of images"
)
_BARE_ADVICE = (
    "Files without an ending are not read ({}). If they are images, add one, such as .jpg"
)


def is_system_folder(name: str) -> bool:
    """Whether a folder of this name belongs to a system and not to the user."""
    return name.lower() in _SYSTEM


@dataclass
class PassedOver:
    """Counts of the files that a listing skipped.

    endings: files by the suffix of their names. system: image files in system folders, by the name
    of the folder. hidden: files and folders whose names start with a dot. outside: image files
    outside class folders. unused: names of folders next to train/ that are not splits.
    """

    endings: Counter[str] = field(default_factory=Counter)
    system: Counter[str] = field(default_factory=Counter)
    hidden: int = 0
    outside: int = 0
    unused: list[str] = field(default_factory=list)

    def add_file(self, name: str) -> None:
        """Count a file without the suffix of an image."""
        name, query, _ = name.partition("?")
        ending = PurePath(name).suffix.lower()
        if query:
            ending += QUERY
        elif not ending:
            ending = NO_ENDING
        elif not _ENDING.fullmatch(ending):
            ending = OTHER
        self.endings[ending] += 1

    def add(self, other: PassedOver) -> None:
        """Add the counts of another listing."""
        self.endings += other.endings
        self.system += other.system
        self.hidden += other.hidden
        self.outside += other.outside
        self.unused += other.unused

    def to_json(self) -> dict[str, Any]:
        """The counts as `--json` prints them."""
        return {
            "endings": dict(self.endings.most_common()),
            "system_folders": dict(self.system.most_common()),
            "hidden": self.hidden,
            "outside_classes": self.outside,
            "unused": self.unused,
        }

    def lines(self) -> list[str]:
        """One line for each kind of skipped files."""
        lines = []
        if self.endings:
            lines.append(f"not read, by ending: {_counted(self.endings)}")
        if self.system:
            lines.append(f"images in system folders, skipped: {_counted(self.system)}")
        if self.hidden:
            lines.append(f"hidden files and folders, skipped: {self.hidden:,}")
        if self.outside:
            lines.append(f"images outside class folders, skipped: {self.outside:,}")
        if self.unused:
            more = ["…"] if len(self.unused) > _LISTED else []
            lines.append(f"next to train, not used: {', '.join(self.unused[:_LISTED] + more)}")
        return lines

    def advice(self) -> list[str]:
        """Advice about files that are probably photos."""
        queries = sum(count for ending, count in self.endings.items() if ending.endswith(QUERY))
        counts = {
            _HEIC_ADVICE: sum(self.endings[ending] for ending in _HEIC),
            _RAW_ADVICE: sum(self.endings[ending] for ending in _RAW),
            _QUERY_ADVICE: queries,
            _BARE_ADVICE: self.endings[NO_ENDING],
        }
        return [text.format(f"{count:,}") for text, count in counts.items() if count]

    def show(self, observer: Observer) -> None:
        """Show the counts as notes, and the advice as warnings."""
        for line in self.lines():
            observer.note(line[0].upper() + line[1:])
        for line in self.advice():
            observer.warning(line)


def _counted(counts: Counter[str]) -> str:
    shown = [f"{name} {count:,}" for name, count in counts.most_common(_LISTED) if count]
    rest = sum(counts.values()) - sum(count for _, count in counts.most_common(_LISTED))
    return ", ".join([*shown, f"others {rest:,}"] if rest else shown)
