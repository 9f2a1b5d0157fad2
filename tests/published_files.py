"""Tiny CIFAR-10, CIFAR-100 and SVHN in their true on-disk format, and a server to fetch them from.

    written = write_cifar10(root, train_per_class=4, test_per_class=2)
    accept(monkeypatch, root)  # from now on torchvision takes these files for the published ones

Images are noise around one colour a class, so that a network can learn them.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import struct
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.io import savemat

from erde_cli.core.platform.torchvision_import import torchvision_datasets

Images = NDArray[np.uint8]  # [n, 32, 32, 3]
Labels = NDArray[np.int64]  # [n]

CIFAR10_NAMES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
CIFAR100_NAMES = (
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle",
    "bottle", "bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar",
    "cattle", "chair", "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile",
    "cup", "dinosaur", "dolphin", "elephant", "flatfish", "forest", "fox", "girl", "hamster",
    "house", "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion", "lizard", "lobster",
    "man", "maple_tree", "motorcycle", "mountain", "mouse", "mushroom", "oak_tree", "orange",
    "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate", "poppy",
    "porcupine", "possum", "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal",
    "shark", "shrew", "skunk", "skyscraper", "snail", "snake", "spider", "squirrel", "streetcar",
    "sunflower", "sweet_pepper", "table", "tank", "telephone", "television", "tiger", "tractor",
    "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman",
    "worm",
)  # fmt: skip
COARSE_NAMES = (
    "aquatic_mammals", "fish", "flowers", "food_containers", "fruit_and_vegetables",
    "household_electrical_devices", "household_furniture", "insects", "large_carnivores",
    "large_man-made_outdoor_things", "large_natural_outdoor_scenes",
    "large_omnivores_and_herbivores", "medium_mammals", "non-insect_invertebrates", "people",
    "reptiles", "small_mammals", "trees", "vehicles_1", "vehicles_2",
)  # fmt: skip
COARSE = (  # coarse label of each fine one
    4, 1, 14, 8, 0, 6, 7, 7, 18, 3, 3, 14, 9, 18, 7, 11, 3, 9, 7, 11, 6, 11, 5, 10, 7, 6, 13, 15,
    3, 15, 0, 11, 1, 10, 12, 14, 16, 9, 11, 5, 5, 19, 8, 8, 15, 13, 14, 17, 18, 10, 16, 4, 17, 4,
    2, 0, 17, 4, 18, 17, 10, 3, 2, 12, 12, 16, 12, 1, 9, 19, 2, 10, 0, 1, 16, 12, 9, 13, 15, 13,
    16, 19, 2, 4, 6, 19, 5, 5, 8, 19, 18, 1, 2, 15, 6, 0, 17, 8, 14, 13,
)  # fmt: skip
FILES = {
    "cifar10": (
        *(f"cifar-10-batches-py/data_batch_{number}" for number in range(1, 6)),
        "cifar-10-batches-py/test_batch",
        "cifar-10-batches-py/batches.meta",
    ),
    "cifar100": tuple(f"cifar-100-python/{name}" for name in ("train", "test", "meta")),
    "svhn": ("train_32x32.mat", "test_32x32.mat"),
}
EXTRA_FILE = "extra_32x32.mat"


@dataclass(frozen=True)
class Written:
    """Images and labels by split ("train", "test", "extra"), in the order of the files."""

    splits: dict[str, tuple[Images, Labels]]


def make_images(per_class: int, classes: int, seed: int) -> tuple[Images, Labels]:
    """Mix `per_class` images of every class: [n, 32, 32, 3], and their labels."""
    generator = np.random.default_rng(seed)
    colours = np.random.default_rng(99).integers(40, 216, (classes, 1, 1, 3))
    labels = generator.permutation(np.repeat(np.arange(classes), per_class)).astype(np.int64)
    noise = generator.integers(-40, 40, (len(labels), 32, 32, 3), dtype=np.int16)
    return (colours[labels] + noise).astype(np.uint8), labels


def write_cifar10(root: Path, train_per_class: int, test_per_class: int) -> Written:
    """Write `root/cifar-10-batches-py/`."""
    train, test = make_images(train_per_class, 10, 1), make_images(test_per_class, 10, 2)
    folder = _folder(root / "cifar-10-batches-py")
    for number, numbers in enumerate(np.array_split(np.arange(len(train[1])), 5), 1):
        title = f"training batch {number} of 5"
        part = train[0][numbers], train[1][numbers]
        write_pickle(folder / f"data_batch_{number}", cifar10_batch(*part, title))
    write_pickle(folder / "test_batch", cifar10_batch(*test, "testing batch 1 of 1"))
    names = [name.encode() for name in CIFAR10_NAMES]
    meta = {b"num_cases_per_batch": 10000, b"label_names": names, b"num_vis": 3072}
    write_pickle(folder / "batches.meta", meta)
    return Written({"train": train, "test": test})


def write_cifar100(root: Path, train_per_class: int, test_per_class: int) -> Written:
    """Write `root/cifar-100-python/`."""
    train, test = make_images(train_per_class, 100, 3), make_images(test_per_class, 100, 4)
    folder = _folder(root / "cifar-100-python")
    for name, (images, labels) in (("train", train), ("test", test)):
        batch = {
            b"filenames": _filenames(len(labels)),
            b"batch_label": b"training batch 1 of 1",
            b"fine_labels": labels.tolist(),
            b"coarse_labels": [COARSE[label] for label in labels],
            b"data": planes(images),
        }
        write_pickle(folder / name, batch)
    meta = {
        b"fine_label_names": [name.encode() for name in CIFAR100_NAMES],
        b"coarse_label_names": [name.encode() for name in COARSE_NAMES],
    }
    write_pickle(folder / "meta", meta)
    return Written({"train": train, "test": test})


def write_svhn(
    root: Path, train_per_class: int, test_per_class: int, extra_per_class: int = 0
) -> Written:
    """Write `root/train_32x32.mat`, `root/test_32x32.mat` and, if asked for, the extra images."""
    counts = {"train": train_per_class, "test": test_per_class, "extra": extra_per_class}
    splits: dict[str, tuple[Images, Labels]] = {}
    for seed, (split, count) in enumerate(counts.items(), 5):
        if count or split != "extra":
            splits[split] = make_images(count, 10, seed)
            write_mat(_folder(root) / f"{split}_32x32.mat", *splits[split])
    return Written(splits)


WRITERS = {"cifar10": write_cifar10, "cifar100": write_cifar100, "svhn": write_svhn}


def cifar10_batch(images: Images, labels: Labels, title: str) -> dict[bytes, Any]:
    """What one file of CIFAR-10 holds."""
    return {
        b"batch_label": title.encode(),
        b"labels": labels.tolist(),
        b"data": planes(images),
        b"filenames": _filenames(len(labels)),
    }


def planes(images: Images) -> Images:
    """One row an image: 1,024 bytes of red, of green, of blue, each line by line, [n, 3072]."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(images), 3072)


