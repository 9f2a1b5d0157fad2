"""What erde computes, one package for each subject; knows neither Typer nor Rich.

May import nothing of `commands`; which package may import which is drawn in CONTRIBUTING.md.
Start reading in `workflows/run.py`.
"""
