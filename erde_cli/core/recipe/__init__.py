"""Recipes: schema, loading, error messages, and the inputs that decide a network.

May import `storage` and what lies below; never torch.
Start reading in `schema.py`.
"""