def write_mat(path: Path, images: Images, labels: Labels) -> None:
    """Write a file of SVHN: X [32, 32, 3, n], y [n, 1] with 10 for the digit 0."""
    digits = np.where(labels == 0, 10, labels).astype(np.uint8)[:, None]
    savemat(path, {"X": images.transpose(1, 2, 3, 0), "y": digits}, do_compression=True)


class _Python2Pickler(pickle._Pickler):  # type: ignore[name-defined,misc]
    """Writes bytes as the strings of Python 2, with which CIFAR was pickled."""

    def save_string(self, text: bytes) -> None:
        short = len(text) < 256
        head = pickle.SHORT_BINSTRING if short else pickle.BINSTRING
        self.write(head + struct.pack("<B" if short else "<i", len(text)) + text)
        self.memoize(text)

    dispatch = {**pickle._Pickler.dispatch, bytes: save_string}  # type: ignore[attr-defined] # noqa: RUF012


def write_pickle(path: Path, content: object) -> None:
    """Pickle as Python 2 and the NumPy of 2009 did, protocol 2."""
    buffer = io.BytesIO()
    _Python2Pickler(buffer, protocol=2).dump(content)
    path.write_bytes(
        buffer.getvalue().replace(b"cnumpy._core.multiarray", b"cnumpy.core.multiarray")
    )


