"""A real Chromium for tests of pages: the system's own, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
MODES = [(size, scheme) for size in (WIDE, NARROW) for scheme in ("light", "dark")]


def skip_without(what: str) -> None:
    """Skip the test, since `what` is missing; with CI=true that is a failure."""
    reason = f"{what} is not installed: apt-get install chromium, pip install '.[dev]'"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def started_browser() -> Iterator[Any]:
    """The browser; without it the test is skipped."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        skip_without("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        skip_without("playwright")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program)
        yield browser
        browser.close()


@dataclass
class Opened:
    """A page, and all that it did and must not do."""

    page: Any
    faults: list[str] = field(default_factory=list)

    def text(self, selector: str) -> str:
        """Text of an element as it is shown."""
        return str(self.page.locator(selector).inner_text())

    def unfold(self) -> None:
        """Open all that is folded."""
        self.page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true })")

    def violations(self) -> list[str]:
        """What axe finds wrong, with everything unfolded; it also cuts long tables and lists.

        Their rows are alike, and axe takes a minute for a thousand of them.
        """
        from axe_playwright_python.sync_playwright import Axe

        self.unfold()
        many = "tbody tr:nth-child(n + 4), .thumbs li:nth-child(n + 3)"
        self.page.evaluate(f"document.querySelectorAll('{many}').forEach((one) => one.remove())")
        found = Axe().run(self.page).response["violations"]
        return [f"{one['id']}: {node['html'][:300]}" for one in found for node in one["nodes"]]

    def overflow(self) -> int:
        """Pixels by which the page is wider than the window."""
        root = "document.documentElement"
        return int(self.page.evaluate(f"{root}.scrollWidth - {root}.clientWidth"))


LISTEN = "addEventListener('securitypolicyviolation', (e) => console.error(e.violatedDirective))"


@contextmanager
def opened(browser: Any, path: Path, **settings: Any) -> Iterator[Opened]:
    """A file in a window of its own; what it requests, logs, throws or asks is a fault."""
    context = browser.new_context(**{"viewport": WIDE, **settings})
    context.set_default_timeout(10_000)
    page = context.new_page()
    shown = Opened(page)
    uri = path.resolve().as_uri()

    def note(kind: str) -> Callable[[Any], None]:
        return lambda event: shown.faults.append(f"{kind}: {getattr(event, 'text', event)}")

    def requested(request: Any) -> None:
        if request.url != uri and not request.url.startswith("data:"):
            shown.faults.append(f"request: {request.url}")

    def asked(dialog: Any) -> None:
        shown.faults.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    page.add_init_script(LISTEN)
    page.on("request", requested)
    page.on("console", note("console"))
    page.on("pageerror", note("error"))
    page.on("dialog", asked)
    page.goto(uri)
    yield shown
    context.close()
