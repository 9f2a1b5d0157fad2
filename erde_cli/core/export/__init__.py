"""Export to ONNX and torch.export: write, check, run.

May import `bundle` and what lies below.
Start reading in `record.py`.
"""
