"""The runner of exported networks: numpy, Pillow and ONNX Runtime alone.

May import light modules of `inference` and what lies below, nothing that needs another package.
Start reading in `model.py`.
"""
