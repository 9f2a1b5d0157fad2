"""One HTML or Markdown file about a run, a comparison or a bundle.

May import `comparison` and `measurement` and what lies below.
Start reading in `document.py`.
"""
