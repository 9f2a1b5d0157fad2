"""Files that appear whole or not at all, digests, JSON within limits, caches, locks, pictures.

Imports the modules of `core` and `platform`; never torch.
Start reading in `files.py`.
"""
