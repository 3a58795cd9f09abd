"""Wrong assignments: a result that is computed and not kept, an update written as another expression."""

import ast
import random
from collections.abc import Iterator

from .code import Code, Edit

LOOSE = (ast.BinOp, ast.BoolOp, ast.UnaryOp, ast.Compare, ast.IfExp, ast.Lambda, ast.Await, ast.Tuple)
"""What may not stand beside any operator without parentheses."""
REWRITTEN: dict[type, tuple[str, ...]] = {
    ast.Add: ("{value} - {target}", "{target} * {value}", "{target} - {value}"),
    ast.Sub: ("{value} - {target}", "{target} + {value}"),
    ast.Mult: ("{target} + {value}", "{target} ** {value}"),
    ast.Div: ("{value} / {target}", "{target} * {value}", "{target} // {value}"),
    ast.FloorDiv: ("{value} // {target}", "{target} / {value}", "{target} % {value}"),
    ast.Mod: ("{value} % {target}", "{target} // {value}"),
    ast.BitOr: ("{target} & {value}",),
    ast.BitAnd: ("{target} | {value}",),
}
"""None of these means the same: `{value} + {target}` does for numbers, and what is added is seldom known."""
ORDERED = (ast.List, ast.ListComp, ast.JoinedStr)
"""What is joined, not added: the order matters."""


def lost_assignment(code: Code, rng: random.Random) -> Iterator[Edit | None]:
    """`data = f(data)` -> `f(data)`: only where a call is assigned, and to something that is read."""
    read = {node.id for node in code.nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    for node in code.nodes:
        if not isinstance(node, ast.Assign) or len(node.targets) != 1 or not code.single(node):
            continue
        call = node.value.value if isinstance(node.value, ast.Await) else node.value
        target = node.targets[0]
        kept = target.id in read if isinstance(target, ast.Name) else isinstance(target, ast.Attribute | ast.Subscript)
        if isinstance(call, ast.Call) and kept:
            yield code.edit(node, code.text(node.value))


def rewritten_update(code: Code, rng: random.Random) -> Iterator[Edit | None]:
    """`index += n` -> `index = n - index`, `index = n`; `a = a + b` -> `a = b`, `a = b - a`."""
    for node in code.nodes:
        update = _update(code, node)
        if not update or not code.single(node):
            continue
        target, operator, value = update
        forms = list(REWRITTEN.get(type(operator), ()))
        if isinstance(operator, ast.Add) and (isinstance(value, ORDERED) or _is_text(value)):
            forms = ["{value} + {target}"]
        if isinstance(value, ast.Constant) and value.value == 1:
            forms = [form for form in forms if "*" not in form]
        if not _starts_here(code, node, target):
            forms += ["{value}"] * (1 if isinstance(node, ast.AugAssign) else 2)
        if forms:
            form = rng.choice(forms)
            spelled = code.text(value)
            if form != "{value}" and isinstance(value, LOOSE):
                spelled = f"({spelled})"
            yield code.edit(node, f"{target} = {form.format(target=target, value=spelled)}")


def _update(code: Code, node: ast.AST) -> tuple[str, ast.operator, ast.expr] | None:
    """Target, operator and operand of `a += b` and of `a = a + b`."""
    if isinstance(node, ast.AugAssign) and code.single(node):
        return code.text(node.target), node.op, node.value
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.value, ast.BinOp):
        left, right = node.value.left, node.value.right
        if code.single(node) and code.text(left) == code.text(node.targets[0]):
            return code.text(left), node.value.op, right
    return None


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)


def _starts_here(code: Code, node: ast.AST, target: str) -> bool:
    """Whether the line before gives the target its first value: adding to nothing is assigning."""
    line = node.lineno - 1  # type: ignore[attr-defined]
    return line > 0 and code.lines[line - 1].strip().startswith(f"{target} = ")
