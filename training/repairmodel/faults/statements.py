"""Wrong statements: loops, branches, exceptions, defaults, await, and lines that are missing, extra or
misplaced.
"""

import ast
import random
from collections.abc import Iterator

from .code import INDENT, Code, Edit, Fault, pick

EXCEPTIONS = tuple(
    """
    ValueError TypeError KeyError IndexError AttributeError RuntimeError OSError ImportError StopIteration
    NotImplementedError LookupError Exception AssertionError ZeroDivisionError FileNotFoundError UnicodeDecodeError
    OverflowError
    """.split()
)
SIMPLE = (
    ast.Assign,
    ast.AugAssign,
    ast.Expr,
    ast.Return,
    ast.Raise,
    ast.Continue,
    ast.Break,
    ast.AnnAssign,
    ast.Delete,
    ast.Global,
    ast.Nonlocal,
    ast.Import,
    ast.ImportFrom,
    ast.Assert,
)


def flow_word(code: Code, rng: random.Random) -> Iterator[Edit | None]:
    """`break` <-> `continue`, `if` <-> `while`, `elif` -> `if`, `yield` -> `return`, `raise` -> `return`."""
    for node in code.nodes:
        if isinstance(node, ast.Break):
            yield code.keyword(node, "break", rng.choice(("continue", "continue", "pass", "return")))
        elif isinstance(node, ast.Continue):
            yield code.keyword(node, "continue", rng.choice(("break", "break", "pass", "return")))
        elif isinstance(node, ast.While):
            yield code.keyword(node, "while", "if")
        elif isinstance(node, ast.If):
            yield code.keyword(node, "elif", "if")
            if rng.random() < 0.1:
                yield code.keyword(node, "if", "while")
        elif isinstance(node, ast.Raise) and code.single(node) and node.exc:
            yield code.keyword(node, "raise", rng.choice(("return", "return", "")).strip() or "return")
    for expression in code.of(ast.Yield, ast.YieldFrom):
        text = code.text(expression)
        if isinstance(expression, ast.YieldFrom):
            yield code.edit(expression, "yield" + text.removeprefix("yield from"))
        elif text.startswith("yield "):
            yield code.edit(expression, rng.choice(("yield from", "return")) + text.removeprefix("yield"))


def loop(code: Code, rng: random.Random) -> Iterator[Edit | None]:
    """`range(n)` -> `range(1, n)`, `range(len(a) - 1)`; a lost `reversed`, `enumerate`, `sorted`, `.items()`; a lost or
    extra start.
    """
    for node in code.nodes:
        if (
            not isinstance(node, ast.For | ast.comprehension)
            or not code.single(node.iter)
            or not isinstance(node.iter, ast.Call)
        ):
            continue
        call = node.iter
        name, arguments = code.text(call.func), [code.text(a) for a in call.args]
        if name == "range":
            options = _ranges(arguments)
            yield code.edit(call, f"range({rng.choice(options)})") if options else None
        elif name in ("reversed", "sorted", "list", "set", "iter", "tuple") and arguments:
            yield code.edit(call, arguments[0])
        elif isinstance(call.func, ast.Attribute) and call.func.attr in ("items", "values", "keys") and not arguments:
            yield code.edit(call, code.text(call.func.value))


def _ranges(arguments: list[str]) -> list[str]:
    match arguments:
        case [stop]:
            return [f"1, {stop}", f"{stop} - 1", f"{stop} + 1"]
        case [start, stop]:
            return [stop, f"{start}, {stop} + 1", f"{start}, {stop} - 1", f"{start} + 1, {stop}"]
        case [start, stop, step]:
            return [f"{start}, {stop}", f"{start} - 1, {stop}, {step}"]
    return []


def exception(code: Code, rng: random.Random) -> Iterator[Edit | None]:
    """`except KeyError` -> `except IndexError`, `raise ValueError` -> `raise TypeError`, a shorter `except (A, B)`."""
    for node in code.nodes:
        kinds: list[ast.expr] = []
        if isinstance(node, ast.ExceptHandler) and node.type:
            kinds = list(node.type.elts) if isinstance(node.type, ast.Tuple) else [node.type]
            if isinstance(node.type, ast.Tuple) and code.single(node.type) and rng.random() < 0.7:
                yield code.edit(node.type, code.text(rng.choice(node.type.elts)))
        elif isinstance(node, ast.Raise) and node.exc:
            kinds = [node.exc.func if isinstance(node.exc, ast.Call) else node.exc]
        for kind in kinds:
            if isinstance(kind, ast.Name) and kind.id.endswith(("Error", "Exception", "Iteration")):
                yield code.edit(kind, pick(rng, EXCEPTIONS, but=kind.id) or "Exception")


