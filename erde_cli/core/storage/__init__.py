"""Atomic file writes, digests, JSON within limits, caches, locks, pictures.

May import `events`, `errors` and what lies below; never torch.
Start reading in `files.py`.
"""
