"""Test answers by class: confusion of every exit, and where each class leaves."""

from __future__ import annotations

import numpy as np

from erde_cli.core.arrays import FloatArray, IntArray
from erde_cli.core.figures import percent
from erde_cli.core.inference.by_class import by_class
from erde_cli.core.report.collect.network import Network, exit_name
from erde_cli.core.report.document import ClassesSection, Table


def classes(network: Network) -> ClassesSection | None:
    """Test images by class; None without answers to them."""
    test, names = network.test, network.bundle.class_names
    if test is None:
        return None
    last = np.full(len(test), network.exits - 1)

    def confusion(answers: IntArray) -> FloatArray:
        counts = by_class(names, test.labels, answers, last, network.costs).confusion
        return counts.astype(np.float64)

    every = np.stack([confusion(test.predictions[:, i]) for i in range(network.exits)])
    exits = network.left(test)
    if exits is None:
        return ClassesSection(names, every, None, None)
    chosen = test.predictions[np.arange(len(test)), exits]
    counted = by_class(names, test.labels, chosen, exits, network.costs)
    shares = counted.left / np.maximum(counted.images, 1)[:, None]
    return ClassesSection(names, every, counted.confusion.astype(np.float64), shares)


def exits_table(network: Network) -> Table:
    """Accuracy, cost and share of images of every exit."""
    profile, document, test = network.bundle.profile, network.thresholds, network.test
    accuracy = rates = None
    title = "Exits"
    if test is not None:
        title = f"Exits, on {len(test):,} test images"
        accuracy = test.correct.mean(axis=0).tolist()
        if document is not None:
            rates = network.observed(test).under(document.values).exit_rates
    elif document is not None:
        title = f"Exits, on {document.images:,} calibration images"
        accuracy, rates = document.exit_accuracy, tuple(document.exit_rates)
    rows = [
        (
            exit_name(i, network.exits),
            "-" if accuracy is None else percent(accuracy[i]),
            "-" if rates is None else percent(rates[i], 1),
            f"{profile.cumulative_macs[i]:,}",
            f"{profile.static_macs_of_exits[i]:,}",
            f"{profile.exits[i].parameters:,}",
        )
        for i in range(network.exits)
    ]
    columns = ("exit", "accuracy %", "images that leave %", "MACs", "MACs alone", "parameters")
    note = "MACs: every head on the way included. Alone: as a network without earlier heads."
    return Table(title, columns, tuple(rows), note)