def default(code: Code, rng: random.Random) -> Iterator[Edit | None]:
    """`def f(a=None)` -> `def f(a=0)`, `d.get(k, [])` -> `d.get(k)`, `a or b` -> `a`."""
    wrong = {
        "None": ["0", "''", "[]", "False", "True"],
        "True": ["False", "None"],
        "False": ["True", "None"],
        "0": ["1", "None", "-1"],
        "1": ["0", "None", "2"],
        "''": ["None", "' '"],
        '""': ["None"],
        "()": ["None", "[]"],
        "-1": ["0", "None"],
    }
    arguments = code.function.args
    for value in [*arguments.defaults, *(d for d in arguments.kw_defaults if d)]:
        if code.single(value) and code.text(value) in wrong:
            yield code.edit(value, rng.choice(wrong[code.text(value)]))
    for node in code.of(ast.Call):
        func, given = node.func, node.args  # type: ignore[attr-defined]
        if isinstance(func, ast.Attribute) and func.attr in ("get", "pop", "setdefault") and len(given) == 2:
            if rng.random() < 0.5:
                yield Edit(node.lineno - 1, given[0].end_col_offset, given[1].end_col_offset, "")
            elif code.text(given[1]) in wrong:
                yield code.edit(given[1], rng.choice(wrong[code.text(given[1])]))
    for node in code.of(ast.BoolOp):
        if isinstance(node.op, ast.Or) and isinstance(
            code.parents.get(node), ast.Assign | ast.Return | ast.keyword | ast.Call
        ):  # type: ignore[attr-defined]
            yield code.edit(node, code.text(node.values[0]))  # type: ignore[attr-defined]


def element(code: Code, rng: random.Random) -> Iterator[Edit | None]:
    """`(a, b, c)` -> `(a, b)`: an element of a display is forgotten."""
    for node in code.of(ast.List, ast.Tuple, ast.Set):
        elements = node.elts  # type: ignore[attr-defined]
        if isinstance(getattr(node, "ctx", None), ast.Store) or len(elements) < 2:
            continue
        gone = rng.randrange(1, len(elements))
        yield Edit(node.lineno - 1, elements[gone - 1].end_col_offset, elements[gone].end_col_offset, "")


def awaited(code: Code, rng: random.Random) -> Iterator[Edit | None]:
    """`await f()` -> `f()`."""
    for node in code.of(ast.Await):
        yield code.edit(node, code.text(node.value))  # type: ignore[attr-defined]


def _gap(code: Code, operator: str, start: int, stop: int) -> Fault:
    """Lines start..stop are missing; the suspect is the line after them, or, where there is none, the one before."""
    if stop < len(code.lines):
        return Fault(
            operator=operator,
            head=start,
            tail=stop + 1,
            faulty=code.lines[stop],
            fixed="\n".join(code.lines[start : stop + 1]),
        )
    return Fault(
        operator=operator,
        head=start - 1,
        tail=stop,
        faulty=code.lines[start - 1],
        fixed="\n".join(code.lines[start - 1 : stop]),
    )


def missing_line(code: Code, rng: random.Random) -> Iterator[Fault]:
    """A simple statement is forgotten."""
    for block in code.blocks:
        for node in block:
            if (
                isinstance(node, SIMPLE)
                and len(block) > 1
                and code.single(node)
                and len(code.lines[node.lineno - 1]) < 70
            ):
                yield _gap(code, "missing line", node.lineno - 1, node.lineno)


def missing_guard(code: Code, rng: random.Random) -> Iterator[Fault]:
    """`if not a: return`, a base case, is forgotten: an `if` of one short statement."""
    for block in code.blocks:
        for node in block:
            if (
                isinstance(node, ast.If)
                and len(block) > 1
                and not node.orelse
                and len(node.body) == 1
                and _short_guard(code, node)
            ):
                yield _gap(code, "missing guard", node.lineno - 1, node.body[0].lineno)


def _short_guard(code: Code, node: ast.If) -> bool:
    test, body = node.test, node.body[0]
    if not (isinstance(body, SIMPLE) and code.single(body) and code.single(test) and body.lineno - node.lineno <= 1):
        return False
    is_if = code.lines[node.lineno - 1].lstrip().startswith("if ")  # an elif would take the lines after it along
    return is_if and len(code.text(test)) < 40 and len(code.text(body)) < 40


def extra_line(code: Code, rng: random.Random) -> Iterator[Fault]:
    """A statement that does not belong: a copy of another one, an early `return`, `break`, `continue`, or a doubled
    line.
    """
    short = [code.text(n) for n in code.nodes if isinstance(n, SIMPLE) and code.single(n) and len(code.text(n)) < 50]
    for block in code.blocks:
        place = rng.choice(block)
        line = place.lineno - 1
        if line == 0 or code.lines[line].lstrip().startswith(("elif", "else", "except", "finally", "@")):
            continue
        new = (
            rng.choice(short)
            if short and rng.random() < 0.7
            else rng.choice(("return", "return None", "continue", "break"))
        )
        if rng.random() < 0.2 and isinstance(place, SIMPLE) and code.single(place):
            new = code.text(place)
        faulty = " " * code.indent(line) + new
        yield Fault(operator="extra line", head=line, tail=line, faulty=faulty, fixed="")


def indentation(code: Code, rng: random.Random) -> Iterator[Fault]:
    """A statement stands one level too deep (an early return or update) or too shallow (a late one)."""
    for block in code.blocks:
        last = block[-1]
        if not isinstance(last, SIMPLE) or not code.single(last):
            continue
        line = last.lineno - 1
        options = []
        if len(block) > 1 and last.col_offset > 4:
            options.append(code.lines[line][4:])
        if line and code.indent(line - 1) > code.indent(line) and len(block) > 1:
            options.append(INDENT + code.lines[line])
        if options and code.lines[line].startswith(" " * last.col_offset) and code.indent(line) == last.col_offset:
            yield Fault(
                operator="indentation", head=line, tail=line + 1, faulty=rng.choice(options), fixed=code.lines[line]
            )
