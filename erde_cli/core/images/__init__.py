"""Image files become pixels: listing, metadata, decoding, the cache of decoded images.

Imports `storage`; never torch.
Start reading in `decoding.py`.
"""
