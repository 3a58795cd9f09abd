import pytest

from roombook import Interval, IntervalSet


def test_must_not_be_empty():
    with pytest.raises(ValueError):
        Interval(5, 5)


def test_parse_and_str():
    assert Interval.parse("09:00", "10:30") == Interval(540, 630)
    assert str(Interval(540, 630)) == "09:00-10:30"
    assert Interval(540, 630).length == 90


def test_touching_is_not_overlapping():
    assert not Interval(0, 10).overlaps(Interval(10, 20))
    assert Interval(0, 11).overlaps(Interval(10, 20))


def test_contains_its_own_bounds():
    assert Interval(0, 10).contains(Interval(0, 10))
    assert not Interval(0, 10).contains(Interval(5, 11))


def test_intersect():
    assert Interval(0, 10).intersect(Interval(5, 20)) == Interval(5, 10)
    assert Interval(0, 10).intersect(Interval(10, 20)) is None


def test_joins_what_touches():
    joined = IntervalSet([Interval(10, 20), Interval(30, 40), Interval(20, 30)])
    assert list(joined) == [Interval(10, 40)]


def test_keeps_order():
    kept = IntervalSet([Interval(50, 60), Interval(0, 10), Interval(20, 30)])
    assert [item.start for item in kept] == [0, 20, 50]
    assert kept.total == 30


def test_remove_splits():
    rest = IntervalSet([Interval(0, 100)])
    rest.remove(Interval(40, 60))
    assert rest == IntervalSet([Interval(0, 40), Interval(60, 100)])


def test_remove_everything():
    rest = IntervalSet([Interval(10, 20)])
    rest.remove(Interval(0, 100))
    assert not rest


def test_covers():
    taken = IntervalSet([Interval(0, 10), Interval(20, 30)])
    assert taken.covers(Interval(22, 30))
    assert not taken.covers(Interval(5, 25))


def test_gaps():
    taken = IntervalSet([Interval(0, 10), Interval(20, 30)])
    assert taken.gaps(Interval(5, 40)) == IntervalSet([Interval(10, 20), Interval(30, 40)])
    assert len(taken.gaps(Interval(0, 10))) == 0
