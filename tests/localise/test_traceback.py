"""Places that texts name, in the formats of many runtimes."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmcode.flow import Frame
from swarmcode.localise.traceback import Files, mentions

FILES = Files(
    [
        *("src/shop/price.py", "src/shop/cart.py", "tests/test_cart.py", "lib/util.js", "src/main.rs", "cmd/run.go"),
        *("app/src/main/java/org/shop/Cart.java", "a/util.py", "b/util.py", "util.rb", "Shop/Cart.cs", "web/index.php"),
        *("setup.py", "src/my-mod/x+y.c", "deep/setup.py"),
    ]
)

PYTHON = """Traceback (most recent call last):
  File "/home/me/work/src/shop/cart.py", line 12, in total
    return price(x)
  File "/usr/lib/python3.11/json/decoder.py", line 3, in decode
  File "src/shop/price.py", line 7, in <listcomp>
ValueError: no
"""


@pytest.mark.parametrize(
    ("text", "places"),
    [
        (PYTHON, ["src/shop/cart.py:12 total", "src/shop/price.py:7 <listcomp>"]),
        ("tests/test_cart.py:31: AssertionError", ["tests/test_cart.py:31 "]),
        ("    at total (/srv/app/lib/util.js:10:5)\n    at node:internal/main:1:2", ["lib/util.js:10 total"]),
        ("    at async Shop.total (file:///srv/lib/util.js:10:5)", ["lib/util.js:10 Shop.total"]),
        ("    at /srv/lib/util.js:10:5", ["lib/util.js:10 "]),
        ("thread 'main' panicked at src/main.rs:4:9:\nindex out of bounds", ["src/main.rs:4 "]),
        ("main.run(0x1)\n\t/go/src/x/cmd/run.go:17 +0x1d", ["cmd/run.go:17 "]),
        ("\tat org.shop.Cart.total(Cart.java:44)\n\tat java.base/java.lang.Thread.run(Thread.java:1)",
         ["app/src/main/java/org/shop/Cart.java:44 total"]),
        ("   at Shop.Cart.Total() in C:\\w\\Shop\\Cart.cs:line 9", ["Shop/Cart.cs:9 "]),
        ("PHP Fatal error: in /var/www/web/index.php on line 3", ["web/index.php:3 "]),
        ("#0 /var/www/web/index.php(8): f()", ["web/index.php:8 "]),
        ("util.rb:5:in `f'", ["util.rb:5 "]),
        ("see https://example.org/o/n/blob/abc/src/shop/price.py#L7-L9", ["src/shop/price.py:7 "]),
        ("the check in src/shop/price.py, line 7 is wrong", ["src/shop/price.py:7 "]),
        ("src/my-mod/x+y.c:3:1: error: expected ';'", ["src/my-mod/x+y.c:3 "]),
        ("price.py:7 and again price.py:7, then cart.py:1", ["src/shop/price.py:7 ", "src/shop/cart.py:1 "]),
        ("at 10:30 version 2.5:1 of example.com:80, setup.py:0", []),
        ("", []),
    ],
)  # fmt: skip
def test_formats(text: str, places: list[str]) -> None:
    """Each place once, in the order of the text, and only what is in the repository."""
    assert [f"{frame.path}:{frame.line} {frame.function}" for frame in mentions(text, FILES)] == places


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/anywhere/src/shop/price.py", "src/shop/price.py"),
        ("price.py", "src/shop/price.py"),
        ("other/price.py", "src/shop/price.py"),
        ("util.py", None),
        ("x/b/util.py", "b/util.py"),
        ("setup.py", "setup.py"),
        ("/build/setup.py", "setup.py"),
        ("C:\\w\\src\\shop\\price.py", "src/shop/price.py"),
        ("rice.py", None),
        ("", None),
        ("..", None),
    ],
)
def test_which_file_is_meant(path: str, found: str | None) -> None:
    """The file that agrees in most of its last parts; the one that agrees as a whole where several do; else none."""
    assert FILES.find(path) == found


def test_linear_time() -> None:
    """A megabyte made to trap the patterns takes no longer than a megabyte of anything."""
    traps = [
        "a" * 1_000_000,
        "at " * 300_000,
        "a." * 500_000,
        'File "' * 160_000,
        "a/" * 500_000 + ":1",
        "at f (" * 160_000,
    ]
    started = time.process_time()
    for trap in traps:
        assert mentions(trap, FILES) == ()
    assert time.process_time() - started < 20


@settings(max_examples=300, deadline=None)
@given(
    st.text(max_size=300)
    | st.lists(
        st.sampled_from(['File "', "setup.py", '", line ', ":", "3", " at ", "(", ")", "\n", ", in f", "#L"])
    ).map("".join)
)
def test_any_text(text: str) -> None:
    """Whatever the text, only files of the repository and real line numbers come out."""
    known = {"src/shop/price.py", "setup.py"}
    for frame in mentions(text, Files(known)):
        assert isinstance(frame, Frame)
        assert frame.path in known
        assert frame.line > 0
