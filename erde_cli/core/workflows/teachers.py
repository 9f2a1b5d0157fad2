"""The teacher of a student: load it, check that it fits, and get its logits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from erde_cli.core.arrays import BoolArray
from erde_cli.core.bundle.bundle import Bundle, opened
from erde_cli.core.bundle.document import read_bundle_document
from erde_cli.core.data.batches import Batch, Batches
from erde_cli.core.data.dataset import Dataset
from erde_cli.core.data.folders import FolderSource
from erde_cli.core.data.store import ImageStore
from erde_cli.core.device import Context
from erde_cli.core.errors import BundleError
from erde_cli.core.images.pixels import PixelRules
from erde_cli.core.inference.answers import answer_all, ready
from erde_cli.core.recipe.packages import library_version
from erde_cli.core.recipe.schema import Recipe, even_pairing
from erde_cli.core.storage.json_files import Json
from erde_cli.core.training.teacher_logits import CachedLogits, ComputedLogits
from erde_cli.core.workflows.options import Options
from erde_cli.core.workflows.view_caches import context_key, open_cache, pixels_key


def teacher_section(path: Path) -> Json:
    """Teacher section of a recipe that describes a teacher's bundle."""
    architecture = read_bundle_document(path).architecture
    section = architecture.model_dump(exclude={"cuts", "classes", "image_size"})
    return {**section, "exits": architecture.cuts}


def load_teacher(recipe: Recipe, teacher: Bundle | Path) -> Bundle:
    """Load the teacher of a recipe, and check that it fits.

    Raises:
        BundleError: it does not exist, or its image size or exits do not fit.
    """
    path = teacher.path if isinstance(teacher, Bundle) else teacher
    if not path.exists():
        raise BundleError(
            f"There is no teacher at {path}.",
            expected="the bundle of a trained teacher",
            hint=f"train one with: erde train-teacher {recipe.name} --out {path.parent}, "
            "or give one with --teacher BUNDLE",
        )
    teacher = opened(teacher)
    exits = teacher.model.exit_count
    if teacher.image_size != recipe.data.image_size:
        raise BundleError(
            f"The teacher {path} takes images of {teacher.image_size} pixels.",
            expected=f"data.image_size = {recipe.data.image_size}",
            hint=f"type --set data.image_size={teacher.image_size}, or train another teacher",
        )
    if recipe.distillation.pairing is None and exits != recipe.student.exit_count:
        raise BundleError(
            f"The teacher {path} has {exits} exits, the student {recipe.student.exit_count}.",
            expected="the same number, or distillation.pairing",
            hint="give it with --teacher, and a teacher exit (from 0) for each student exit, "
            f"such as --set distillation.pairing={even_pairing(recipe.student.exit_count, exits)}",
        )
    if max(recipe.pairing) >= exits:
        raise BundleError(
            f"The teacher {path} has {exits} exits.",
            got=f"distillation.pairing = {recipe.pairing}",
            expected=f"numbers from 0 to {exits - 1}",
            hint="give existing exits with --set distillation.pairing=[...]",
        )
    return teacher


def teacher_correct(
    teacher: Bundle, recipe: Recipe, store: ImageStore, context: Context
) -> BoolArray:
    """Whether the teacher's paired exits are right, bool [images, student's exits]."""
    answers = answer_all(ready(teacher.model, context), store, teacher.normalisation, context)
    return answers.correct[:, recipe.pairing]


def check_splits(teacher: Bundle, dataset: Dataset) -> None:
    """Check that a teacher was trained on these splits, and so not on calibration images.

    Raises:
        BundleError: it was trained on other classes, images, splits or pixels.
    """
    if teacher.class_names != dataset.class_names:
        raise BundleError(
            f"The classes of the teacher {teacher.path} are not those of the images.",
            got=", ".join(teacher.class_names[:10]),
            expected=", ".join(dataset.class_names[:10]),
            hint="give another teacher with --teacher, or train one on these images",
        )
    if teacher.document.split_fingerprint != dataset.fingerprint:
        raise BundleError(
            f"The teacher {teacher.path} was trained on other images or splits. It may have been "
            "trained on calibration images.",
            got=f"split fingerprint {teacher.document.split_fingerprint[:12]}",
            expected=f"split fingerprint {dataset.fingerprint[:12]}",
            hint="use the same data and data.split_seed, or train the teacher again",
        )
    _check_pixels(teacher, dataset)


def _check_pixels(teacher: Bundle, dataset: Dataset) -> None:
    """Check that a teacher was trained on the same pixels, if files can be read in several ways."""
    source = dataset.source
    if not isinstance(source, FolderSource):
        return
    traits = source.decoded.traits
    got, wanted = (_settings(rules) for rules in (teacher.document.rules, source.rules))
    unused = {"transparent": not traits.transparent, "bit_depth": not traits.deep}
    keys = [key for key in wanted if got[key] != wanted[key] and not unused.get(key)]
    if keys:
        other = [f"data.{key}={got[key]}" for key in keys]
        raise BundleError(
            f"The teacher {teacher.path} was trained with other settings for reading the files.",
            got=", ".join(other),
            expected=", ".join(f"data.{key}={wanted[key]}" for key in keys),
            hint=f"type --set {' --set '.join(other)}, or train the teacher again",
        )


def _settings(rules: PixelRules) -> Json:
    """Keys of the section `data` that affect pixels, and their values as YAML."""
    return {
        "transparent": rules.transparent,
        "bit_depth": rules.bit_depth or 16,
        "resize": rules.resize,
        "crop_share": rules.crop_share or "null",
        "interpolation": rules.interpolation,
    }


def teacher_logits(
    teacher: Bundle,
    recipe: Recipe,
    fingerprint: str,
    context: Context,
    options: Options,
    batches: Batches,
    seed: int,
) -> Callable[[Batch], Tensor]:
    """A function from a batch to the teacher's logits, computed or cached.

    Args:
        teacher: the teacher's bundle.
        recipe: of the student.
        fingerprint: of the images and their splits.
        context: device and precision of the student's training.
        options: its observer receives the size of the cache; how many views to compute at once.
        batches: the student's batches.
        seed: of the augmentation.

    Returns:
        Function to float32 [batch, exits, classes].

    Raises:
        InputError: the disk has no room for the cache.
    """
    training = recipe.training.student
    views = recipe.kept_views("student")
    rescale = batches.normalisation.rescale(teacher.normalisation)
    compute = ComputedLogits(teacher.model, context, rescale)
    if views is None:
        return compute
    in_advance = training.heads_only or context.engine.world_size > 1
    if in_advance:
        views = min(views, training.epochs)
    key: Json = {
        "teacher": teacher.document.weights_digest,
        "images": fingerprint,
        **pixels_key(recipe, "student", batches, seed),
        **context_key(context, batches),
    }
    if library := library_version(teacher.document.architecture.backbone):
        key["library"] = library
    shape = (len(batches.numbers), teacher.model.exit_count, teacher.model.classes)
    cache = open_cache("teacher", "Teacher's logits", key, shape, views, options)
    logits = CachedLogits(compute, batches, cache, context, options.observer)
    # Of heads alone and of several processes before the first epoch, like the features.
    logits.fill(views if in_advance else min(views, options.views_first))
    return logits
