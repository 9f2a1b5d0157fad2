"""What a first recipe for photos says otherwise: pretrained networks, their pixels and training.

Each row is a line of the recipe and the reason for it.
"""

from __future__ import annotations

from erde_cli.core.recipe.photo_starting_point import (
    EXITS,
    HEADS_BATCH,
    INTERPOLATION,
    STUDENT,
    STUDENT_BATCH,
    TEACHER,
    VIEWS,
    PhotoChoice,
)

Rows = list[tuple[str, str]]


def pixel_rows() -> Rows:
    """Keys of the section `data` after its image size."""
    return [
        ("  resize: crop", "the centre square, as the teacher's weights expect"),
        (f"  interpolation: {INTERPOLATION}", "likewise"),
    ]


def augmentation_rows(choice: PhotoChoice) -> Rows:
    """Keys of the section `data.augmentation`."""
    if choice.heads_only:
        return [
            ("    crop: 0", "heads are trained on photos as evaluation reads them"),
            ("    flip: false", "likewise"),
        ]
    return [
        ("    crop: 0", "no padding: resized_crop instead, for the student"),
        ("    flip: true", "set to false if left and right differ, as in text"),
        ("    resized_crop: 0.35", "random crops of at least this share of a photo"),
    ]


def network_rows(choice: PhotoChoice) -> Rows:
    """The sections `teacher` and `student`."""
    smaller = f"smaller than the teacher's {choice.image_size}: fewer multiply-adds"
    exits = (f"  exits: {EXITS}", "including the last, evenly spaced in multiply-adds")
    head = ("  head: gap", "mean of each channel, then one linear layer")
    return [
        ("teacher:", "only its heads are trained; the run downloads its weights once"),
        (f"  backbone: {TEACHER}", ""),
        ("  pretrained: true", _weights(21)),
        exits,
        head,
        ("", ""),
        ("student:", "what runs on the device"),
        (f"  backbone: {STUDENT}", ""),
        ("  pretrained: true", _weights(10)),
        (f"  image_size: {choice.student_size}", smaller),
        exits,
        head,
    ]


def cache_rows(choice: PhotoChoice) -> Rows:
    """Keys of the section `distillation` after its weights."""
    if choice.heads_only:
        return []
    return [
        (
            f"  teacher_cache: {{views: {VIEWS}}}",
            "random views per photo; the teacher sees each once",
        )
    ]


def training_rows(choice: PhotoChoice) -> Rows:
    """The section `training`."""
    heads = (
        f"{{train: heads, epochs: {choice.heads_epochs}, batch_size: {HEADS_BATCH}, "
        "learning_rate: 0.1}"
    )
    rows = [("training:", "heads alone learn from features that are computed once")]
    if choice.heads_only:
        rows = [("training:", "heads alone, on features computed once, as the time is short")]
        return [*rows, (f"  teacher: {heads}", ""), (f"  student: {heads}", "")]
    rates = ", ".join(["0.3"] * EXITS)
    steps = f"{{epochs: {choice.epochs}, batch_size: {STUDENT_BATCH}, optimizer: adamw,"
    rate = "learning_rate: 0.001, weight_decay: 0.05,"
    return [
        *rows,
        (f"  teacher: {heads}", ""),
        ("  student:", _epochs(choice)),
        (f"    {steps}", ""),
        (f"     {rate}", ""),
        ("     heads_first: 1,", "epoch in which only the new parts learn"),
        (f"     stage_rates: [{rates}]}}", "factor of the rate for pretrained layers"),
    ]


def _weights(megabytes: int) -> str:
    return f"torchvision's ImageNet weights, {megabytes} MB; it states no licence for them"


def _epochs(choice: PhotoChoice) -> str:
    if choice.epochs < choice.wanted:
        return f"the time allows {choice.epochs} epochs; {choice.wanted} would be enough"
    return f"{choice.wanted} epochs, the most that erde init chooses"
