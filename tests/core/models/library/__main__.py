"""Print the table of families in `docs/backbones.md`: `python -m tests.core.models.library`."""

from tests.core.models.library.families import HEADER, TIMM, TORCHVISION

if __name__ == "__main__":
    print("\n".join([*HEADER, *(family.row for family in [*TORCHVISION, *TIMM])]))
