"""Recipes: schema, loading, problems in their own words, and what of a recipe decides a network.

May import `storage` and what lies below; never torch.
Start reading in `schema.py`.
"""
