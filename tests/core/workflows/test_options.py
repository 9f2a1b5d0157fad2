"""What cannot work is told before anything is decoded or trained."""

import pytest

from erde_cli.core.errors import InputError
from erde_cli.core.workflows.options import Options


@pytest.mark.parametrize("options", [{"device": "toaster"}, {"threads": 0}])
def test_a_wrong_device_is_told_at_once(options: dict[str, object]) -> None:
    with pytest.raises(InputError):
        Options(**options)  # type: ignore[arg-type]
