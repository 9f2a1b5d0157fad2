"""Files in folders of images that are no images for erde: counted, and named with what to do."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from erde_cli.core.events import Observer

# What file managers, NAS systems and notebooks leave among photos: thumbnails and copies of them.
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
_LISTED = 10  # names in a line

_HEIC_ADVICE = (
    "HEIC and HEIF files are not read ({}): convert them, for instance with heif-convert of the "
    "package libheif-examples: heif-convert photo.heic photo.jpg"
)
_RAW_ADVICE = "Raw files of cameras are not read ({}): export them as JPEG, PNG or TIFF"
_QUERY_ADVICE = (
    "Files whose names go on after a ? are not read ({}): where they are downloaded images, give "
    "them names that end in .jpg, .png or another ending of images"
)
_BARE_ADVICE = (
    "Files without an ending are not read ({}): where they are images, give them one, such as .jpg"
)


def is_system_folder(name: str) -> bool:
    """Whether a folder of this name holds what a system made, and no images of the user's."""
    return name.lower() in _SYSTEM


@dataclass
class PassedOver:
    """What a listing left out.

    endings: files by the ending of their names. system: image files in folders of systems, by the
    name of the folder. hidden: files and folders whose names start with a dot. outside: image files
    that lie in no folder of a class. unused: names next to train/ that are no split.
    """

    endings: Counter[str] = field(default_factory=Counter)
    system: Counter[str] = field(default_factory=Counter)
    hidden: int = 0
    outside: int = 0
    unused: list[str] = field(default_factory=list)

    def add_file(self, name: str) -> None:
        """Count a file that has not the ending of an image."""
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
        """Count what another listing left out as well."""
        self.endings += other.endings
        self.system += other.system
        self.hidden += other.hidden
        self.outside += other.outside
        self.unused += other.unused

    def to_json(self) -> dict[str, Any]:
        """Form in `--json`."""
        return {
            "endings": dict(self.endings.most_common()),
            "system_folders": dict(self.system.most_common()),
            "hidden": self.hidden,
            "outside_classes": self.outside,
            "unused": self.unused,
        }

    def lines(self) -> list[str]:
        """A line for each kind that there is."""
        lines = []
        if self.endings:
            lines.append(f"not read, by ending: {_counted(self.endings)}")
        if self.system:
            lines.append(f"images in folders of systems, left out: {_counted(self.system)}")
        if self.hidden:
            lines.append(f"hidden files and folders, left out: {self.hidden:,}")
        if self.outside:
            lines.append(f"images in no folder of a class, left out: {self.outside:,}")
        if self.unused:
            more = ["…"] if len(self.unused) > _LISTED else []
            lines.append(f"next to train, not used: {', '.join(self.unused[:_LISTED] + more)}")
        return lines

    def advice(self) -> list[str]:
        """What to do about files that are likely to be photos."""
        queries = sum(count for ending, count in self.endings.items() if ending.endswith(QUERY))
        counts = {
            _HEIC_ADVICE: sum(self.endings[ending] for ending in _HEIC),
            _RAW_ADVICE: sum(self.endings[ending] for ending in _RAW),
            _QUERY_ADVICE: queries,
            _BARE_ADVICE: self.endings[NO_ENDING],
        }
        return [text.format(f"{count:,}") for text, count in counts.items() if count]

    def show(self, observer: Observer) -> None:
        """Show what was left out, and what to do about what is likely to be photos."""
        for line in self.lines():
            observer.note(line[0].upper() + line[1:])
        for line in self.advice():
            observer.warning(line)


def _counted(counts: Counter[str]) -> str:
    shown = [f"{name} {count:,}" for name, count in counts.most_common(_LISTED) if count]
    rest = sum(counts.values()) - sum(count for _, count in counts.most_common(_LISTED))
    return ", ".join([*shown, f"others {rest:,}"] if rest else shown)
