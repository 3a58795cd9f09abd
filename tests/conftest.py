"""The ground that all tests stand on."""

import signal
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def usual_signals() -> Iterator[None]:
    """Whoever starts the tests in the background may have had interruptions ignored; the programs under test, which
    inherit that, would then rightly ignore them too."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
