"""On NVIDIA GPUs: one process for each, `nccl` between them. Skipped without one.

What needs no GPU runs on the CPU as well.
"""

import json
import os
import socket
import subprocess
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, multiprocessing, nn

from erde_cli.core.data.augmentation import AugmentationPlan
from erde_cli.core.data.batches import Batches
from erde_cli.core.data.normalisation import Normalisation
from erde_cli.core.data.store import ImageStore
from erde_cli.core.data.views import StoreViews
from erde_cli.core.models.architecture import Architecture, build_model
from erde_cli.core.models.early_exit import EarlyExitNet
from erde_cli.core.processes.engine import ALONE
from erde_cli.core.processes.environment import Place
from erde_cli.core.processes.torchrun import Torchrun
from erde_cli.core.recipe.sections.training import Training
from erde_cli.core.training.loop import train_step
from erde_cli.core.training.losses import label_terms
from erde_cli.core.training.objectives import SumOfTerms
from erde_cli.core.training.state import TrainState
from erde_cli.core.workflows.options import Options

GPUS = torch.cuda.device_count()
STEPS, SHARE = 4, 4  # SHARE: images of a process in a step
NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
CUDA = [pytest.mark.cuda, NEEDS_GPU]


class Job(NamedTuple):
    """A short training. device: of every process. processes: how many. norms: with or without."""

    device: str
    processes: int
    norms: bool

    @property
    def settings(self) -> Training:
        return Training(
            epochs=1,
            batch_size=SHARE * self.processes,
            gradient_clipping=None,  # it would hide a wrong factor
            precision="float32",
            sync_batch_norm=self.norms,
        )


def network(norms: bool) -> EarlyExitNet:
    if norms:
        return build_model(Architecture("resnet", 8, 4, (1, 2), "gap", 4, 8), 1)
    torch.manual_seed(1)
    stage = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    return EarlyExitNet([stage], [nn.Sequential(nn.Flatten(), nn.Linear(144, 4))], 4)


def trained(job: Job, engine: Torchrun | None) -> dict[str, Tensor]:
    """The state of a network after STEPS steps; `engine` is that of this process."""
    settings, options = job.settings, Options(job.device, 1, engine=engine or ALONE)  # type: ignore[arg-type]
    context = options.training_context(settings)
    model = network(job.norms)
    context.place(model)
    state = TrainState(model, settings)
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(settings.batch_size * STEPS) % 4
    pixels = torch.randint(0, 256, (len(labels), 8, 8, 3), generator=generator).to(torch.uint8)
    views = StoreViews(
        ImageStore(pixels, labels, np.arange(len(labels))),
        AugmentationPlan(1, flip=True, cutout=0),
    )
    pixels_as = Normalisation((0.5,) * 3, (0.25,) * 3)
    batches = Batches(views, pixels_as, settings.batch_size, 5, context)
    objective = SumOfTerms(label_terms(), torch.ones(model.exit_count, device=context.device))
    state.begin_epoch(0)
    exact = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
    with warnings.catch_warnings(action="ignore"), exact:  # of operators that add in any order
        for batch in batches.epoch(0, 0):
            train_step(state, batch, objective, settings, 0.1, context)
            state.step += 1
    return {name: tensor.cpu() for name, tensor in model.state_dict().items()}


def process(rank: int, port: int, job: Job, folder: str) -> None:
    """What each process does: train, and keep its state."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    engine = Torchrun(Place(rank, job.processes, rank, "127.0.0.1", port))
    engine.connect({}, print)
    torch.save(trained(job, engine), Path(folder, f"{rank}.pt"))
    engine.meet()
    engine.leave()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.mark.parametrize(
    "job",
    [
        Job("cpu", 2, norms=False),
        pytest.param(Job("cuda", max(1, GPUS), norms=False), marks=CUDA),
        pytest.param(Job("cuda", max(1, GPUS), norms=True), marks=CUDA),
    ],
    ids=["cpu", "cuda", "cuda with synchronised norms"],
)
def test_processes_train_as_one_with_the_whole_batch(job: Job, tmp_path: Path) -> None:
    multiprocessing.spawn(process, (free_port(), job, str(tmp_path)), job.processes)  # type: ignore[no-untyped-call]
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(job.processes)]
    alone = trained(job, None)
    start = network(job.norms).state_dict()
    for name, tensor in alone.items():
        assert all(torch.equal(other[name], found[0][name]) for other in found), name
        torch.testing.assert_close(found[0][name], tensor, rtol=1e-4, atol=1e-5)
        assert not torch.equal(tensor, start[name]), name


def erde(*arguments: object, processes: int = 1) -> subprocess.CompletedProcess[str]:
    """A command in processes of its own, without what the tests set."""
    several = ["-m", "torch.distributed.run", "--nproc-per-node", processes]
    start = [*several, "--master-port", free_port()] if processes > 1 else []
    line = [sys.executable, *start, "-m", "erde_cli", *arguments, "--device", "cuda"]
    return subprocess.run(
        [str(part) for part in line], capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.cuda
@NEEDS_GPU
def test_a_run_on_a_gpu_in_bfloat16(tiny_recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    chosen = [f"training.{role}.precision=bfloat16" for role in ("teacher", "student")]
    done = erde("run", tiny_recipe, "--out", run, "--set", chosen[0], "--set", chosen[1], "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["student"]
    context = json.loads((run / "logs" / "student" / "context.json").read_text())
    assert (context["device"], context["precision"]) == ("cuda", "bfloat16")
    rows = (run / "logs" / "teacher" / "metrics.jsonl").read_text().splitlines()
    losses = [json.loads(row)["loss"] for row in rows]
    assert losses[-1] < losses[0]


@pytest.mark.cuda
@NEEDS_GPU
def test_more_processes_than_gpus_end_with_one_sentence(tiny_recipe: Path, tmp_path: Path) -> None:
    done = erde("run", tiny_recipe, "--out", tmp_path / "run", processes=GPUS + 1)
    assert done.returncode != 0
    assert done.stderr.count("Error: ") == 1, done.stderr
    assert f"There is no GPU for rank {GPUS}" in done.stderr
