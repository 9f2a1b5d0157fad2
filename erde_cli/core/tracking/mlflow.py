"""MLflow: a database in the run folder, or a tracking server."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from erde_cli.core.events import Role, Status
from erde_cli.core.storage.files import make_folder
from erde_cli.core.tracking.contents import Parameter
from erde_cli.core.tracking.listener import TrackerListener, WorkedOn

if TYPE_CHECKING:
    from erde_cli.core.arrays import ImageArray

_STATUS = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
_MOST = 100  # parameters in one request
_SQLITE = "sqlite:///"
# No usage statistics, no lines on stdout, and no minutes of waiting for a server that is away.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}


class MLflow(TrackerListener):
    """Writes to MLflow by its client: one experiment for each recipe, one run for each run."""

    _client: Any
    _run = ""

    def begin(self, on: WorkedOn, earlier: str | None) -> str:
        """Create a run with the recipe as parameters, or open the earlier one."""
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient
        from mlflow.entities import Param

        for name in ("mlflow", "alembic", "urllib3"):  # they could show an address
            logging.getLogger(name).setLevel(logging.CRITICAL)
        address = self._address()
        self._client = MlflowClient(tracking_uri=address)
        if earlier is not None and self._has(earlier):
            self._run = earlier
            self._client.update_run(self._run, status="RUNNING")
            return self._run
        run = self._client.create_run(self._experiment(on.project, address), run_name=on.label)
        self._run = run.info.run_id
        given = [Param(name, str(value)) for name, value in on.parameters.items()]
        for first in range(0, len(given), _MOST):
            self._client.log_batch(self._run, params=given[first : first + _MOST])
        return self._run

    def begin_role(self, role: Role, epoch: int, setting: Mapping[str, Parameter]) -> None:
        """Set tags, which can change when a training resumes."""
        for name, value in setting.items():
            self._client.set_tag(self._run, f"{role}.{name}", value)

    def send_epoch(self, role: Role, epoch: int, figures: Mapping[str, float]) -> None:
        """Log the figures of an epoch."""
        self._log({f"{role}/{name}": value for name, value in figures.items()}, epoch)

    def send_figures(self, figures: Mapping[str, float]) -> None:
        """Log figures of results."""
        self._log(figures, 0)

    def send_picture(self, name: str, pixels: ImageArray) -> None:
        """Keep a picture as a file."""
        folder, _, stem = name.rpartition("/")
        with tempfile.TemporaryDirectory() as temporary:
            path = Path(temporary, f"{stem}.png")
            Image.fromarray(pixels).save(path)
            self._client.log_artifact(self._run, str(path), artifact_path=folder or None)

    def send_file(self, path: Path) -> None:
        """Keep a file."""
        self._client.log_artifact(self._run, str(path))

    def end(self, status: Status) -> None:
        """Set the status of the run."""
        self._client.set_terminated(self._run, _STATUS[status])

    def _has(self, run: str) -> bool:
        """Whether a run is there; the user can have deleted it or the database."""
        from mlflow.exceptions import MlflowException

        try:
            return bool(self._client.get_run(run).info.lifecycle_stage == "active")
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise

    def _log(self, figures: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = round(1000 * time.time())
        metrics = [Metric(name, value, now, step) for name, value in figures.items()]
        self._client.log_batch(self._run, metrics=metrics)

    def _address(self) -> str:
        """Address of the store; a user and password go where MLflow reads them for each request."""
        given = self.destination
        if not given.full:
            folder = self.root.resolve() / "logs"
            make_folder(folder)
            return f"{_SQLITE}{folder / 'mlflow.db'}"
        if not given.full.startswith(("http://", "https://")):
            return given.full
        if given.password:
            os.environ["MLFLOW_TRACKING_USERNAME"] = given.user
            os.environ["MLFLOW_TRACKING_PASSWORD"] = given.password
        elif given.user:
            os.environ["MLFLOW_TRACKING_TOKEN"] = given.user
        return given.shown

    def _experiment(self, name: str, address: str) -> str:
        """ID of the experiment, which is created if there is none of this name."""
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        files = None
        if address.startswith(_SQLITE):  # MLflow's default is the current folder
            database = Path(address.removeprefix(_SQLITE))
            files = str(database.resolve().with_name("mlflow-files"))
        return str(self._client.create_experiment(name, artifact_location=files))
