"""What must hold for the chain of every network, of torchvision and of timm."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from erde_cli.core.export.check import verify
from erde_cli.core.export.formats import FORMATS
from erde_cli.core.export.network import export_network
from erde_cli.core.inference.answers import Answers
from erde_cli.core.inference.routing import all_scores, first_exit, route
from erde_cli.core.models.folding import folded
from erde_cli.core.models.library.chains import check_equal
from erde_cli.core.models.library.shapes import count_shapes
from erde_cli.core.models.macs import count_macs
from tests.core.export.test_export import record_of
from tests.core.models.library.small import CLASSES, Case, with_exits


def images(case: Case, count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, case.side, case.side, generator=generator)


def every_cut(case: Case) -> list[int]:
    return list(range(1, len(case.chain.blocks)))


def answers_as_the_network(case: Case) -> None:
    assert check_equal(case.network, case.chain, case.side) == 0
    with torch.no_grad():
        first, second = case.whole.eval()(images(case, 2))
    assert first.shape == (CLASSES,)
    assert not torch.equal(first, second)  # otherwise equality says nothing


def holds_the_networks_own_weights(case: Case) -> None:
    for kind in ("parameters", "buffers"):
        own, chained = (
            {id(tensor) for tensor in getattr(module, kind)()}
            for module in (case.network, case.whole)
        )
        assert own == chained, kind


def blocks_leave_what_they_read(case: Case) -> None:
    features = images(case, 2)
    with torch.no_grad():
        for block in case.chain.blocks:
            before = features.clone()
            after = block.eval()(features)
            assert torch.equal(features, before)
            features = after


def trains_with_a_head_after_every_block(case: Case) -> None:
    model = with_exits(case, every_cut(case))
    with torch.no_grad():
        heads_aside = case.whole.eval()(images(case, 2))
        assert torch.equal(model.eval()(images(case, 2))[:, -1], heads_aside)
    logits = model.train()(images(case, 4))
    assert logits.shape == (4, len(case.chain.blocks), CLASSES)
    targets = torch.arange(4) % CLASSES
    loss = sum(nn.functional.cross_entropy(at_exit, targets) for at_exit in logits.unbind(1))
    loss.backward()  # type: ignore[union-attr]
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    torch.optim.SGD(model.parameters(), 1e-6).step()
    assert model.eval()(images(case, 2)).isfinite().all()


def middle_of_the_widest_gap(scores: torch.Tensor) -> float:
    """A threshold that rounding does not decide on."""
    ordered = scores.sort().values
    at = ordered.diff().argmax()
    assert ordered[at + 1] - ordered[at] > 1e-3
    return float((ordered[at] + ordered[at + 1]) / 2)


def routes_to_the_exit_of_the_full_forward_pass(case: Case) -> None:
    blocks = len(case.chain.blocks)
    model = with_exits(case, sorted({blocks // 3, 2 * blocks // 3})).eval()
    batch = images(case, 8)
    with torch.no_grad():
        logits = model(batch)
    scores = all_scores(logits)
    thresholds = [middle_of_the_widest_gap(at_exit) for at_exit in scores[:, :-1].T]
    for layout in (torch.contiguous_format, torch.channels_last):
        routed = route(model, batch.contiguous(memory_format=layout), thresholds)
        assert torch.equal(routed.exit, first_exit(scores, thresholds))
        expected = logits[torch.arange(8), routed.exit]
        torch.testing.assert_close(routed.logits, expected, rtol=1e-3, atol=1e-3)


def counts_alike(case: Case) -> None:
    """From shapes as from a trace: block by block, and so also the cuts between exits."""
    features = torch.zeros(1, 3, case.side, case.side)
    before = {name: value.clone() for name, value in case.network.state_dict().items()}
    total = 0
    for block in case.whole.eval():
        macs, outputs = count_shapes(block, tuple(features.shape))
        assert macs == count_macs(block, features)
        with torch.no_grad():
            features = block(features)
        assert outputs == features.shape
        total += macs
    assert outputs == (1, CLASSES)
    assert count_shapes(case.whole, (1, 3, case.side, case.side)) == (total, outputs)
    after = case.network.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(value, before[name]) for name, value in after.items())


def exports_for_any_batch(case: Case) -> None:
    model = with_exits(case, [1]).eval()
    batch = {0: torch.export.Dim("batch")}
    program = torch.export.export(model, (images(case, 2),), dynamic_shapes=(batch,))
    with torch.no_grad():
        expected, got = model(images(case, 3)), program.module()(images(case, 3))
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


def shortened(case: Case) -> Case:
    """Without the blocks that leave the shape of the features as it is, but the first of them."""
    features, blocks, repeated = images(case, 2), [], False
    with torch.no_grad():
        for block in case.chain.blocks:
            shape = features.shape
            features = block.eval()(features)
            if features.shape != shape or not repeated:
                blocks.append(block)
            repeated = repeated or features.shape == shape
    return replace(case, chain=replace(case.chain, blocks=blocks))


def answers_as_its_onnx_file(case: Case, path: Path) -> None:
    """Write the file of `erde export --format onnx` and verify it as that command does."""
    model = with_exits(case, [len(case.chain.blocks) // 2]).eval()
    generator = np.random.default_rng(1)
    pixels = generator.integers(0, 256, (4, case.side, case.side, 3), dtype=np.uint8)
    unrouted = record_of([0.0], image_size=case.side, preprocessing=False)
    with torch.no_grad():
        logits = model(torch.from_numpy(unrouted.inputs(pixels)))
    scores, labels = all_scores(logits), logits.argmax(-1).numpy()
    thresholds = [middle_of_the_widest_gap(scores[:, 0])]
    record = record_of(thresholds, image_size=case.side, preprocessing=False)
    FORMATS["onnx"].write(export_network(model, record), path)
    answers = Answers(labels == labels, scores.double().numpy(), labels, logits.numpy())
    first, *_ = verify(FORMATS["onnx"].open(path, 1), pixels, answers, thresholds, None)
    assert min(first.exits) > 0
    assert first.near == 0


def norms(module: nn.Module) -> int:
    return sum(isinstance(inner, nn.BatchNorm2d) for inner in module.modules())


def answers_the_same_when_folded(case: Case) -> int:
    """Number of norms that were folded."""
    model = with_exits(case, [1]).eval()
    ready = folded(model)
    with torch.no_grad():
        expected, got = model(images(case, 2)), ready(images(case, 2))
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-3)
    return norms(model) - norms(ready)
