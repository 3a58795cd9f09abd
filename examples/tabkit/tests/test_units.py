import pytest

from tabkit import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("1.5h", 5400), ("250ms", 0.25), (" 2 d ", 172800), ("0s", 0)]
)
def test_parse_duration(text, seconds):
    assert parse_duration(text) == pytest.approx(seconds)


def test_parse_compound_duration():
    assert parse_duration("1h30m") == 5400
    assert parse_duration("2d 3h") == 2 * 86400 + 3 * 3600


@pytest.mark.parametrize("text", ["", "h", "12", "1h30", "1h x", "-5s"])
def test_not_a_duration(text):
    with pytest.raises(ValueError):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.25, "250ms"), (4.2, "4.2s"), (90, "1m 30s"), (5400, "1h 30m"), (86400, "1d"), (-90, "-1m 30s")],
)
def test_format_duration(seconds, text):
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "size"), [("512", 512), ("10 MB", 10_000_000), ("1.5KiB", 1536), ("2 GiB", 2 * 1024**3)]
)
def test_parse_size(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "10 mb", "1,5 MB"])
def test_not_a_size(text):
    with pytest.raises(ValueError):
        parse_size(text)


@pytest.mark.parametrize(("size", "text"), [(512, "512 B"), (1536, "1.5 KiB"), (3 * 1024**3, "3.0 GiB")])
def test_format_size(size, text):
    assert format_size(size) == text
