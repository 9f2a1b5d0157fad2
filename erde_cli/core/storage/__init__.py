"""Files that appear whole or not at all, digests, JSON within limits, caches, locks, pictures.

May import the modules next to it and `platform`; never torch.
Start reading in `files.py`.
"""