def accept(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    """Let torchvision take the files below `root` for the published ones, by their checksums."""
    datasets = torchvision_datasets()
    for kind in (datasets.CIFAR10, datasets.CIFAR100):
        folder = root / kind.base_folder
        for name in ("train_list", "test_list"):
            listed = [[file, _md5(folder / file, md5)] for file, md5 in getattr(kind, name)]
            monkeypatch.setattr(kind, name, listed)
        meta = {**kind.meta, "md5": _md5(folder / kind.meta["filename"], kind.meta["md5"])}
        monkeypatch.setattr(kind, "meta", meta)
    splits = {
        split: [url, file, _md5(root / file, md5)]
        for split, (url, file, md5) in datasets.SVHN.split_list.items()
    }
    monkeypatch.setattr(datasets.SVHN, "split_list", splits)


def _md5(path: Path, otherwise: str) -> str:
    return md5_of_bytes(path.read_bytes()) if path.is_file() else otherwise


def md5_of_bytes(content: bytes | bytearray) -> str:
    """MD5, 32 hexadecimal digits."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def packed(folder: Path) -> bytes:
    """A folder as a .tar.gz."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        tar.add(folder, arcname=folder.name)
    return buffer.getvalue()


@dataclass
class Server:
    """An HTTP server on this machine: what it gives, by path, and what it was asked for."""

    address: str
    content: dict[str, bytes]
    asked: list[str]


@contextmanager
def serving(**options: float) -> Iterator[Server]:
    """Serve `content`; `cut` bytes of every answer are left out, `silence` seconds come first."""
    content: dict[str, bytes] = {}
    asked: list[str] = []
    stop = threading.Event()

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *arguments: object) -> None:
            pass  # torchvision looks for redirections first, and hangs up before the body

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            stop.wait(options.get("silence", 0))
            found = content.get(self.path)
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Length", str(len(found or b"")))
            self.end_headers()
            self.wfile.write((found or b"")[: len(found or b"") - int(options.get("cut", 0))])

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            pass

    server = Quiet(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield Server(f"http://127.0.0.1:{server.server_port}", content, asked)
    finally:
        stop.set()
        server.shutdown()
        server.server_close()
        thread.join()


def publish(monkeypatch: pytest.MonkeyPatch, server: Server, root: Path) -> None:
    """Serve the files below `root` at the addresses that torchvision's classes name."""
    accept(monkeypatch, root)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    datasets = torchvision_datasets()
    for kind in (datasets.CIFAR10, datasets.CIFAR100):
        if (root / kind.base_folder).is_dir():
            archive = packed(root / kind.base_folder)
            server.content[f"/{kind.filename}"] = archive
            monkeypatch.setattr(kind, "url", f"{server.address}/{kind.filename}")
            monkeypatch.setattr(kind, "tgz_md5", md5_of_bytes(archive))
    splits = {}
    for split, (url, file, md5) in datasets.SVHN.split_list.items():
        splits[split] = [f"{server.address}/{file}", file, md5]
        if (root / file).is_file():
            server.content[f"/{file}"] = (root / file).read_bytes()
        else:
            splits[split][0] = url
    monkeypatch.setattr(datasets.SVHN, "split_list", splits)


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


def _filenames(count: int) -> list[bytes]:
    return [f"image_s_{number:06}.png".encode() for number in range(count)]
