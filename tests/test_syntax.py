"""Which language a file is in, whether it parses, and which sources are the same."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmcode.syntax import LARGEST, fingerprint, first_error, language_of, parse

SAME = [
    ("a.py", "x = 'a'  # one\n", 'x = "a"\n'),
    ("a.py", "f(a, b,)\n", "f(a,  b)\n"),
    ("a.py", "if (a and\n    b):\n  pass\n", "if a and b:\n        pass\n"),
    ("a.js", "const f = (a) => { return (a + 1); } // c", "const f = (a) => {\n  return a + 1;\n}"),
    ("a.ts", "let x: number = 1;", "let x : number=1; /* c */"),
    ("a.go", "package a\nfunc f() int { return (1) }\n", "package a\n\nfunc f() int {\n\treturn 1\n}\n"),
    ("a.rs", "fn f() -> i32 { 1 }", "// c\nfn f() -> i32 {\n    1\n}"),
    ("A.java", "class A { int f() { return (1); } }", "class A {\n  int f() { return 1; } // c\n}"),
    ("a.c", "int f(void) { return 1; }", "int f(void)\n{\n  return 1; /* c */\n}"),
    ("a.rb", "def f(a)\n  a + 1 # c\nend\n", "def f(a)\n\n a + 1\nend\n"),
    ("a.php", "<?php function f() { return 1; } // c\n", "<?php\nfunction f()\n{\n  return 1;\n}\n"),
    ("a.unknown", "a  b\n\n c", "a b \n c\n"),
]
DIFFERENT = [
    ("a.py", "x = (a + b) * c\n", "x = a + b * c\n"),
    ("a.py", "x = (1,)\n", "x = (1)\n"),
    ("a.py", "x = 'a  b'\n", "x = 'a b'\n"),
    ("a.py", "x = f'{a} b'\n", "x = f'{a}  b'\n"),
    ("a.py", "x = 'a'\n", "x = b'a'\n"),
    ("a.py", "if a:\n    b()\n    c()\n", "if a:\n    b()\nc()\n"),
    ("a.py", "x = '''# a\n'''\n", "x = '''# b\n'''\n"),
    ("a.js", "(a?.b).c", "a?.b.c"),
    ("a.js", "x = `a  b`", "x = `a b`"),
    ("a.js", "x = /a  b/", "x = /a b/"),
    ("a.go", "package a\nvar x = `a\n b`\n", "package a\nvar x = `a\nb`\n"),
    ("a.rb", "x = <<~A\n  one\nA\n", "x = <<~A\n  two\nA\n"),
    ("a.rs", 'const X: &str = r#"a"#;', 'const X: &str = r#"b"#;'),
    ("a.php", "<?php $x = 'a';", '<?php $x = "a";'),
    ("a.sh", "cat <<A\none\nA\n", "cat <<A\ntwo\nA\n"),
    ("a.c", "#define X 1\n", "#define X 2\n"),
    ("a.unknown", "  a", "a"),
]


@pytest.mark.parametrize(("path", "one", "other"), SAME)
def test_spelling_makes_no_difference(path: str, one: str, other: str) -> None:
    """Spacing, comments, redundant parentheses and alike quotes are no part of what a source is."""
    assert fingerprint(path, one.encode()) == fingerprint(path, other.encode())


@pytest.mark.parametrize(("path", "one", "other"), DIFFERENT)
def test_meaning_makes_a_difference(path: str, one: str, other: str) -> None:
    """Structure, literals, indentation that counts and heredocs are."""
    assert fingerprint(path, one.encode()) != fingerprint(path, other.encode())


@pytest.mark.parametrize(
    ("path", "source", "line"),
    [
        ("a.py", "x = 1\ndef f(:\n    pass\n", 2),
        ("a.py", "x = 1\n", None),
        ("a.js", "function f( {\n}", 1),
        ("a.go", "package a\n\nfunc f() { return (1 }\n", 3),
        ("a.txt", "def f(:", None),
    ],
)
def test_first_error(path: str, source: str, line: int | None) -> None:
    """The first line that does not parse; nothing where all is well or nobody can tell."""
    assert first_error(path, source.encode()) == line


def test_languages_by_name() -> None:
    """By suffix, or by the whole name; what holds no code has none."""
    names = ["a.py", "b.tsx", "c.CC", "d.hpp", "Rakefile", "x/y.rs", "README.md", "data.json", "py", ".py"]
    found = [language_of(name) for name in names]
    assert found == ["python", "tsx", "", "cpp", "ruby", "rust", "", "", "", ""]


def test_every_named_language_has_a_grammar() -> None:
    """A name that the language pack does not know would fail at the user's."""
    suffixes = (
        "py js ts tsx c cpp kt scala sh pl ex clj groovy f90 r rb php ml go rs java cs swift lua erl hs jl dart zig"
    )
    for suffix in (suffixes + " nim m sol d ps1 pas").split():
        assert parse(f"a.{suffix}", b"x") is not None, suffix


def test_huge_files_are_not_parsed() -> None:
    """Bundles and data in a code file cost nothing."""
    assert parse("a.js", b"x" * (LARGEST + 1)) is None
    assert fingerprint("a.js", b"x" * (LARGEST + 1)) != fingerprint("a.js", b"y" * (LARGEST + 1))


def test_deep_nesting_is_no_trouble() -> None:
    """A source that nests thousands of times exhausts no stack, and still tells its edits apart."""
    deep = b"x = " + b"(" * 3000 + b"%d" + b")" * 3000 + b"\n"
    chain = b"x = " + b" + ".join([b"a"] * 3000) + b" + %d\n"
    for source in (deep, chain):
        assert fingerprint("a.py", source % 1) != fingerprint("a.py", source % 2)


SNIPPETS = st.lists(
    st.sampled_from(
        ["if a:", "\n", "    ", "x", "=", "(", ")", "'", '"""', "#", "def f", ":", "\\", "é", "{", "}", ";"]
    )
)


@settings(max_examples=200, deadline=None)
@given(SNIPPETS.map("".join), st.sampled_from(["a.py", "a.js", "a.c", "a.rb", "a.sh", "a.none"]))
def test_any_source_has_a_fingerprint(source: str, path: str) -> None:
    """Malformed sources too; and it does not depend on what was asked before."""
    content = source.encode()
    assert fingerprint(path, content) == fingerprint(path, content)
    assert len(fingerprint(path, content)) == 32


SOURCES = {
    "a.py": 'class A:\n    """Doc."""\n\n    def f(b=2):\n        if b or "x":\n            return a + b\n\nx = [2]\n',
    "a.js": "class A { f(a, b) { if (a && b) { return `x ${a}` + b } } }\nconst g = (x) => /a+/.test(x)\n",
    "a.go": 'package a\n\nfunc f(a int) int {\n\tif a > 1 {\n\t\treturn len("x")\n\t}\n\treturn a\n}\n',
}


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(SOURCES)),
    st.integers(0, 200),
    st.integers(0, 12),
    st.sampled_from(["", "x", " ", "\n", "\n    ", "(", ")", '"', "#", " + 1", "# c\n", "'''", "{", "}", "é"]),
)
def test_what_is_at_hand_saves_time_and_nothing_else(path: str, start: int, length: int, new: str) -> None:
    """An edited source is the same, and as well or ill formed, whether its earlier content was at hand or not."""
    old = SOURCES[path]
    start = min(start, len(old))
    edited = (old[:start] + new + old[start + length :]).encode()
    assert fingerprint(path, edited, like=old.encode()) == fingerprint(path, edited)
    assert (first_error(path, edited, like=old.encode()) is None) == (first_error(path, edited) is None)
