"""The sections of a recipe, one file each: every key, its type, its default and its bounds."""
