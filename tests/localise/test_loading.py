"""What runs before any test is as suspicious as what uses it."""

from swarmcode.localise.loading import before_tests

SOURCE = b"""\
LIMIT = 7
TABLE = []


def fill(word, size=3):
    if size:
        TABLE.append(word)


def unused():
    TABLE.clear()


fill("a")


def look(word, depth=LIMIT):
    return word in TABLE
"""


def test_constants_tables_and_default_values() -> None:
    """A constant takes from the lines that name it; a function that is called at the top level from the lines that use
    what it fills; default values from their function's body. Nothing else runs early."""
    found = before_tests("m.py", SOURCE, {b"TABLE": 0.8, b"word": 0.9}, {18: 0.6})
    assert found == {2: 0.8, 5: 0.8, 6: 0.8, 7: 0.8, 17: 0.6}
