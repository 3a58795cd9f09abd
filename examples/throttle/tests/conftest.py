import pytest

from throttle import ManualClock


@pytest.fixture
def clock():
    return ManualClock()
