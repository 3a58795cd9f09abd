"""Wrong constants: numbers, off-by-one, truth values, strings, formats, initial values, indices and slices."""

import ast
import random
from collections.abc import Iterator

from .code import Code, Edit, pick

_BOUND_CALLS = frozenset({"range", "xrange", "islice", "arange", "linspace", "randint", "randrange", "enumerate"})


def _integers(code: Code) -> Iterator[ast.Constant]:
    for node in code.of(ast.Constant):
        if type(node.value) is int and code.text(node).isdecimal():  # type: ignore[attr-defined]
            yield node  # type: ignore[misc]


def number(code: Code, rng: random.Random) -> Iterator[Edit | None]:
    """`2` -> `3`, `1` -> `0`, `0.5` -> `5`; a fifth far away: `100` -> `1`, `60` -> `24` where 24 stands elsewhere."""
    integers = list(_integers(code))
    others = {node.value for node in integers}
    for node in integers:
        value = node.value
        near = [w for w in (value - 1, value + 1) if w >= 0]
        wrong = {*near, 0, 1, 2, -value, value * 2, value * 10, value // 2, -1} - {value}
        far = {0, 1, -1, 2, 10, 100, value * 10, *others} - {*near, value}
        roll = rng.random()
        yield code.edit(node, str(rng.choice(near if roll < 0.45 else sorted(wrong if roll < 0.8 else far))))
    for node in code.of(ast.Constant):
        if type(node.value) is float:  # type: ignore[attr-defined]
            value = node.value  # type: ignore[attr-defined]
            yield code.edit(
                node, str(rng.choice([value * 10, value / 10, 1.0, 0.0, 1.0 - value, value + 1, value * 2]))
            )


def off_by_one(code: Code, rng: random.Random) -> Iterator[Edit | None]:
    """`n` <-> `n + 1` <-> `n - 1` in ranges, slices, indices, and comparisons, and wherever `+ 1` or `- 1` stands."""
    for node in code.of(ast.BinOp):
        one = node.right  # type: ignore[attr-defined]
        if isinstance(node.op, ast.Add | ast.Sub) and isinstance(one, ast.Constant) and one.value == 1:  # type: ignore[attr-defined]
            base = code.text(node.left)  # type: ignore[attr-defined]
            other = "-" if isinstance(node.op, ast.Add) else "+"  # type: ignore[attr-defined]
            yield code.edit(
                node, rng.choice((base, base, base, f"{base} {other} 1", f"{base} {'+' if other == '-' else '-'} 2"))
            )
    for bound in _bounds(code):
        if isinstance(bound, ast.Constant) and type(bound.value) is int and code.text(bound).isdecimal():
            yield code.edit(bound, str(bound.value + rng.choice((1, -1))))
        elif isinstance(bound, ast.Name | ast.Attribute | ast.Call):
            yield code.edit(bound, code.text(bound) + rng.choice((" + 1", " - 1", " - 1")))


def _bounds(code: Code) -> Iterator[ast.expr]:
    """Expressions that bound something."""
    for node in code.of(ast.Call, ast.Slice, ast.Subscript, ast.Compare):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _BOUND_CALLS:
            yield from node.args
        elif isinstance(node, ast.Slice):
            yield from (bound for bound in (node.lower, node.upper) if bound)
        elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Name) and len(node.slice.id) <= 5:
            yield node.slice
        elif isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Lt | ast.LtE | ast.Gt | ast.GtE):
            yield node.comparators[0]


def truth(code: Code, rng: random.Random) -> Iterator[Edit | None]:
    """`True` <-> `False`."""
    for node in code.of(ast.Constant):
        if isinstance(node.value, bool):  # type: ignore[attr-defined]
            yield code.edit(node, str(not node.value))  # type: ignore[attr-defined]


def constant_type(code: Code, rng: random.Random) -> Iterator[Edit | None]:
    """`None` -> `0`, `'1'` -> `1`, `[]` -> `{}`, `''` -> `None`: a constant of another type."""
    wrong = {
        "None": ["False", "''", "0", "True", "[]", "{}"],
        "''": ["None", "' '"],
        '""': ["None", '" "'],
        "0": ["None", "''", "0.0"],
        "[]": ["{}", "None", "()", "set()", "''"],
        "{}": ["[]", "None", "set()"],
        "()": ["[]", "None"],
        "True": ["None"],
        "False": ["None"],
        "1": ["1.0", "None", "True"],
    }
    for node in code.of(ast.Constant, ast.List, ast.Dict, ast.Tuple):
        text = code.text(node)
        if text in wrong:
            yield code.edit(node, rng.choice(wrong[text]))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isdecimal():
            yield code.edit(node, node.value)
    for node in code.of(ast.Call):
        if code.text(node) in ("set()", "dict()", "list()"):
            yield code.edit(node, rng.choice([t for t in ("[]", "{}", "set()", "None") if t != code.text(node)]))


