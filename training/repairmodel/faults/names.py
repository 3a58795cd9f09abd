"""Wrong names: variables, attributes, methods, functions, lost or extra `self.`, calls and their arguments, aliases."""

import ast
import random
from collections.abc import Iterator

from .code import BUILTINS, Code, Edit, pick
from .confused import confusions

COPIERS = ("list", "dict", "set", "copy.copy", "copy", "copy.deepcopy", "deepcopy")
WRAPPERS = ("str", "len", "int", "list", "abs", "sorted", "set", "bool", "tuple", "repr")


def _loads(code: Code) -> Iterator[ast.Name]:
    for node in code.of(ast.Name):
        if isinstance(node.ctx, ast.Load) and node.id not in ("self", "cls", "super"):  # type: ignore[attr-defined]
            yield node  # type: ignore[misc]


def variable(code: Code, rng: random.Random) -> Iterator[Edit | None]:
    """A variable that is read is mistaken for another one in scope, half of the time for a name like it."""
    names = set(code.variables)
    for node in _loads(code):
        if node.id in names:
            near = [name for name in confusions(node.id) if name in names]
            wrong = rng.choice(near) if near and rng.random() < 0.5 else pick(rng, code.variables, but=node.id)
            if wrong:
                yield code.edit(node, wrong)


def target(code: Code, rng: random.Random) -> Iterator[Edit | None]:
    """The value is stored in the wrong variable."""
    for node in code.of(ast.Name):
        if isinstance(node.ctx, ast.Store) and len(code.variables) > 1:  # type: ignore[attr-defined]
            wrong = pick(rng, code.variables, but=node.id)  # type: ignore[attr-defined]
            yield code.edit(node, wrong) if wrong else None


def attribute(code: Code, rng: random.Random) -> Iterator[Edit | None]:
    """`a.width` -> `a.height`: another attribute of the same object in this function, or one that is often confused
    with it.
    """
    for node in code.of(ast.Attribute):
        if isinstance(code.parents.get(node), ast.Call) and code.parents[node].func is node:  # type: ignore[attr-defined]
            continue
        own, name = code.text(node.value), node.attr  # type: ignore[attr-defined]
        same = [n for n in code.attributes.get(own, []) if n != name]
        every = [n for names in code.attributes.values() for n in names if n != name]
        near = confusions(name)
        options = near if near and rng.random() < 0.4 else same or every
        if name.startswith("_") and rng.random() < 0.2:
            options = [name.lstrip("_")]
        if options and rng.choice(options):
            yield code.edit(node, f"{own}.{rng.choice(options)}")


def function_name(code: Code, rng: random.Random) -> Iterator[Edit | None]:
    """`s.lstrip()` -> `s.rstrip()`, `min(a)` -> `max(a)`: a wrong method or function."""
    called = [n.func.attr for n in code.nodes if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)]
    for node in code.of(ast.Call):
        func = node.func  # type: ignore[attr-defined]
        if not code.single(func) or not isinstance(func, ast.Name | ast.Attribute):
            continue
        name = func.id if isinstance(func, ast.Name) else func.attr
        near = confusions(name)
        wrong = rng.choice(near) if near else None
        if not near and isinstance(func, ast.Attribute) and rng.random() < 0.4:
            wrong = pick(rng, called, but=name)
        if wrong:
            yield code.edit(func, f"{code.text(func.value)}.{wrong}" if isinstance(func, ast.Attribute) else wrong)


def caller(code: Code, rng: random.Random) -> Iterator[Edit | None]:
    """`a.f()` -> `b.f()`: the right method of the wrong object."""
    for node in code.of(ast.Call):
        func = node.func  # type: ignore[attr-defined]
        if isinstance(func, ast.Attribute) and isinstance(func.value, ast.Name) and func.value.id in code.variables:
            wrong = pick(rng, code.variables, but=func.value.id)
            yield code.edit(func.value, wrong) if wrong else None


def self_prefix(code: Code, rng: random.Random) -> Iterator[Edit | None]:
    """`self.x` -> `x`, and `x` -> `self.x` where the function also has a `self`."""
    for node in code.of(ast.Attribute):
        if isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"):  # type: ignore[attr-defined]
            yield code.edit(node, node.attr)  # type: ignore[attr-defined]
    arguments = code.function.args.args
    if arguments and arguments[0].arg == "self":
        for name in _loads(code):
            if name.id in code.variables and rng.random() < 0.3:
                yield code.edit(name, f"self.{name.id}")


def attribute_access(code: Code, rng: random.Random) -> Iterator[Edit | None]:
    """`a.name` -> `a`, and `a` -> `a.name` with an attribute that the function uses on `a`."""
    for node in code.of(ast.Attribute):
        value = node.value  # type: ignore[attr-defined]
        parent = code.parents.get(node)
        of_self = isinstance(value, ast.Name) and value.id in ("self", "cls")
        called = isinstance(parent, ast.Call) and parent.func is node
        if isinstance(node.ctx, ast.Load) and not of_self and not called:  # type: ignore[attr-defined]
            yield code.edit(node, code.text(value))
    for name in _loads(code):
        known = code.attributes.get(name.id)
        if known and not isinstance(code.parents.get(name), ast.Attribute) and rng.random() < 0.3:
            yield code.edit(name, f"{name.id}.{rng.choice(known)}")


