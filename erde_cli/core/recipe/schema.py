"""Typed schema of a recipe: every key, its type, its default and its bounds."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from erde_cli.core.errors import InputError
from erde_cli.core.thresholds import read_threshold

TARGETS = ("threshold", "max_drop", "max_macs")
Method = Literal["cross_entropy", "kd", "erde"]
EntropyOn = Literal["teacher_wrong", "teacher_wrong_then_right", "shuffled", "all"]
Precision = Literal["auto", "float32", "bfloat16"]
NonNegative = Annotated[float, Field(ge=0)]


Rules = list[tuple[str, str]]  # (key, the rule it breaks)


def _refuse(rules: Rules) -> None:
    """Refuse every key of the section being validated that breaks a rule, all at once."""
    if rules:
        text = "; ".join(f"{key} {rule}" for key, rule in rules)
        raise PydanticCustomError("rules", "{text}", {"text": text, "rules": rules})


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Augmentation(_Section):
    """Random changes of the training images; the calibration and test images are left alone."""

    crop: int = Field(4, ge=0, description="pixels of zero padding from which a crop is taken")
    flip: bool | None = Field(
        None, description="mirror half of the images; null: yes, except for digits"
    )
    cutout: int = Field(0, ge=0, description="side of a grey square, in pixels; 0: none")


class Data(_Section):
    """Which images, and how they are split."""

    dataset: Literal["digits", "imagefolder"] = Field(description="where the images come from")
    root: str | None = Field(
        None, description="folder with train/<class>/* and, if there is one, test/<class>/*"
    )
    image_size: int = Field(32, ge=8, le=1024, description="side of the network's input, in pixels")
    calibration_fraction: float = Field(
        0.1,
        ge=0.02,
        le=0.5,
        description="share of train kept for calibration; at least 1,000 images of 10,000 or more",
    )
    test_fraction: float = Field(
        0.2, ge=0.02, le=0.5, description="share carved out where the data has no test split"
    )
    split_seed: int = Field(0, ge=0, description="seed of the splits, apart from `seed`")
    unreadable: Literal["refuse", "skip"] = Field(
        "refuse", description="what to do with files that are no readable image"
    )
    augmentation: Augmentation = Field(default_factory=Augmentation)

    @model_validator(mode="after")
    def _check(self) -> Data:
        size, augmentation = self.image_size, self.augmentation
        digits = self.dataset == "digits"
        broken = [
            (
                not digits and self.root is None,
                "root",
                "imagefolder needs the folder of the images",
            ),
            (digits and self.root is not None, "root", "digits are built in; leave root out"),
            (
                digits and bool(augmentation.flip),
                "augmentation.flip",
                "a mirrored digit is no digit; use false",
            ),
            (
                augmentation.crop >= size,
                "augmentation.crop",
                f"must be below image_size = {size}",
            ),
            (
                augmentation.cutout > size,
                "augmentation.cutout",
                f"must be at most image_size = {size}",
            ),
        ]
        _refuse([(key, rule) for is_broken, key, rule in broken if is_broken])
        return self

    @property
    def flips(self) -> bool:
        """Whether training images are mirrored at random."""
        flip = self.augmentation.flip
        return self.dataset != "digits" if flip is None else flip


class Network(_Section):
    """A backbone, where it is cut, and the head at each cut."""

    backbone: Literal["resnet"] = Field("resnet", description="family of the backbone")
    depth: int = Field(ge=8, description="layers of the backbone, 6n + 2: 8, 14, 20, 26, 32, ...")
    width: int = Field(16, ge=1, le=1024, description="channels of the first third of the blocks")
    exits: int | list[int] = Field(
        3,
        description="[3, 6]: early exits after blocks 3 and 6, and the last; "
        "3: that many with the last, evenly spaced in multiply-adds",
    )
    head: Literal["erde", "gap"] = Field("erde", description="classifier at the early exits")
    exit_weights: list[NonNegative] | None = Field(
        None, description="weight of each exit's loss; null: all the same"
    )

    @field_validator("exits", mode="before")
    @classmethod
    def _exits_are_numbers(cls, value: Any) -> Any:
        numbers = value if isinstance(value, list) else [value]
        if not all(isinstance(number, int) and not isinstance(number, bool) for number in numbers):
            raise PydanticCustomError("rule", "a number of exits, or a list of block numbers")
        return value

    @field_validator("depth")
    @classmethod
    def _depth_is_6n_plus_2(cls, depth: int) -> int:
        if depth % 6 != 2:
            below = (depth - 2) // 6 * 6 + 2
            rule = f"must be 6n + 2, such as {below} or {below + 6}"
            raise PydanticCustomError("rule", "{rule}", {"rule": rule})
        return depth

    @model_validator(mode="after")
    def _check(self) -> Network:
        rules: Rules = []
        if isinstance(self.exits, int):
            if not 1 <= self.exits <= self.blocks:
                rules.append(("exits", f"must be 1 to {self.blocks}, its blocks at this depth"))
        elif self.exits != sorted(set(self.exits)) or any(
            not 1 <= block < self.blocks for block in self.exits
        ):
            last = self.blocks - 1
            rules.append(("exits", f"must be rising block numbers from 1 to {last}"))
        weights = self.exit_weights
        if weights is not None and (len(weights) != self.exit_count or sum(weights) <= 0):
            rule = f"must be {self.exit_count} numbers, one an exit, not all 0"
            rules.append(("exit_weights", rule))
        _refuse(rules)
        return self

    @property
    def blocks(self) -> int:
        """Number of residual blocks."""
        return (self.depth - 2) // 2

    @property
    def exit_count(self) -> int:
        """Number of exits, the last included."""
        return self.exits if isinstance(self.exits, int) else len(self.exits) + 1


class Training(_Section):
    """How long and how hard one network is trained."""

    epochs: int = Field(ge=1, le=100_000, description="passes over the train split")
    batch_size: int = Field(
        128,
        ge=2,
        le=65_536,
        description="images per step; those that fill no last batch wait for another epoch",
    )
    learning_rate: float = Field(0.1, gt=0, description="largest learning rate")
    schedule: Literal["cosine", "one_cycle"] = Field(
        "cosine", description="cosine: warm-up, then half a cosine; one_cycle: up, then down to 0"
    )
    warmup_epochs: NonNegative | None = Field(
        None,
        description="epochs of rising learning rate; "
        "null: a fifth of all for one_cycle, 1 for cosine, and never above a fifth",
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="Nesterov momentum; 0: plain SGD")
    weight_decay: NonNegative = Field(5e-4, description="not on BatchNorm and biases")
    label_smoothing: float = Field(0, ge=0, lt=1, description="of the cross-entropy")
    gradient_clipping: float | None = Field(
        1.0, gt=0, description="largest norm of the gradient; null: no limit"
    )
    precision: Precision = Field("auto", description="auto: a fixed rule per device, see above")

    @model_validator(mode="after")
    def _check(self) -> Training:
        if self.warmup_epochs is not None and self.warmup_epochs >= self.epochs:
            _refuse([("warmup_epochs", f"must be below epochs = {self.epochs}")])
        return self

    @property
    def warmup(self) -> float:
        """Epochs of rising learning rate."""
        if self.warmup_epochs is not None:
            return self.warmup_epochs
        fifth = self.epochs / 5
        return fifth if self.schedule == "one_cycle" else min(1.0, fifth)


class TrainingOfEach(_Section):
    """Training of the teacher and of the student."""

    teacher: Training
    student: Training


class Weights(_Section):
    """Weights of the loss terms."""

    cross_entropy: NonNegative = Field(1.0, description="of CE, against the label")
    distillation: NonNegative = Field(1.0, description="of KD, against the teacher")
    entropy: NonNegative = Field(1.0, description="of E, where the teacher's exit is wrong")


class TeacherWrong(_Section):
    """Which terms stay beside the entropy term where the teacher's exit is wrong."""

    cross_entropy: bool = Field(False, description="keep CE there")
    distillation: bool = Field(False, description="keep KD there")


