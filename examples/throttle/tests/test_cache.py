import pytest

from throttle import Cache


@pytest.fixture
def cache(clock):
    return Cache(size=2, ttl=10, clock=clock)


def test_keeps_values(cache):
    cache["a"] = 1
    assert cache.get("a") == 1
    assert cache.get("b", "nothing") == "nothing"
    assert (cache.hits, cache.misses) == (1, 1)


def test_forgets_with_time(cache, clock):
    cache["a"] = 1
    clock.advance(9.9)
    assert cache.get("a") == 1
    clock.advance(0.1)
    assert cache.get("a") is None
    assert len(cache) == 0


def test_the_longest_unused_makes_room(cache):
    cache["a"], cache["b"] = 1, 2
    cache.get("a")
    cache["c"] = 3
    assert list(cache) == ["a", "c"]


def test_expired_makes_room_first(cache, clock):
    cache["a"] = 1
    clock.advance(5)
    cache["b"] = 2
    cache.get("a")
    clock.advance(6)
    cache["c"] = 3
    assert list(cache) == ["b", "c"]


def test_setting_again_renews(cache, clock):
    cache["a"] = 1
    clock.advance(6)
    cache["a"] = 2
    clock.advance(6)
    assert cache.get("a") == 2


def test_get_or(cache):
    made = []
    assert cache.get_or("a", lambda: made.append(1)) is None
    assert cache.get_or("a", lambda: made.append(1)) is None
    assert made == [1]


@pytest.mark.parametrize(("size", "ttl"), [(0, 1), (1, 0)])
def test_bad_arguments(size, ttl):
    with pytest.raises(ValueError):
        Cache(size, ttl)
