"""Networks of torchvision and timm as chains of blocks, their multiply-adds, their listing.

May import the rest of `models` and what lies below; imports a library only when it is named.
Start reading in `chains.py`.
"""
