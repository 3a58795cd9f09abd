"""Wrong results: another value is returned, or nothing, or a part of what should be, or more than should be."""

import ast
import random
from collections.abc import Iterator
from typing import TypeGuard

from .code import Code, Edit, pick


def returned(code: Code, rng: random.Random) -> Iterator[Edit | None]:
    """`return a` -> `return b`, `return`, `a` (the keyword is lost), `return None`."""
    for node, value in _returns(code):
        roll = rng.random()
        wrong = pick(rng, code.variables, but=code.text(value))
        if roll < 0.45 and wrong:
            yield code.edit(value, wrong)
        elif roll < 0.75:
            yield code.edit(node, code.text(value))
        elif roll < 0.9:
            yield code.edit(value, rng.choice(("None", "True", "False", "0", "[]")))
        else:
            yield code.edit(node, "return")


def return_value(code: Code, rng: random.Random) -> Iterator[Edit | None]:
    """`return f(a)` -> `return None`, `return True`, `return a`, `return b`; `return a[i]` -> `return a`; `return a, b`
    -> `return b, a`: only where the names of the right value stand elsewhere too, so that it can be found again.
    """
    for node, value in _returns(code):
        if isinstance(value, ast.Constant):
            if isinstance(value.value, bool):
                yield code.edit(value, rng.choice((str(not value.value), str(not value.value), "None")))
            continue
        if not code.visible(node.lineno - 1, node.lineno, code.text(value)):
            continue
        roll = rng.random()
        parts = _parts(code, value)
        if roll < 0.35:
            wrong = "None"
        elif roll < 0.65 and parts:
            wrong = rng.choice(parts)
        elif roll < 0.75:
            wrong = rng.choice(("True", "False"))
        else:
            wrong = pick(rng, code.variables, but=code.text(value)) or "None"
        yield code.edit(value, wrong)


def _returns(code: Code) -> Iterator[tuple[ast.Return, ast.expr]]:
    for node in code.nodes:
        if isinstance(node, ast.Return) and node.value and code.single(node):
            yield node, node.value


def _parts(code: Code, value: ast.expr) -> list[str]:
    """What one comes to return who stops half way, goes too far, or takes two things for each other."""
    text = code.text
    match value:
        case ast.Tuple(elts=[first, second]):
            return [f"{text(second)}, {text(first)}", text(first), text(second)]
        case ast.Tuple(elts=[first, *_]):
            return [text(first)]
        case ast.Subscript(value=whole) | ast.Attribute(value=whole):
            return [text(whole)]
        case ast.Call(func=function, args=arguments):
            given = [text(a) for a in arguments[:1] if not isinstance(a, ast.Starred | ast.GeneratorExp)]
            return [*given, *([text(function.value)] if _is_method(code, function) else [])]
        case ast.BinOp(left=left, right=right) | ast.IfExp(body=left, orelse=right):
            return [text(left), text(right)]
        case ast.BoolOp(values=[left, *_, right]):
            return [text(left), text(right)]
        case ast.Name(id=name):
            return [f"{name}[0]", f"{name}[0]", f"{name}[-1]"]
    return []


def _is_method(code: Code, function: ast.expr) -> TypeGuard[ast.Attribute]:
    """Whether a function is an attribute of something that the function works on, and not of a module."""
    root = function
    while isinstance(root, ast.Attribute | ast.Subscript | ast.Call):
        root = root.func if isinstance(root, ast.Call) else root.value
    known = isinstance(root, ast.Name) and root.id in ("self", "cls", *code.variables)
    return isinstance(function, ast.Attribute) and known