def lost_call(code: Code, rng: random.Random) -> Iterator[Edit | None]:
    """`f(x)` -> `x`, `s.strip()` -> `s`, `f()` -> `f`: a call is forgotten."""
    for node in code.of(ast.Call):
        func, arguments = node.func, node.args  # type: ignore[attr-defined]
        if isinstance(code.parents.get(node), ast.Expr):
            continue
        if len(arguments) == 1 and not isinstance(arguments[0], ast.Starred | ast.GeneratorExp):
            yield code.edit(node, code.text(arguments[0]))
        if (
            isinstance(func, ast.Attribute)
            and len(arguments) <= 1
            and not isinstance(func.value, ast.Name | ast.Constant)
        ) or (isinstance(func, ast.Attribute) and isinstance(func.value, ast.Name) and func.value.id in code.variables):
            yield code.edit(node, code.text(func.value))
        if not arguments and not node.keywords:  # type: ignore[attr-defined]
            yield code.edit(node, code.text(func))


def extra_call(code: Code, rng: random.Random) -> Iterator[Edit | None]:
    """`x` -> `str(x)`, `x` -> `len(x)`, `a.b` -> `a.b()`: a call that does not belong."""
    for node in code.of(ast.Name, ast.Attribute):
        parent = code.parents.get(node)
        if not isinstance(node.ctx, ast.Load) or isinstance(parent, ast.Attribute) or rng.random() < 0.7:  # type: ignore[attr-defined]
            continue
        if isinstance(parent, ast.Call) and parent.func is node:
            continue
        if isinstance(node, ast.Attribute) and rng.random() < 0.4:
            yield code.edit(node, f"{code.text(node)}()")
        elif not (isinstance(node, ast.Name) and node.id in BUILTINS):
            yield code.edit(node, f"{rng.choice(WRAPPERS)}({code.text(node)})")


def lost_argument(code: Code, rng: random.Random) -> Iterator[Edit | None]:
    """`f(a, b)` -> `f(a)`, `d.get(k, 0)` -> `d.get(k)`, `sorted(a, key=f)` -> `sorted(a)`."""
    for node in code.of(ast.Call):
        items = sorted([*node.args, *node.keywords], key=lambda item: (item.lineno, item.col_offset))  # type: ignore[attr-defined]
        if len(items) < 1 or not all(code.single(item) for item in items):
            continue
        gone = rng.randrange(len(items)) if rng.random() < 0.5 else len(items) - 1
        if isinstance(items[gone], ast.GeneratorExp):
            continue
        line = code.lines[node.lineno - 1]
        if len(items) == 1:
            yield (
                code.edit(items[0], "") if line[items[0].end_col_offset : items[0].end_col_offset + 1] == ")" else None
            )
        elif gone:
            yield Edit(node.lineno - 1, items[gone - 1].end_col_offset, items[gone].end_col_offset, "")
        else:
            yield Edit(node.lineno - 1, items[0].col_offset, items[1].col_offset, "")


def extra_argument(code: Code, rng: random.Random) -> Iterator[Edit | None]:
    """`f(a)` -> `f(a, b)` with something the function knows."""
    extras = [*code.variables[:8], "None", "True", "1", "0"]
    for node in code.of(ast.Call):
        if node.args and not node.keywords and rng.random() < 0.4:  # type: ignore[attr-defined]
            last = node.args[-1]  # type: ignore[attr-defined]
            wrong = pick(rng, extras, but=code.text(last))
            if wrong and not isinstance(last, ast.GeneratorExp):
                yield Edit(node.lineno - 1, last.end_col_offset, last.end_col_offset, f", {wrong}")


def swapped_arguments(code: Code, rng: random.Random) -> Iterator[Edit | None]:
    """`f(a, b)` -> `f(b, a)`."""
    for node in code.of(ast.Call):
        arguments = node.args  # type: ignore[attr-defined]
        if len(arguments) >= 2 and not any(isinstance(a, ast.Starred) for a in arguments):
            first = rng.randrange(len(arguments) - 1)
            left, right = arguments[first : first + 2]
            line = code.lines[node.lineno - 1]
            new = code.text(right) + line[left.end_col_offset : right.col_offset] + code.text(left)
            yield Edit(node.lineno - 1, left.col_offset, right.end_col_offset, new) if new else None


def keyword_argument(code: Code, rng: random.Random) -> Iterator[Edit | None]:
    """`f(a, reverse=True)` -> `f(a, key=True)`: a wrong keyword, or its value mistaken for another variable."""
    words = [k.arg for n in code.nodes if isinstance(n, ast.Call) for k in n.keywords if k.arg]
    for node in code.nodes:
        if isinstance(node, ast.keyword) and node.arg and node.lineno == node.end_lineno:
            wrong = pick(rng, [*words, *confusions(node.arg)], but=node.arg)
            if wrong:
                yield Edit(node.lineno - 1, node.col_offset, node.col_offset + len(node.arg), wrong)


def alias(code: Code, rng: random.Random) -> Iterator[Edit | None]:
    """`list(a)` -> `a`, `a.copy()` -> `a`, `a[:]` -> `a`, `deepcopy(a)` -> `copy(a)`: the caller's object is shared
    instead of copied.
    """
    for node in code.of(ast.Call, ast.Subscript):
        if isinstance(node, ast.Subscript):
            if code.text(node.slice) == ":":
                yield code.edit(node, code.text(node.value))
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "copy"
            and not node.args
        ):
            yield code.edit(node, code.text(node.func.value))
        elif (
            isinstance(node, ast.Call)
            and len(node.args) == 1
            and not node.keywords
            and isinstance(node.args[0], ast.Name | ast.Attribute)
            and code.text(node.func) in COPIERS
        ):
            yield code.edit(node, code.text(node.args[0]))
