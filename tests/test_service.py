"""The web service of docs/predict.md: the very listing, asked with good and with bad images."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from erde_cli import Bundle

ROOT = Path(__file__).parents[1]


@dataclass
class Service:
    client: TestClient
    names: dict[str, Any]

    @property
    def model(self) -> Bundle:
        model = self.names["model"]
        assert isinstance(model, Bundle)
        return model

    def post(self, content: Any) -> tuple[int, Any]:
        answer = self.client.post("/predict", content=content)
        return answer.status_code, answer.json()


@pytest.fixture(scope="module")
def service(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    page = (ROOT / "docs/predict.md").read_text()
    [listing] = [
        block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "FastAPI" in block
    ]
    assert len(listing.splitlines()) <= 20
    here = tmp_path_factory.mktemp("service")
    shutil.copytree(finished_run, here / "runs/digits")
    names: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        exec(compile(listing, "docs/predict.md", "exec"), names)  # noqa: S102
        with TestClient(names["app"]) as client:
            yield Service(client, names)


def picture(kind: str, grey: int = 0) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(grey).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def expected(service: Service, content: bytes) -> tuple[int, dict[str, Any]]:
    [found] = service.model.predict(content)
    return 200, {"class": found.class_name, "confidence": found.confidence, "exit": found.exit}


BAD = {
    "nothing": b"", "a text": b"no image", "half a JPEG": picture("JPEG")[:600],
    "half a PNG": picture("PNG")[:600], "a form": b"--x\r\nContent-Disposition: form-data\r\n",
}  # fmt: skip


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_an_image_is_answered(service: Service, kind: str) -> None:
    assert service.post(picture(kind)) == expected(service, picture(kind))


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_image_is_the_callers_error(service: Service, name: str) -> None:
    code, answer = service.post(BAD[name])
    assert code == 422
    assert "cannot be read as an image" in answer["detail"]
    assert "\n" not in answer["detail"]


def test_a_body_above_the_limit_is_not_read_to_its_end(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = picture("PNG")
    monkeypatch.setitem(service.names, "LARGEST", len(content))
    assert service.post(content)[0] == 200
    for body in (content + b"\0", iter([content, b"\0"])):  # also where no length is told
        code, answer = service.post(body)
        assert code == 413
        assert f"{len(content):,} bytes" in answer["detail"]


def test_eight_threads_ask_at_once(service: Service) -> None:
    images = [picture("PNG", number) for number in range(8)]
    answers = [expected(service, image) for image in images]

    def ask(number: int) -> None:
        for turn in range(6):
            at = (number + turn) % 8
            assert service.post(images[at]) == answers[at]
            if turn == 3:
                assert service.post(images[at][:700])[0] == 422

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(8)))
