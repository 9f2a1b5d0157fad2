"""Listing and decoding of image files, their metadata, and the cache of decoded images.

May import `storage` and what lies below; never torch.
Start reading in `decoding.py`.
"""
