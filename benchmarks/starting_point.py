"""Measure the table for first recipes: trained images per second of each pair of networks.

python -m benchmarks.starting_point [--photos] [--repeats 5] [--threads 2] [--precision float32]
                                    [--json]

Images have 32 x 32 pixels, batches 128 images, and the end of an epoch is included. The table is
`SPEEDS` in `erde_cli/core/recipe/starting_point.py`. Set ONEDNN_MAX_CPU_ISA=AVX2
ATEN_CPU_CAPABILITY=avx2 for a processor without AVX512. --photos measures `PHOTO_SPEEDS` in
`photo_starting_point.py` by the recipe pretrained-photos on 300 x 256 pixels of noise.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from benchmarks.measure import arguments, print_results, show, spread
from erde_cli.core.data.opening import open_dataset
from erde_cli.core.platform.allocator import keep_freed_memory
from erde_cli.core.recipe.loading import load_recipe, recipe_from
from erde_cli.core.recipe.photo_starting_point import PHOTO_SPEEDS
from erde_cli.core.recipe.schema import ROLES, Recipe
from erde_cli.core.recipe.starting_point import PAIRS, SPEEDS, Pair
from erde_cli.core.workflows.first_recipe import machine_of
from erde_cli.core.workflows.kept import Networks
from erde_cli.core.workflows.options import Options
from erde_cli.core.workflows.plan import Plan, plan_run

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
    plan, images = _planned(recipe, threads)
    return [images / (plan.roles[role].seconds_per_epoch or 0.0) for role in ROLES]


def photos_per_second(folder: Path, precision: str, threads: int | None) -> list[float]:
    """Photos per second of the teacher, of a student's step without it, and of the student."""
    alone = ["distillation.method=cross_entropy"]  # steps of the student without its teacher
    alone += [f"training.{role}.precision={precision}" for role in ROLES]
    of_heads = [f"training.student.{key}=null" for key in ("heads_first", "stage_rates")]
    of_heads += ["training.student.train=heads", "distillation.teacher_cache.views=null"]
    trained, heads = (
        _planned(load_recipe("pretrained-photos", [f"data.root={folder}", *alone, *more]), threads)
        for more in ([], of_heads)
    )
    images = trained[1]
    return [
        images / trained[0].roles["teacher"].seconds_of_features,
        images / (trained[0].roles["student"].seconds_per_epoch or 0.0),
        images / heads[0].roles["student"].seconds_of_features,
    ]


def _planned(recipe: Recipe, threads: int | None) -> tuple[Plan, int]:
    """The plan of a recipe, and its number of train images."""
    dataset = open_dataset(recipe.data)
    plan = plan_run(Networks(recipe, Path("nowhere"), dataset), Options("auto", threads))
    return plan, len(dataset.splits["train"])


def _print_photos(kind: str, precision: str, threads: int | None, repeats: int, json: bool) -> None:
    generator = np.random.default_rng(0)
    with TemporaryDirectory() as name:
        for number in range(512):
            path = Path(name) / f"class{number % 2}" / f"{number}.jpg"
            path.parent.mkdir(exist_ok=True)
            pixels = generator.integers(0, 256, (256, 300, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path)
        found = [photos_per_second(Path(name), precision, threads) for _ in range(repeats)]
    names = ("teacher", "step of the student", "student")
    speeds = [spread(one) for one in zip(*found, strict=True)]
    rows = [
        [name, show(one, 0), f"{written:,}"]
        for name, one, written in zip(names, speeds, PHOTO_SPEEDS[kind], strict=True)
    ]
    document = {"kind": kind, **dict(zip(names, speeds, strict=True))}
    columns = ["network", "measured", "in the table"]
    print_results(f"Photos per second, {kind}", columns, rows, json, document)


def main() -> None:
    """Print this machine's row of the table next to the stored one."""
    given = arguments(__doc__ or "", precision={"default": "auto"}, photos={"action": "store_true"})
    keep_freed_memory()
    kind = machine_of(Options("auto", given.threads).context("float32")).kind
    kind = "avx512" if (kind, given.precision) == ("avx512-bf16", "float32") else kind
    if given.photos:
        _print_photos(kind, given.precision, given.threads, given.repeats, given.json)
        return
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
