import pytest

from throttle import KeyedLimiter, Throttled, TokenBucket, WindowLimiter, throttled


@pytest.fixture
def keyed(clock):
    return KeyedLimiter(lambda: WindowLimiter(2, per=10, clock=clock), max_keys=3)


def test_keys_are_counted_apart(keyed):
    assert keyed.allow("a") and keyed.allow("a")
    assert not keyed.allow("a")
    assert keyed.allow("b")
    assert keyed.retry_after("a") == pytest.approx(10)
    assert keyed.retry_after("b") == 0


def test_asking_makes_no_limiter(keyed):
    assert keyed.retry_after("nobody") == 0
    assert "nobody" not in keyed


def test_idle_keys_make_room(keyed, clock):
    keyed.allow("a")
    keyed.allow("b")
    clock.advance(10)
    keyed.allow("c")
    keyed.allow("d")
    assert len(keyed) == 2
    assert "a" not in keyed


def test_longest_unused_makes_room(keyed):
    for key in "abac":
        keyed.allow(key)
    keyed.allow("d")
    assert "b" not in keyed
    assert not keyed.allow("a")


def test_needs_room_for_one():
    with pytest.raises(ValueError):
        KeyedLimiter(lambda: TokenBucket(1, 1), max_keys=0)


def test_decorator(clock):
    @throttled(TokenBucket(rate=0.5, capacity=1, clock=clock))
    def call(x):
        """Doubles."""
        return 2 * x

    assert call(4) == 8
    with pytest.raises(Throttled, match=r"call is throttled, try again in 2.0 s") as caught:
        call(4)
    assert caught.value.retry_after == pytest.approx(2)
    assert call.__doc__ == "Doubles."


def test_decorator_by_key(keyed):
    @throttled(keyed, key=lambda user: user)
    def greet(user):
        return f"hello {user}"

    assert [greet("ann"), greet("ann"), greet("bob")] == ["hello ann", "hello ann", "hello bob"]
    with pytest.raises(Throttled, match="greet for 'ann'"):
        greet("ann")


def test_key_without_keyed_limiter(keyed):
    with pytest.raises(TypeError):
        throttled(TokenBucket(1, 1), key=str)
    with pytest.raises(TypeError):
        throttled(keyed)
