"""Image files become pixels: listing, metadata, decoding, the cache of decoded images.

May import `storage` and what lies below; never torch.
Start reading in `decoding.py`.
"""
