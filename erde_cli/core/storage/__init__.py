"""Files that appear whole or not at all, digests, JSON within limits, caches, locks, pictures.

May import `events`, `errors` and what lies below; never torch.
Start reading in `files.py`.
"""
