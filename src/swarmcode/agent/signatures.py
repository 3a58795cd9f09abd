"""What the functions of a Python file take, and which calls within it give them something else. Pure."""

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_PLAIN = ("staticmethod", "classmethod")
"""Decorators that leave it plain what a function takes."""
_SELF = ("self", "cls")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What a call may give; `self` left out."""

    positional: tuple[str, ...]
    """Parameters that are filled by position, in order."""
    required: int
    """How many of them have no default."""
    by_name: frozenset[str]
    """Parameters that may be given by name."""
    must_be_named: frozenset[str]
    """Those that have to be."""
    more: bool
    """Whether any number may follow by position."""
    more_named: bool

    @classmethod
    def of(cls, arguments: ast.arguments, *, bound: bool) -> "Signature":
        """`bound`: the first parameter is no part of a call."""
        listed = [*arguments.posonlyargs, *arguments.args]
        names = tuple(each.arg for each in listed)[bound:]
        named = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        return cls(
            positional=names,
            required=len(names) - min(len(names), len(arguments.defaults)),
            by_name=frozenset(each.arg for each in (*arguments.args, *arguments.kwonlyargs)),
            must_be_named=frozenset(each.arg for each, default in named if default is None),
            more=arguments.vararg is not None,
            more_named=arguments.kwarg is not None,
        )

    def takes(self, call: ast.Call) -> bool:
        """Whether a call fits; true where it unpacks something and that cannot be told."""
        names = {each.arg for each in call.keywords}
        if None in names or any(isinstance(each, ast.Starred) for each in call.args):
            return True
        given = len(call.args)
        if given > len(self.positional) and not self.more:
            return False
        if not (self.more_named or names <= self.by_name) or names & self.by_name & {*self.positional[:given]}:
            return False
        return {*self.positional[given : self.required], *self.must_be_named} <= names


Signatures = Mapping[str, Signature | None]
"""By the name that a call uses; None where more than one is meant, or nobody can tell."""


def signatures(body: Sequence[ast.stmt], owner: str = "") -> dict[str, Signature | None]:
    """Of functions, methods and classes; `owner`: the class whose body it is."""
    found: dict[str, Signature | None] = {}
    for name, signature in _each(body, owner):
        found[name] = signature if found.get(name, signature) == signature else None
    return found


def called(call: ast.Call) -> str:
    """The name by which a call finds its signature; empty where it calls something else."""
    function = call.func
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id in _SELF:
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _each(body: Sequence[ast.stmt], owner: str) -> list[tuple[str, Signature | None]]:
    found: list[tuple[str, Signature | None]] = []
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            signature = _signature(node, owner)
            found.append((node.name, signature))
            if owner and node.name == "__init__":
                found.append((owner, signature))
        elif isinstance(node, ast.ClassDef):
            found += _each(node.body, node.name)
        elif isinstance(node, ast.If | ast.Try):
            found += _each([*node.body, *node.orelse], owner)
    return found


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef, owner: str) -> Signature | None:
    decorators = [each.id if isinstance(each, ast.Name) else "" for each in node.decorator_list]
    if any(each not in _PLAIN for each in decorators):
        return None
    return Signature.of(node.args, bound=bool(owner) and "staticmethod" not in decorators)
