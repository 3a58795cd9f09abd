import pytest

from throttle import ManualClock, WindowLimiter


def test_up_to_the_limit(clock):
    limiter = WindowLimiter(3, per=10, clock=clock)
    assert [limiter.allow() for _ in range(4)] == [True, True, True, False]


def test_denied_calls_do_not_count(clock):
    limiter = WindowLimiter(1, per=10, clock=clock)
    assert limiter.allow()
    for _ in range(5):
        assert not limiter.allow()
    clock.advance(10)
    assert limiter.allow()


def test_all_or_none(clock):
    limiter = WindowLimiter(5, per=10, clock=clock)
    assert limiter.allow(3)
    assert not limiter.allow(3)
    assert limiter.remaining == 2
    assert limiter.allow(2)


def test_never_more_than_the_limit_in_any_stretch():
    clock = ManualClock(9.0)
    limiter = WindowLimiter(3, per=10, clock=clock)
    assert all(limiter.allow() for _ in range(3))
    clock.advance(2)
    assert not limiter.allow()
    assert limiter.remaining == 0
    clock.advance(8)
    assert limiter.allow()


def test_retry_after_is_when_a_call_is_possible():
    clock = ManualClock(4.0)
    limiter = WindowLimiter(2, per=10, clock=clock)
    limiter.allow()
    clock.advance(3)
    limiter.allow()
    assert limiter.retry_after == pytest.approx(7.0)
    clock.advance(limiter.retry_after)
    assert limiter.allow()
    assert not limiter.allow()


def test_retry_after_at_the_start(clock):
    limiter = WindowLimiter(1, per=10, clock=clock)
    assert limiter.retry_after == 0
    limiter.allow()
    assert limiter.retry_after == pytest.approx(10)


def test_reset(clock):
    limiter = WindowLimiter(1, per=10, clock=clock)
    limiter.allow()
    limiter.reset()
    assert limiter.allow()


def test_idle(clock):
    limiter = WindowLimiter(2, per=10, clock=clock)
    assert limiter.idle
    limiter.allow()
    assert not limiter.idle
    clock.advance(10)
    assert limiter.idle


@pytest.mark.parametrize(("limit", "per"), [(0, 10), (1, 0), (1, -1)])
def test_bad_arguments(limit, per):
    with pytest.raises(ValueError):
        WindowLimiter(limit, per)


def test_bad_calls(clock):
    with pytest.raises(ValueError):
        WindowLimiter(1, 1, clock).allow(0)
