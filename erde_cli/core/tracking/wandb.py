"""Weights & Biases: online if the user is logged in, else a folder that can be uploaded later."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from erde_cli.core.events import Role, Status
from erde_cli.core.storage.files import make_folder
from erde_cli.core.tracking.contents import Parameter
from erde_cli.core.tracking.listener import TrackerListener, WorkedOn

if TYPE_CHECKING:
    from erde_cli.core.arrays import ImageArray

_SECONDS = 30.0  # to wait for the server at the start
# What W&B would collect by itself: code, git, the console, the machine, the packages.
PRIVATE: dict[str, Any] = {
    "console": "off",
    "disable_code": True,
    "disable_git": True,
    "disable_job_creation": True,
    "save_code": False,
    "x_save_requirements": False,
    "x_disable_machine_info": True,
    "x_disable_meta": True,
    "x_disable_stats": True,
    "host": "",
    "username": "",
    "email": "",
    "program": "",
    "program_relpath": "",
    "program_abspath": "",
}


class WandB(TrackerListener):
    """Writes to Weights & Biases: one project for each recipe, one run for each run."""

    _run: Any

    def begin(self, on: WorkedOn, earlier: str | None) -> str:
        """Begin a run, or continue the one with the same ID."""
        os.environ["WANDB_ERROR_REPORTING"] = "false"
        os.environ.setdefault("WANDB_SILENT", "true")
        if self.destination.shown:
            os.environ["WANDB_BASE_URL"] = self.destination.shown
        import wandb

        folder = self.root.resolve() / "logs"
        make_folder(folder)
        mode, key = self._mode(wandb)
        name = earlier or secrets.token_hex(4)
        settings = wandb.Settings(
            silent=True, init_timeout=_SECONDS, **PRIVATE, **({"api_key": key} if key else {})
        )
        self._run = wandb.init(
            project=re.sub(r"[^\w.-]", "-", on.project), id=name, name=on.label, dir=str(folder),
            config=dict(on.parameters), mode=mode, settings=settings, resume="allow",
            reinit="create_new",
        )  # fmt: skip
        for role in ("teacher", "student"):
            self._run.define_metric(f"{role}/*", step_metric=f"{role}/epoch")
        if self._run.offline:
            self._tell_offline(again=earlier is not None)
        return name

    def begin_role(self, role: Role, epoch: int, setting: Mapping[str, Parameter]) -> None:
        """Add device and versions to the configuration."""
        given = {f"{role}.{name}": value for name, value in setting.items()}
        self._run.config.update(given, allow_val_change=True)

    def send_epoch(self, role: Role, epoch: int, figures: Mapping[str, float]) -> None:
        """Log the figures of an epoch."""
        values = {f"{role}/{name}": value for name, value in figures.items()}
        self._run.log({f"{role}/epoch": epoch, **values})

    def send_figures(self, figures: Mapping[str, float]) -> None:
        """Set figures of results in the summary."""
        self._run.summary.update(dict(figures))

    def send_picture(self, name: str, pixels: ImageArray) -> None:
        """Log a picture."""
        import wandb

        self._run.log({name: wandb.Image(pixels)})

    def end(self, status: Status) -> None:
        """Finish the run."""
        self._run.finish(exit_code=0 if status == "finished" else 1)

    def _mode(self, wandb: Any) -> tuple[Literal["online", "offline"] | None, str]:
        """The mode (None: that of $WANDB_MODE), and the key in the address."""
        key = self.destination.password or self.destination.user
        if os.environ.get("WANDB_MODE"):
            return None, key
        if key or wandb.login(prompt=False, verify=False):
            return "online", key
        return "offline", key

    def _tell_offline(self, *, again: bool) -> None:
        folder = self.root / "logs" / "wandb"
        second = (
            " The run goes on in another folder with the same ID, and the command uploads both "
            "in order."
            if again
            else ""
        )
        self.tell(
            f"Weights & Biases writes to {folder} only, because you are not logged in or chose "
            f"this. To upload it: cd {folder.parent} && wandb sync.{second}"
        )