class Distillation(_Section):
    """What the student learns from the teacher."""

    method: Method = Field("erde", description="cross_entropy: no teacher; kd; erde")
    temperature: float = Field(2.0, gt=0, le=100, description="of KD; E is at temperature 1")
    weights: Weights = Field(default_factory=Weights)
    teacher_wrong: TeacherWrong = Field(default_factory=TeacherWrong)
    entropy_at_last_exit: bool = Field(False, description="use E at the last exit as well")
    entropy_on: EntropyOn = Field("teacher_wrong", description="on which images E acts")
    pairing: list[Annotated[int, Field(ge=0)]] | None = Field(
        None, description="teacher exit (from 0) for each student exit; null: the same number"
    )


class Calibration(_Section):
    """The target that thresholds are chosen for: exactly one of the three."""

    threshold: float | Literal["always", "never"] | None = Field(
        None, description="one θ for all early exits, in nats"
    )
    max_drop: float | None = Field(
        None, ge=0, le=100, description="accuracy points below the model's own last exit"
    )
    max_macs: float | None = Field(None, gt=0, le=1, description="share of the model's full MACs")

    @field_validator("threshold", mode="before")
    @classmethod
    def _threshold_is_one(cls, value: Any) -> Any:
        try:
            if value is not None:
                read_threshold(value)
        except InputError as error:
            rule = f"must be {error.expected}"
            raise PydanticCustomError("rule", "{rule}", {"rule": rule}) from error
        return value

    @model_validator(mode="after")
    def _one_target(self) -> Calibration:
        if len(self.model_dump(exclude_none=True)) != 1:
            rule = f"needs exactly one of {', '.join(TARGETS)}"
            raise PydanticCustomError("rule", "{rule}", {"rule": rule})
        return self

    @property
    def target(self) -> tuple[str, float | str]:
        """Name and value of the one target that is set."""
        given = self.model_dump(exclude_none=True)
        return next(iter(given.items()))


