"""ONNX and torch.export: write, check, run.

Imports `bundle`, `inference`, `storage`.
Start reading in `record.py`.
"""