def initial_value(code: Code, rng: random.Random) -> Iterator[Edit | None]:
    """A variable starts with the wrong value: `total = 0` -> `total = 1`, `best = None` -> `best = 0`."""
    wrong = {
        "0": ["1", "1", "1", "-1", "None", "[]"],
        "1": ["0", "0", "0", "2", "-1"],
        "-1": ["0", "1"],
        "None": ["0", "''", "[]", "False"],
        "[]": ["None", "{}", "''"],
        "{}": ["[]", "None"],
        "''": ["None", "' '", "[]"],
        "True": ["False"],
        "False": ["True"],
        '""': ["None", '" "'],
        "0.0": ["1.0", "0"],
        "1.0": ["0.0"],
        "float('inf')": ["0", "float('-inf')", "-1"],
        "float('-inf')": ["0", "float('inf')"],
    }
    for node in code.nodes:
        if isinstance(node, ast.Assign) and code.single(node.value):
            if code.text(node.value) in wrong:
                yield code.edit(node.value, rng.choice(wrong[code.text(node.value)]))
            elif isinstance(node.value, ast.Subscript) and code.text(node.value).endswith("[0]"):
                yield code.edit(node.value, "0" if rng.random() < 0.5 else code.text(node.value)[:-3] + "[1]")


def string(code: Code, rng: random.Random) -> Iterator[Edit | None]:
    """Another string of the function, another case, a lost or added character or space, an emptied string."""
    texts = [code.text(n) for n in code.of(ast.Constant) if isinstance(n.value, str) and len(n.value) < 30]  # type: ignore[attr-defined]
    for node in code.of(ast.Constant):
        value, text = node.value, code.text(node)  # type: ignore[attr-defined]
        if (
            not isinstance(value, str)
            or not 0 < len(value) <= 40
            or text[0] not in "'\""
            or text[:3] in ("'''", '"""')
            or len(text) < 3
        ):
            continue
        quote, body = text[0], text[1:-1]
        wrong = pick(rng, texts, but=text)
        roll = rng.random()
        if wrong and roll < 0.45:
            yield code.edit(node, wrong)
        elif roll < 0.6 and len(body) > 2 and "\\" not in body:
            at = rng.randrange(len(body))
            yield code.edit(
                node,
                quote
                + rng.choice((body[:at] + body[at + 1 :], body.swapcase(), body.capitalize(), body + "s"))
                + quote,
            )
        elif roll < 0.8 and body != body.strip():
            yield code.edit(node, quote + body.strip() + quote)
        elif roll < 0.9:
            yield code.edit(node, quote + rng.choice((" " + body, body + " ")) + quote)
        elif len(body) <= 3:
            yield code.edit(node, quote + rng.choice(("", " ", ",", ".", "_", "-", "/", ":", "\\n")) + quote)


def string_format(code: Code, rng: random.Random) -> Iterator[Edit | None]:
    """`f'{a}'` -> `'{a}'`, `'%d'` -> `'%s'`, `'{:.2f}'` -> `'{:.1f}'`, `r'\\d'` -> `'\\d'`."""
    for node in code.of(ast.JoinedStr):
        text = code.text(node)
        if text[:1] == "f":
            yield code.edit(node, text[1:])
    swaps = (
        ("%d", "%s"),
        ("%s", "%d"),
        ("%s", "%r"),
        ("%r", "%s"),
        (".2f", ".1f"),
        (".1f", ".2f"),
        ("02d", "2d"),
        ("{}", "{0}"),
        ("\\n", ""),
        ("%s", ""),
        ("{}", ""),
        ("%f", "%d"),
        ("\\t", " "),
    )
    for node in code.of(ast.Constant):
        text = code.text(node)
        if isinstance(node.value, str | bytes):  # type: ignore[attr-defined]
            if text[:1] in "rb" and rng.random() < 0.5:
                yield code.edit(node, text[1:])
            options = [(a, b) for a, b in swaps if a in text]
            if options:
                yield code.edit(node, text.replace(*rng.choice(options), 1))


def index(code: Code, rng: random.Random) -> Iterator[Edit | None]:
    """`a[0]` -> `a[1]`, `a[-1]` -> `a[0]`, `a[0]` -> `a`, `f(a)` -> `f(a[0])`, `a[k]` -> `a[other]`."""
    for node in code.of(ast.Subscript):
        key = code.text(node.slice)  # type: ignore[attr-defined]
        wrong = {
            "0": ["1", "-1", "1", "-1", "2"],
            "-1": ["0", "1", "-2"],
            "1": ["0", "0", "2", "-1"],
            "2": ["1", "3"],
            "-2": ["-1"],
        }.get(key)
        if wrong:
            yield code.edit(node.slice, rng.choice(wrong))  # type: ignore[attr-defined]
        if isinstance(node.ctx, ast.Load) and not isinstance(node.slice, ast.Slice):  # type: ignore[attr-defined]
            yield code.edit(node, code.text(node.value))  # type: ignore[attr-defined]
    for node in code.of(ast.Call):
        arguments = [a for a in node.args if isinstance(a, ast.Name)]  # type: ignore[attr-defined]
        if arguments and rng.random() < 0.15:
            argument = rng.choice(arguments)
            yield code.edit(argument, f"{argument.id}[{rng.choice(('0', '0', '-1', '1'))}]")


def slice_bound(code: Code, rng: random.Random) -> Iterator[Edit | None]:
    """`a[1:]` -> `a[:1]`, `a[:-1]` -> `a[:]`, `a[i:j]` -> `a[i:]`, `a[::-1]` -> `a[::1]`."""
    for node in code.of(ast.Slice):
        low, high, step = (code.text(part) if part else "" for part in (node.lower, node.upper, node.step))  # type: ignore[attr-defined]
        forms = {f"{high}:{low}", f":{high}", f"{low}:", ":", f"{low or 1}:{high}", f"{low}:{high or -1}"} - {
            f"{low}:{high}"
        }
        if step:
            forms = {f"{low}:{high}", f"{low}:{high}:{step[1:] if step[0] == '-' else '-' + step}"}
        yield code.edit(node, rng.choice(sorted(forms)))