class Recipe(_Section):
    """Everything a run depends on."""

    name: str = Field(
        min_length=1,
        max_length=100,
        pattern=r"^[\w][\w.-]*$",
        description="name of the run; the file's name where it is left out",
    )
    seed: int = Field(0, ge=0, le=2**62, description="of weights, order, augmentation and dropout")
    data: Data
    teacher: Network
    student: Network
    distillation: Distillation = Field(default_factory=Distillation)
    training: TrainingOfEach
    calibration: Calibration = Field(default_factory=lambda: Calibration(max_drop=1.0))

    @model_validator(mode="after")
    def _check_pairing(self) -> Recipe:
        _refuse(pairing_rules(self.teacher, self.student, self.distillation))
        return self

    @property
    def pairing(self) -> list[int]:
        """Teacher exit for each student exit."""
        given = self.distillation.pairing
        return list(range(self.student.exit_count)) if given is None else given


def pairing_rules(teacher: Network, student: Network, distillation: Distillation) -> Rules:
    """Rules that tie teacher, student and distillation together, where they are broken."""
    pairing = distillation.pairing
    if distillation.method == "cross_entropy":
        return []
    theirs, ours = teacher.exit_count, student.exit_count
    if pairing is None and theirs != ours:
        rule = (
            f"the teacher has {theirs} exits and the student {ours}: "
            f"name a teacher exit for each, such as {even_pairing(ours, theirs)}"
        )
        return [("distillation.pairing", rule)]
    if pairing is not None and (len(pairing) != ours or max(pairing) >= theirs):
        return [("distillation.pairing", f"must be {ours} numbers from 0 to {theirs - 1}")]
    return []


def even_pairing(student: int, teacher: int) -> list[int]:
    """Teacher exit (from 0) for each student exit, paired from the last one backwards."""
    return [max(0, teacher - student + exit_) for exit_ in range(student)]
