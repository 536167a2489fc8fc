"""What several tests need."""

from pathlib import Path

import pytest


@pytest.fixture
def shared():
    """The folder of test data that is not part of the project; skips the test where it is missing."""
    path = Path(__file__).parent.parent.parent / "shared"
    if not path.is_dir():
        pytest.skip(f"{path} is not there")
    return path
