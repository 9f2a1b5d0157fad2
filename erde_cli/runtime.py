"""Run exported networks with numpy, Pillow and ONNX Runtime alone; torch is not needed.

    from erde_cli.runtime import open_model

    model = open_model("digits.onnx", threads=1)
    for one in model.predict(["photos/a.png", "photos/b.jpg"]):
        print(one.class_name, one.confidence, "at exit", one.exit)

Whatever is wrong with a file, an image or an argument raises an `InputError`: `BundleError` for
the export, `DataError` for an image.
"""

from __future__ import annotations

from erde_cli.core.errors import BundleError, DataError, InputError
from erde_cli.core.inference.rows import Prediction
from erde_cli.core.runner.answers import ExportedAnswers
from erde_cli.core.runner.model import Model, open_model

__all__ = [
    "BundleError",
    "DataError",
    "ExportedAnswers",
    "InputError",
    "Model",
    "Prediction",
    "open_model",
]
