"""The text of a first recipe stays the same for networks that are trained from scratch."""

from hashlib import sha256

from erde_cli.core.recipe.starting_point import Machine, choose
from erde_cli.core.workflows.first_recipe_text import FolderSummary, recipe_text


def _summary(images: int, side: int) -> FolderSummary:
    return FolderSummary(
        images=images,
        classes=2,
        train=images,
        side=side,
        shapes=[((side, side), 5), ((9, side), 1)],
        grey=0.0,
        smallest=(20, "cat"),
        largest=(50, "dog"),
        calibration_fraction=0.2,
        test_fraction=None,
    )


def test_recipes_without_pretrained_networks_keep_their_bytes() -> None:
    """The digest is of the text before erde had pretrained networks; update it on purpose."""
    texts = []
    machine = Machine("avx2", 2)
    for images, side in ((60, 40), (1474, 100), (40_000, 500)):
        choice = choose(images, side, machine, 30)
        summary, pixels = _summary(images, side), {"frames": "first"}
        texts.append(recipe_text("photos", "photos", summary, choice, machine, 30, pixels))
    found = sha256("".join(texts).encode()).hexdigest()
    assert found == "84121ed8d6026aae9f5c7e1f23f392e5b56214e2393f14f7a78356fb519b428d"
