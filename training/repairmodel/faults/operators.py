"""Wrong operators: comparison, arithmetic, boolean, bitwise, negation, sign, operand order, lost operands and
parentheses.
"""

import ast
import random
from collections.abc import Iterator

from .code import Code, Edit

COMPARISONS: dict[type, tuple[str, tuple[str, ...]]] = {
    ast.Lt: ("<", ("<=", "<=", "<=", ">", ">", ">=", "!=", "==")),
    ast.LtE: ("<=", ("<", "<", "<", ">=", ">", "==")),
    ast.Gt: (">", (">=", ">=", ">=", "<", "<", "<=", "==", "!=")),
    ast.GtE: (">=", (">", ">", ">", "<=", "<", "==")),
    ast.Eq: ("==", ("!=", "!=", "!=", "is", "in", ">=", "<=", ">", "<")),
    ast.NotEq: ("!=", ("==", "==", "==", "is not", "not in", "<", ">", "<=", ">=")),
    ast.Is: ("is", ("is not", "is not", "is not", "==", "!=")),
    ast.IsNot: ("is not", ("is", "is", "is", "!=", "==")),
    ast.In: ("in", ("not in", "not in", "not in", "==")),
    ast.NotIn: ("not in", ("in", "in", "in", "!=")),
}
ARITHMETIC: dict[type, tuple[str, tuple[str, ...]]] = {
    ast.Add: ("+", ("-", "-", "-", "*")),
    ast.Sub: ("-", ("+", "+", "+", "*", "%", "/")),
    ast.Mult: ("*", ("/", "+", "**", "//", "-")),
    ast.Div: ("/", ("//", "//", "*", "*", "%", "-")),
    ast.FloorDiv: ("//", ("/", "/", "%", "*", "-")),
    ast.Mod: ("%", ("//", "/", "*", "+")),
    ast.Pow: ("**", ("*", "^", "+")),
}
BITWISE: dict[type, tuple[str, tuple[str, ...]]] = {
    ast.BitAnd: ("&", ("|", "|", "^", "and")),
    ast.BitOr: ("|", ("&", "&", "^", "+", "or")),
    ast.BitXor: ("^", ("|", "&", "**")),
    ast.LShift: ("<<", (">>", "*", "+")),
    ast.RShift: (">>", ("<<", "//", "-")),
}


def comparison(code: Code, rng: random.Random) -> Iterator[Edit | None]:
    """`a < b` -> `a <= b`."""
    for node in code.of(ast.Compare):
        lefts = [node.left, *node.comparators]  # type: ignore[attr-defined]
        for left, op, right in zip(lefts, node.ops, node.comparators, strict=False):  # type: ignore[attr-defined]
            old, wrong = COMPARISONS[type(op)]
            yield code.between(left, right, f" {old} ", f" {rng.choice(wrong)} ")


def _binary(code: Code, rng: random.Random, table: dict[type, tuple[str, tuple[str, ...]]]) -> Iterator[Edit | None]:
    for node in code.of(ast.BinOp):
        found = table.get(type(node.op))  # type: ignore[attr-defined]
        if (found and not isinstance(node.left, ast.Constant | ast.JoinedStr)) or (found and found[0] != "%"):  # type: ignore[attr-defined]
            yield code.between(node.left, node.right, found[0], rng.choice(found[1]))  # type: ignore[attr-defined]


def arithmetic(code: Code, rng: random.Random) -> Iterator[Edit | None]:
    """`a + b` -> `a - b`."""
    return _binary(code, rng, ARITHMETIC)


def bitwise(code: Code, rng: random.Random) -> Iterator[Edit | None]:
    """`a & b` -> `a | b`; `~a` -> `a`."""
    yield from _binary(code, rng, BITWISE)
    for node in code.of(ast.UnaryOp):
        if isinstance(node.op, ast.Invert):  # type: ignore[attr-defined]
            yield code.edit(node, code.text(node.operand))  # type: ignore[attr-defined]


def assignment_operator(code: Code, rng: random.Random) -> Iterator[Edit | None]:
    """`a += b` -> `a -= b` or `a = b`."""
    signs = {**ARITHMETIC, **BITWISE}
    updated = {n.target.id for n in code.nodes if isinstance(n, ast.AugAssign) and isinstance(n.target, ast.Name)}
    for node in code.nodes:
        if isinstance(node, ast.AugAssign) and type(node.op) in signs:
            old, wrong = signs[type(node.op)]
            new = rng.choice([*(w for w in wrong if not w.isalpha()), "", ""])
            yield code.between(node.target, node.value, f"{old}=", f"{new}=")
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in updated:
            yield code.between(node.targets[0], node.value, " = ", " += ")


def boolean(code: Code, rng: random.Random) -> Iterator[Edit | None]:
    """`a and b` -> `a or b`."""
    for node in code.of(ast.BoolOp):
        old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")  # type: ignore[attr-defined]
        index = rng.randrange(len(node.values) - 1)  # type: ignore[attr-defined]
        yield code.between(node.values[index], node.values[index + 1], f" {old} ", f" {new} ")  # type: ignore[attr-defined]


