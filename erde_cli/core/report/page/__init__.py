"""A report as one HTML file: its parts, charts in SVG, a style sheet and a script.

May import `arrays`, and the report's `document`.
Start reading in `page.py`.
"""
