import pytest

from throttle import TokenBucket


def test_starts_full(clock):
    bucket = TokenBucket(rate=1, capacity=3, clock=clock)
    assert [bucket.allow() for _ in range(4)] == [True, True, True, False]


def test_fills_with_time(clock):
    bucket = TokenBucket(rate=2, capacity=4, clock=clock)
    bucket.allow(4)
    clock.advance(1.5)
    assert bucket.tokens == pytest.approx(3)


def test_never_holds_more_than_its_capacity(clock):
    bucket = TokenBucket(rate=2, capacity=4, clock=clock)
    clock.advance(1000)
    assert bucket.tokens == 4


def test_retry_after(clock):
    bucket = TokenBucket(rate=0.5, capacity=1, clock=clock)
    assert bucket.retry_after == 0
    bucket.allow()
    assert bucket.retry_after == pytest.approx(2)
    clock.advance(2)
    assert bucket.allow()


def test_never_fits(clock):
    with pytest.raises(ValueError, match="bucket of 2"):
        TokenBucket(rate=1, capacity=2, clock=clock).allow(3)


def test_idle_when_full(clock):
    bucket = TokenBucket(rate=1, capacity=2, clock=clock)
    bucket.allow()
    assert not bucket.idle
    clock.advance(1)
    assert bucket.idle


@pytest.mark.parametrize(("rate", "capacity"), [(0, 1), (1, 0)])
def test_bad_arguments(rate, capacity):
    with pytest.raises(ValueError):
        TokenBucket(rate, capacity)
