"""Content of `thresholds.json`, validated when it is written and when it is read."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from erde_cli.core.thresholds.scores import SCORES, Score
from erde_cli.core.thresholds.target import Metric, Risk, Target
from erde_cli.core.thresholds.targets import TARGETS, Threshold, make_target
from erde_cli.core.thresholds.written import WrittenThreshold, read_threshold, read_thresholds

FORMAT = 3

Share = Annotated[float, Field(ge=0, le=1)]
ImageSource = Literal["calibration split", "labelled folder", "unlabelled folder"]
StoredPrecision = Literal["float32", "bfloat16"]
How = Literal["searched", "picked", "given"]


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FiguresDocument(_Document):
    """Accuracy and cost of thresholds on a set of images; accuracies are null without labels.

    Balanced accuracies are null unless the thresholds were chosen by balanced accuracy.
    """

    accuracy: Share | None
    full_accuracy: Share | None
    balanced_accuracy: Share | None
    full_balanced_accuracy: Share | None
    agreement: Share | None
    expected_macs: float
    expected_latency: float | None
    exit_rates: list[Share]

    @property
    def by_metric(self) -> float | None:
        """Accuracy by the metric that chose the thresholds; None without labels."""
        return self.accuracy if self.balanced_accuracy is None else self.balanced_accuracy

    @property
    def full_by_metric(self) -> float | None:
        """Accuracy of the last exit on all images, by the same metric; None without labels."""
        return self.full_accuracy if self.balanced_accuracy is None else self.full_balanced_accuracy

    def bound(self, risk: Risk) -> float | None:
        """Upper bound of a risk, where one was tested."""
        return None

    @property
    def figures(self) -> FiguresDocument:
        """The figures without the other keys of a larger document."""
        return FiguresDocument(
            **{name: getattr(self, name) for name in FiguresDocument.model_fields}
        )


class BoundsDocument(_Document):
    """Upper bounds of the risks, valid simultaneously for all candidates of a chain."""

    disagreement: Share
    accuracy_gap: Annotated[float, Field(ge=-1, le=1)] | None


class PointDocument(FiguresDocument):
    """Thresholds that can be picked later without images.

    held_out: null in a chain, whose own figures come from the test half.
    """

    thresholds: list[WrittenThreshold]
    held_out: FiguresDocument | None
    half_b_exits: list[int]
    certified: bool
    bounds: BoundsDocument | None

    def bound(self, risk: Risk) -> float | None:
        """Upper bound of a risk, where one was tested."""
        if self.bounds is None:
            return None
        of_gap = risk == "accuracy-gap"
        return self.bounds.accuracy_gap if of_gap else self.bounds.disagreement


class EarlierDocument(_Document):
    """An earlier test on the same test half."""

    risk: Risk
    epsilon: float
    confidence: float


class CertificateDocument(EarlierDocument):
    """The test on the test half, and the guarantee for the thresholds in force, if there is one.

    basis: of the guarantee: the test of its ε, or the bounds for all candidates. promised: the
    guaranteed ε; None: nothing is guaranteed, and the statement gives the reason.
    """

    images: int
    earlier: list[EarlierDocument]
    basis: Literal["test", "bounds"] | None
    promised: float | None
    observed: float
    tested: int
    rejected: int
    least_images: int | None
    images_wanted: int | None
    statement: str


class TargetDocument(_Document):
    """Target that thresholds were chosen for, and how; keys the target lacks are left out.

    value: a list for given thresholds, one for each early exit.
    """

    metric: Metric | None = None
    kind: str
    value: WrittenThreshold | list[WrittenThreshold]
    unit: str
    risk: Risk | None = None
    confidence: float | None = None
    how: How

    @model_validator(mode="after")
    def _can_be_asked_for(self) -> Self:
        known = TARGETS.get(self.kind)
        words = {"always": math.inf, "never": 0.0}
        several = isinstance(self.value, list)
        values = self.value if isinstance(self.value, list) else [self.value]
        allowed = [
            known is not None and known.allows(words[one] if isinstance(one, str) else one)
            for one in values
        ]
        if not allowed or not all(allowed) or (several and self.kind != Threshold.kind):
            raise ValueError("must be a target of erde calibrate, with a value within its bounds")
        return self

    @classmethod
    def of(cls, target: Target, how: How = "searched") -> TargetDocument:
        """Written form of a target."""
        settings: dict[str, Any] = {
            name: getattr(target, name, None) for name in ("risk", "confidence")
        }
        return cls(
            kind=target.kind, value=target.written_value, unit=target.unit, how=how,
            metric=target.metric if target.has_metric else None, **settings,
        )  # fmt: skip

    def read(self) -> Target:
        """Return the target itself."""
        if isinstance(self.value, list):
            return Threshold.of(read_thresholds(self.value))
        return make_target(
            self.kind, read_threshold(self.value),
            risk=self.risk, confidence=self.confidence, metric=self.metric,
        )  # fmt: skip

    @model_serializer(mode="wrap")
    def _without_absent_keys(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = serialise(self)
        return {name: value for name, value in content.items() if value is not None}


class LatencyDocument(_Document):
    """Measured latency of each exit in ms, and the setting it was measured in."""

    ms: list[float]
    batch: int
    threads: int
    device: str


class ThresholdsDocument(FiguresDocument):
    """Content of `thresholds.json`; "never" is a threshold of 0, "always" one of infinity.

    criterion, unit: name and unit of the score that is compared with the thresholds.
    """

    format: Literal[3]
    criterion: str
    unit: str
    thresholds: list[WrittenThreshold]
    temperatures: list[Annotated[float, Field(gt=0)]] | None
    target: TargetDocument
    met: bool
    met_where_chosen: bool
    certified: bool
    source: ImageSource
    split_fingerprint: str
    images: int
    precision: StoredPrecision
    device: str
    weights_digest: str
    held_out: FiguresDocument
    exit_accuracy: list[Share] | None
    exit_balanced_accuracy: list[Share] | None
    half_b_exits: list[int]
    latency: LatencyDocument | None
    frontier: list[PointDocument]
    certificate: CertificateDocument | None
    seal: str

    @model_validator(mode="after")
    def _score_is_known(self) -> Self:
        if self.criterion not in SCORES or self.unit != self.score.unit:
            raise ValueError(f"{self.criterion} in {self.unit} is not a score of erde")
        return self

    @model_validator(mode="after")
    def _balanced_only_by_that_metric(self) -> Self:
        figures: list[FiguresDocument] = [self, self.held_out, *self.frontier]
        figures += [point.held_out for point in self.frontier if point.held_out is not None]
        present = {
            share is not None
            for one in figures
            for share in (one.balanced_accuracy, one.full_balanced_accuracy)
        } | {self.exit_balanced_accuracy is not None}
        if present != {self.metric == "balanced_accuracy"}:
            raise ValueError("balanced accuracies must be present exactly if they are the metric")
        return self

    @property
    def score(self) -> Score:
        """Score that is compared with the thresholds."""
        return SCORES[self.criterion]

    @property
    def metric(self) -> Metric:
        """Metric of the frontier, and of the thresholds if their target has one."""
        return self.target.metric or "accuracy"

    def certified_on(self, device: str) -> bool:
        """Whether a guarantee holds on a kind of device; scores differ between devices."""
        return self.certified and device == self.device

    @property
    def values(self) -> list[float]:
        """Thresholds in `unit`; 0 never, inf always."""
        return [read_threshold(written) for written in self.thresholds]
