"""Recipes: schema, loading, error messages, and what of a recipe decides a network.

Imports `storage`; never torch.
Start reading in `schema.py`.
"""
