"""What erde computes: one package for each subject. Knows neither Typer nor Rich.

Imports nothing of `commands`; its packages import each other one way (CONTRIBUTING.md).
Start reading in `workflows/run.py`.
"""