def negation(code: Code, rng: random.Random) -> Iterator[Edit | None]:
    """`not a` -> `a`, and a condition `a` -> `not a`."""
    for node in code.of(ast.UnaryOp):
        if isinstance(node.op, ast.Not):  # type: ignore[attr-defined]
            yield code.edit(node, code.text(node.operand))  # type: ignore[attr-defined]
    simple = (ast.Name, ast.Attribute, ast.Call, ast.Subscript)
    for test in code.conditions:
        parts = test.values if isinstance(test, ast.BoolOp) else [test]
        for part in parts:
            if isinstance(part, simple):
                yield code.edit(part, f"not {code.text(part)}")
    for node in code.nodes:
        if isinstance(node, ast.Return) and isinstance(node.value, simple) and code.single(node) and rng.random() < 0.1:
            yield code.edit(node.value, f"not {code.text(node.value)}")


def sign(code: Code, rng: random.Random) -> Iterator[Edit | None]:
    """`-a` -> `a`, sometimes `a` -> `-a`."""
    for node in code.of(ast.UnaryOp):
        if isinstance(node.op, ast.USub):  # type: ignore[attr-defined]
            yield code.edit(node, code.text(node.operand))  # type: ignore[attr-defined]
    for node in code.of(ast.BinOp):
        operand = node.right if rng.random() < 0.5 else node.left  # type: ignore[attr-defined]
        if isinstance(operand, ast.Name | ast.Attribute) and rng.random() < 0.1:
            yield code.edit(operand, f"-{code.text(operand)}")


def swapped_operands(code: Code, rng: random.Random) -> Iterator[Edit | None]:
    """`a - b` -> `b - a`, `a if c else b` -> `b if c else a`, `a, b = f()` -> `b, a = f()`."""
    ordered = (ast.Sub, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.LShift, ast.RShift, ast.Add)
    for node in code.of(ast.BinOp, ast.IfExp, ast.Tuple, ast.Compare):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ordered):
            left, right = node.left, node.right
            if isinstance(left, ast.Constant | ast.JoinedStr) and isinstance(node.op, ast.Mod):
                continue
        elif isinstance(node, ast.IfExp):
            left, right = node.body, node.orelse
        elif isinstance(node, ast.Tuple) and len(node.elts) == 2:
            left, right = node.elts
        elif isinstance(node, ast.Compare) and isinstance(
            node.ops[0], ast.In | ast.NotIn | ast.Lt | ast.Gt | ast.LtE | ast.GtE
        ):
            left, right = node.left, node.comparators[0]
        else:
            continue
        if isinstance(left, ast.BinOp) or isinstance(right, ast.BinOp | ast.BoolOp | ast.IfExp):
            continue
        gap = code.lines[node.lineno - 1][left.end_col_offset : right.col_offset]
        new = code.text(right) + gap + code.text(left)
        yield Edit(node.lineno - 1, left.col_offset, right.end_col_offset, new)  # type: ignore[arg-type]


def lost_operand(code: Code, rng: random.Random) -> Iterator[Edit | None]:
    """`a + b` -> `a`: half of the two operands of a binary operation is forgotten."""
    for node in code.of(ast.BinOp):
        kept = node.left if rng.random() < 0.6 else node.right  # type: ignore[attr-defined]
        yield code.edit(node, code.text(kept))


def lost_parentheses(code: Code, rng: random.Random) -> Iterator[Edit | None]:
    """`(a + b) * c` -> `a + b * c`."""
    for node in code.of(ast.BinOp, ast.BoolOp, ast.IfExp):
        line = code.lines[node.lineno - 1]
        before, after = line[: node.col_offset], line[node.end_col_offset :]
        if (
            before.endswith("(")
            and after.startswith(")")
            and not before[-2:-1].isidentifier()
            and before[-2:-1] not in (")", "]")
        ):
            yield Edit(node.lineno - 1, node.col_offset - 1, node.end_col_offset + 1, code.text(node))  # type: ignore[operator]


def lost_condition(code: Code, rng: random.Random) -> Iterator[Edit | None]:
    """`a and b` -> `a` or `b`: the condition was not specific enough (or too specific, for `or`)."""
    for node in code.of(ast.BoolOp):
        kept = list(node.values)  # type: ignore[attr-defined]
        del kept[rng.randrange(len(kept))]
        word = " and " if isinstance(node.op, ast.And) else " or "  # type: ignore[attr-defined]
        yield code.edit(node, word.join(code.text(value) for value in kept))


def extra_condition(code: Code, rng: random.Random) -> Iterator[Edit | None]:
    """`if a:` -> `if a and b:`, with a `b` that the function knows from elsewhere."""
    texts = [code.text(test) for test in code.conditions if not isinstance(test, ast.BoolOp | ast.IfExp)]
    texts += code.variables[:6]
    for test in code.conditions:
        other = rng.choice(texts) if texts else None
        if other and other not in code.text(test) and not isinstance(test, ast.BoolOp | ast.IfExp):
            word = rng.choice(("and", "and", "and not", "or"))
            yield code.edit(
                test, f"{code.text(test)} {word} {other}" if rng.random() < 0.6 else f"{other} {word} {code.text(test)}"
            )
