"""Symbols and lines of code, in several languages and in broken sources."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmcode.localise.symbols import Symbol, innermost, lines, outline, statement_lines

PYTHON = b'''"""Module
docstring."""
import os  # comment

@decorated
class Shop:
    """Docstring."""

    RATES = {
        "a": 1,
    }

    def total(self, items,
              start=0):
        # comment
        """Docstring
        goes on."""
        if (items and
                start):
            return sum(
                items,
                start,
            )
        else:
            try:
                pass
            finally:
                text = """one
                two"""
        for item in items:
            start += f"{item}"

        def inner(): ...
'''


def test_python_outline() -> None:
    """Qualified names, kinds, and lines with decorators included."""
    assert outline("shop.py", PYTHON) == (
        Symbol(name="Shop", kind="class", start=5, end=33),
        Symbol(name="Shop.total", kind="function", start=13, end=33),
        Symbol(name="Shop.total.inner", kind="function", start=33, end=33),
    )
    assert innermost("shop.py", PYTHON, 31) == Symbol(name="Shop.total", kind="function", start=13, end=33)
    assert innermost("shop.py", PYTHON, 9) == Symbol(name="Shop", kind="class", start=5, end=33)
    assert innermost("shop.py", PYTHON, 3) is None


def test_python_lines_of_code() -> None:
    """Blank lines, comments, docstrings, lone brackets and lone keywords are no code; decorators and heads are."""
    assert sorted(statement_lines("shop.py", PYTHON)) == [3, 5, 6, 9, 10, 13, 14, 18, 19, 20, 21, 22, 28, 30, 31, 33]


def test_continued_statements() -> None:
    """A line inside a statement of several lines, or inside the head of one, belongs to its first."""
    statement = lines("shop.py", PYTHON).statement
    assert {10: 9, 11: 9, 14: 13, 19: 18, 21: 20, 22: 20, 23: 20, 29: 28}.items() <= statement.items()
    assert {9, 18, 20, 24, 25, 30, 31}.isdisjoint(statement)


@pytest.mark.parametrize(
    ("path", "source", "symbols"),
    [
        ("a.js", "const f = (a) => {\n return a\n}\nexport class A { m() {} }\n", ["f 1-3", "A 4-4", "A.m 4-4"]),
        ("a.ts", "interface I { x: number }\nnamespace N { function f(): void {} }", ["I 1-1", "N 2-2", "N.f 2-2"]),
        ("a.go", "package a\ntype T struct { x int }\nfunc (t *T) M() {}\nfunc f() {}", ["T 2-2", "T.M 3-3", "f 4-4"]),
        ("a.rs", "impl Foo for Bar {\n fn x(&self) -> i32 { 1 }\n}\nfn y() {}", ["Bar 1-3", "Bar.x 2-2", "y 4-4"]),
        ("A.java", "class A {\n A() {}\n int f(int x) { return x; }\n}", ["A 1-4", "A.A 2-2", "A.f 3-3"]),
        ("a.c", "struct p { int x; };\nstruct p g;\nstatic int *f(int a)\n{\n}\n", ["p 1-1", "f 3-5"]),
        ("a.cpp", "namespace n { class A { int g() {} }; }\nint n::A::h() {}",
         ["n 1-1", "n.A 1-1", "n.A.g 1-1", "n.A.h 2-2"]),
        ("a.cs", "class A { int F() { return 1; } }", ["A 1-1", "A.F 1-1"]),
        ("a.rb", "module M\nclass A\n def x(a)\n end\n def self.y\n end\nend\nend\n",
         ["M 1-8", "M.A 2-7", "M.A.x 3-4", "M.A.y 5-6"]),
        ("a.php", "<?php class A { function x($a) { return $a; } }", ["A 1-1", "A.x 1-1"]),
        ("a.kt", "class A { fun x(a: Int): Int { return a } }", ["A 1-1", "A.x 1-1"]),
        ("a.lua", "function M.x(a)\n return a\nend", ["M.x 1-3"]),
        ("a.txt", "def f(): pass", []),
    ],
)  # fmt: skip
def test_other_languages(path: str, source: str, symbols: list[str]) -> None:
    """One table serves all grammars."""
    assert [f"{symbol.name} {symbol.start}-{symbol.end}" for symbol in outline(path, source.encode())] == symbols


@pytest.mark.parametrize(
    ("path", "source", "code"),
    [
        ("a.js", "// c\nfunction f() {\n  /* d */\n  return [\n    1,\n  ];\n}\n", [2, 4, 5]),
        ("a.go", "package a\n\n// c\nfunc f() {\n\tif x {\n\t\treturn\n\t} else {\n\t\ty()\n\t}\n}\n", [1, 4, 5, 6, 8]),
        ("a.rb", "def f\n  # c\n  if a\n    b\n  else\n    c\n  end\nend\n", [1, 3, 4, 6]),
        ("a.c", "/* a\n b */\nint f()\n{\n  return 1;\n}\n", [3, 5]),
        ("Makefile", "# c\nall:\n\techo\n\n", [2, 3]),
    ],
)
def test_lines_of_code_elsewhere(path: str, source: str, code: list[int]) -> None:
    """Comments, brackets and lone keywords of other languages are no code either; else the text decides."""
    assert sorted(statement_lines(path, source.encode())) == code


def test_syntax_errors_and_odd_bytes() -> None:
    """What is broken costs only itself; bytes that are no UTF-8 are no trouble."""
    source = b"# \xe9\xff\ndef good():\n    return '\xe9'\n\ndef bad(:\n\ndef after():\n    return 1\n"
    names = {symbol.name for symbol in outline("a.py", source)}
    assert {"good", "after"} <= names
    assert {2, 3, 7, 8} <= statement_lines("a.py", source)


PIECES = st.lists(
    st.sampled_from(
        ["def f(", "):", "\n", "    ", "class A", "x = 1", "'''", "#", "{", "}", "function ", "é", "\r", "@"]
    )
)


@settings(max_examples=200, deadline=None)
@given(PIECES.map("".join), st.sampled_from(["a.py", "a.js", "a.c", "a.go", "a.rb", "a.none"]))
def test_any_source_has_an_outline(text: str, path: str) -> None:
    """Whatever the source, symbols and lines lie inside it, and a continued line comes after its statement's first."""
    source = text.encode()
    last = source.count(b"\n") + 1
    assert all(1 <= symbol.start <= symbol.end <= last and symbol.name for symbol in outline(path, source))
    facts = lines(path, source)
    assert all(1 <= line <= last and source.split(b"\n")[line - 1].strip() for line in facts.code)
    assert all(1 <= first < line <= last for line, first in facts.statement.items())
