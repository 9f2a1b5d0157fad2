"""`docs/recipes.md` matches the schema."""

from pathlib import Path

from erde_cli.core.recipe.reference import reference


def test_the_page_is_current_and_describes_every_key() -> None:
    page = (Path(__file__).parents[3] / "docs/recipes.md").read_text()
    assert page == reference(), "write it again with: make docs"
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert len(rows) > 50
    assert not [row for row in rows if row.rstrip("| ").endswith("|") or "|  |" in row]
