"""What a chat template may cost: it comes from a downloaded file, and must come to an end.

jinja2's sandbox keeps a template away from Python, and not from the processor and the memory. Here each turn of a loop,
each call and each filter looks at the clock of its thread, and whatever can make a large value at once is held to a
size before or after it has done so. All of it happens in the thread that renders: there is nothing to clean up.

Filters whose time grows faster than their text (regular expressions, repeated sums) are left out; no chat template that
we know has them, and llama.cpp's own renderer has none of them either. Not covered: memory below `LARGEST` a value and
`MOST` a rendering, which is some hundred MB where every character is a wide one.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from types import BuiltinMethodType
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.filters import do_format
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

SECONDS = 1.0
"""Of the processor, for one rendering; the slowest templates that we know take some hundredths."""
LARGEST = 1 << 20
"""Characters and items of one value, with all that is in it, and of the rendered text."""
MOST = 1 << 26
"""The same of all values that one rendering makes."""
_PRODUCT = 1 << 26
"""Sizes of all that one call works on, multiplied: what comes out is no larger."""
_INT_BITS = 4096
_WIDE = re.compile(r"\d{5}")
"""In a format: a width or a precision that no prompt has."""
_SLOW = "lipsum", "pprint", "random", "striptags", "sum", "urlize", "wordcount", "wordwrap", "xmlattr"


class TooMuch(jinja2.TemplateError):
    """A template goes beyond its bounds."""


class _Meter:
    """What one rendering has cost so far."""

    def __init__(self) -> None:
        self._end = time.thread_time() + SECONDS
        self._look = time.monotonic() + SECONDS
        self._made = 0

    def tick(self) -> None:
        """Raises `TooMuch` where time is up. The thread's own clock is slow to read, and never ahead of the wall's."""
        now = time.monotonic()
        if now < self._look:
            return
        left = self._end - time.thread_time()
        if left <= 0:
            raise TooMuch(f"it has not ended after {SECONDS:g} s")
        self._look = now + left

    def made(self, value: Any) -> Any:
        """The value, if it is not too large. Raises `TooMuch`."""
        self.tick()
        self._made += _weight(value)
        if self._made > MOST:
            raise TooMuch("it makes too many values")
        return value


_METER: ContextVar[_Meter] = ContextVar("meter")


@contextmanager
def bounded() -> Iterator[None]:
    """What is compiled and rendered within may cost as much as one rendering. Raises `TooMuch`."""
    token = _METER.set(_Meter())
    try:
        yield
    finally:
        _METER.reset(token)


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """Compiles and renders only within `bounded`."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, filters: Mapping[str, Callable[..., Any]], **options: Any) -> None:
        super().__init__(**options, finalize=_made)
        self.filters.update(filters)
        self.globals["namespace"] = _Silent
        for name in _SLOW:
            self.filters.pop(name, None)
            self.globals.pop(name, None)
        self.filters.update({name: _filter(each) for name, each in self.filters.items()}, counted=_counted, made=_made)
        tests: dict[str, Any] = {**self.tests}
        self.tests.update({name: _ticking(each) for name, each in tests.items()})

    @staticmethod
    def concat(pieces: Iterable[str]) -> str:  # a class attribute there
        """Joins what was printed."""
        kept, size = [], 0
        for piece in pieces:
            kept.append(piece)
            size += len(piece)
            if size > LARGEST:
                raise TooMuch("its text is too long")
        return "".join(kept)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805  # as there
        builtin = getattr(__obj, "__wrapped__", __obj)  # of `format`, the sandbox's stand-in
        if isinstance(builtin, BuiltinMethodType):
            if builtin.__name__.startswith("format"):
                _check_format(builtin.__self__)
            _check_product(builtin.__self__, *args, *kwargs.values())
        return _made(super().call(__context, __obj, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" and isinstance(left, int) and isinstance(right, int):
            _check(left.bit_length() * abs(right), _INT_BITS)
        elif operator == "*" and isinstance(left, int) and isinstance(right, int):
            _check(left.bit_length() + right.bit_length(), _INT_BITS)
        elif operator == "*":
            _check_product(left, right)
        elif operator == "%" and isinstance(left, str | bytes):
            _check_format(left)
            _check_product(left, right)
        return _made(super().call_binop(context, operator, left, right))

    def _generate(self, source: nodes.Template, *args: Any, **kwargs: Any) -> str:
        return super()._generate(_Metering().visit(source), *args, **kwargs)


class _Metering(NodeTransformer):
    """Puts the meter where a template repeats something, and where it makes a value without a call."""

    def visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> Any:
        self.generic_visit(node)
        if isinstance(node, nodes.For):
            node.iter = _through("counted", node.iter)
        return _through("made", node) if _makes(node) else node


def _makes(node: nodes.Node) -> bool:
    if isinstance(node, nodes.Tuple):
        return node.ctx == "load"
    if isinstance(node, nodes.List):
        return not all(isinstance(item, nodes.Const) for item in node.items)
    return isinstance(node, nodes.Concat | nodes.Dict)


def _through(name: str, node: nodes.Node) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


class _Silent(Namespace):
    """A namespace that does not print what it holds, which may be itself many times over."""

    def __repr__(self) -> str:
        return "namespace"


def _made(value: Any) -> Any:
    return _METER.get().made(value)


def _counted(items: Iterable[Any]) -> Iterator[Any]:
    for item in items:
        _METER.get().tick()
        yield item


def _ticking(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def ticking(*args: Any, **kwargs: Any) -> Any:
        _METER.get().tick()
        return function(*args, **kwargs)

    return ticking


def _filter(function: Callable[..., Any]) -> Callable[..., Any]:
    subject = int(hasattr(function, "jinja_pass_arg"))

    @wraps(function)
    def metered(*args: Any, **kwargs: Any) -> Any:
        value, *others = args[subject:]
        if function is do_format:
            _check_format(value)
        _check_product(1 if isinstance(value, int) else value, *others, *kwargs.values())
        return _made(function(*args, **kwargs))

    return metered


def _check(size: int, most: int) -> None:
    if size > most:
        raise TooMuch("a value in it is too large")


def _check_product(*values: Any) -> None:
    """Raises `TooMuch` where what is made of these values may be larger than all bounds."""
    product = 1
    for value in values:
        product *= max(1, _size(value))
    _check(product, _PRODUCT)


def _check_format(text: Any) -> None:
    if _WIDE.search(str(text)):
        raise TooMuch("a width in it is too large")


def _size(value: Any) -> int:
    """What it can multiply another by; of what was given to the template only how many there are, which is quick."""
    if isinstance(value, int):
        _check(abs(value), LARGEST)
        return abs(value)
    if type(value) in (dict, list, tuple):
        return _weight(value)
    return len(value) if isinstance(value, str | bytes | list) else 1


def _weight(value: Any) -> int:
    """Characters and items, each as often as it would be printed. Raises `TooMuch` above `LARGEST`."""
    weight, left = 0, [value]
    while left:
        each = left.pop()
        if isinstance(each, int):
            _check(each.bit_length(), _INT_BITS)
        weight += len(each) if isinstance(each, str | bytes) else 1
        if isinstance(each, Mapping):
            weight += 2 * len(each)
            left += [*each.keys(), *each.values()]
        elif isinstance(each, list | tuple | set | frozenset):
            weight += len(each)
            left += each
        _check(weight, LARGEST)
    return weight
