"""Measure the table for first recipes: trained images per second of each pair of networks.

python -m benchmarks.starting_point [--repeats 5] [--threads 2] [--precision float32] [--json]

Images have 32 x 32 pixels, batches 128 images, and the end of an epoch is included. The table is
`SPEEDS` in `erde_cli/core/recipe/starting_point.py`. Set ONEDNN_MAX_CPU_ISA=AVX2
ATEN_CPU_CAPABILITY=avx2 for a processor without AVX512.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.measure import arguments, print_results, show, spread
from erde_cli.core.data.dataset import open_dataset
from erde_cli.core.platform.allocator import keep_freed_memory
from erde_cli.core.recipe.loading import recipe_from
from erde_cli.core.recipe.schema import ROLES
from erde_cli.core.recipe.starting_point import PAIRS, SPEEDS, Pair
from erde_cli.core.workflows.first_recipe import machine_of
from erde_cli.core.workflows.kept import Networks
from erde_cli.core.workflows.options import Options
from erde_cli.core.workflows.plan import plan_run

_RECIPE = """\
data: {{dataset: digits, image_size: 32}}
teacher: {{{pair.teacher}, exits: 3}}
student: {{{pair.student}, exits: 3}}
training:
  teacher: {{epochs: 1, batch_size: 128, precision: {precision}}}
  student: {{epochs: 1, batch_size: 128, precision: {precision}}}
"""


def images_per_second(pair: Pair, precision: str, threads: int | None) -> list[float]:
    """Trained images per second of teacher and student."""
    recipe = recipe_from(_RECIPE.format(pair=pair, precision=precision), Path("table.yaml"))
    dataset = open_dataset(recipe.data)
    plan = plan_run(Networks(recipe, Path("nowhere"), dataset), Options("auto", threads))
    images = len(dataset.splits["train"])
    return [images / (plan.roles[role].seconds_per_epoch or 0.0) for role in ROLES]


def main() -> None:
    """Print this machine's row of the table next to the stored one."""
    given = arguments(__doc__ or "", precision={"default": "auto"})
    keep_freed_memory()
    kind = machine_of(Options("auto", given.threads).context("float32")).kind
    kind = "avx512" if (kind, given.precision) == ("avx512-bf16", "float32") else kind
    rows, document = [], {}
    for pair in PAIRS:
        found = [
            images_per_second(pair, given.precision, given.threads) for _ in range(given.repeats)
        ]
        speeds = [spread(one) for one in zip(*found, strict=True)]
        written = SPEEDS[kind][pair.name]
        rows.append(
            [pair.name, *(show(one, 0) for one in speeds), *(f"{one:,}" for one in written)]
        )
        document[pair.name] = dict(zip(ROLES, speeds, strict=True))
    columns = ["pair", "teacher", "student", "teacher in the table", "student in the table"]
    print_results(
        f"Images per second, {kind}", columns, rows, given.json, {"kind": kind, **document}
    )


if __name__ == "__main__":
    main()
