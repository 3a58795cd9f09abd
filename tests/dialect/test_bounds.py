"""A chat template comes to an end, whatever stands in it, and the next one is not troubled by it."""

import asyncio
import resource
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmcode.dialect.bounds import SECONDS
from swarmcode.dialect.messages import Message
from swarmcode.dialect.template import segments
from swarmcode.errors import ModelError

TALK = [Message(role="user", content="hello")]
GOOD = "{% for m in messages %}{{ m.content }}{% endfor %}"
LOOPS = [
    "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
    "{% for a in range(100000) recursive %}{{ loop(range(100000)) }}{% endfor %}",
    "{% macro a(n) %}{% if n %}{{ a(n - 1) }}{{ a(n - 1) }}{% endif %}{% endmacro %}{{ a(60) }}",
    "{% for a in range(99999) %}{{ range(99999) | select('in', range(99999) | list) | list | length }}{% endfor %}",
]
VALUES = [
    "{{ 'x' * 10 ** 12 }}",
    "{{ 10 ** (10 ** 10) }}",
    "{% set n = namespace(x=7) %}{% for i in range(99) %}{% set n.x = n.x * n.x %}{% endfor %}",
    "{% set n = namespace(x='x') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    "{% set n = namespace(x='x') %}{% for i in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}",
    "{% set n = namespace(x=1) %}{% for i in range(99) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}",
    "{% set n = namespace(x=1) %}{% for i in range(99) %}{% set n.x = {'a': n.x, 'b': n.x} %}{% endfor %}{{ n.x }}",
    "{% set n = namespace(x=1) %}{% for i in range(99) %}{% set n.x = dict(a=n.x, b=n.x) %}{% endfor %}{{ n.x }}",
    "{% set n = namespace(x='x') %}{% for i in range(99) %}{% set n.x %}{{ n.x }}{{ n.x }}{% endset %}{% endfor %}",
    "{% set x %}{% for i in range(99999) %}{{ 'a' * 999999 }}{% endfor %}{% endset %}",
    "{% set n = namespace(x=[]) %}{% for i in range(99999) %}{% set n.x = n.x + ['a' * 99999] %}{% endfor %}",
    "{{ 'x' | center(10 ** 10) }}{{ 'x' | indent(10 ** 10) }}",
    "{{ 'x'.center(10 ** 10) }}",
    "{{ ('x' * 99999).replace('x', 'x' * 99999) }}",
    "{{ ('x' * 99999).translate({120: 'x' * 99999}) }}",
    "{{ ('x' * 99999).join(range(99999) | map('string')) }}",
    "{{ '%99999999999d' % 1 }}",
    "{{ '%*d' % (10 ** 10, 1) }}",
    "{{ '{:99999999999}'.format(1) }}",
    "{{ '{:{w}}'.format(1, w=10 ** 10) }}",
    "{{ '%099999999999d' | format(1) }}",
    "{{ ('%(a)s' * 99999) % {'a': 'x' * 99999} }}",
    "{{ [messages] | tojson(indent=10 ** 8) }}",
    "{{ 'x' | batch(10 ** 9, 'x') | list }}",
    "{{ [1] | slice(10 ** 9) | list }}",
    "{{ lipsum(99999) }}",
    "{{ raise_exception('x' * 999999) }}",
]


@pytest.fixture(autouse=True)
def bounded_memory() -> Iterator[None]:
    """A value that gets away fails its test, and not the machine."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[5]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_DATA, (used + (1 << 30), hard))
    yield
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


@pytest.mark.parametrize("template", LOOPS + VALUES)
def test_a_template_that_never_ends_is_a_model_error(template: str) -> None:
    """For the request that it was rendered for alone: no thread goes on, and the next one is answered."""
    threads, began = threading.active_count(), time.thread_time()
    with pytest.raises(ModelError, match="chat template does not render") as error:
        segments(template + GOOD, TALK, thinking=False)
    assert time.thread_time() - began < 3 * SECONDS
    assert len(error.value.message) < 400
    assert "\n" not in error.value.message
    assert threading.active_count() == threads
    assert segments(GOOD, TALK, thinking=False)[0].text == "hello"


def test_a_namespace_that_holds_itself_is_printed() -> None:
    """Not what is in it, which may be without end."""
    own = "{% set n = namespace() %}{% set n.x = n %}{% set n.y = [n, n] %}{{ n }}"
    assert segments(own + GOOD, TALK, thinking=False)[0].text == "namespace"


def test_each_rendering_has_time_of_its_own() -> None:
    """Two at once in two threads: one ends in an error, the other in a prompt."""

    async def both() -> list[Any]:
        work = (asyncio.to_thread(segments, each, TALK, thinking=False) for each in (LOOPS[0] + GOOD, GOOD))
        return await asyncio.gather(*work, return_exceptions=True)

    endless, good = asyncio.run(both())
    assert isinstance(endless, ModelError)
    assert good[0].text == "hello"


def test_a_long_conversation_is_within_bounds() -> None:
    """Templates look back from each message, and ask for the length of all at each."""
    looking = (
        "{% for m in messages %}{% for later in messages[loop.index:] %}{% if later.role == 'x' %}!{% endif %}"
        "{% endfor %}{{ m.content | trim + '%5d' | format(messages | length) }}{% endfor %}"
    )
    found = segments(looking, [Message(role="user", content="words " * 999)] * 400, thinking=False)
    assert sum(len(segment.text) for segment in found) > 400 * 5000


NAMES = st.sampled_from(["messages", "n.x", "7", "'ab'", "[1, 'b']", "range(9)", "none", "x"])
WORK = st.sampled_from(
    [
        "{a} * {b}", "{a} + {b}", "{a} ** {b}", "{a} % {b}", "{a} ~ {b}", "[{a}, {b}]", "{{1: {a}, 2: {b}}}",
        "{a} | join({b})", "{a} | list", "{a} | tojson", "{a} | batch({b})", "{a} | map('string') | list",
        "{a} | replace('a', {b})", "{a}.center({b})", "{a} | length", "{a} | string", "{a} | format({b})",
        "{a}[{b}:]", "{a} | indent({b})", "{a} | sort", "{a} | default({b})", "{a} | int", "{a} is eq {b}",
    ]
)  # fmt: skip


@settings(max_examples=20, deadline=None)
@given(steps=st.lists(st.tuples(WORK, NAMES, NAMES), min_size=1, max_size=5), turns=st.sampled_from([1, 40]))
def test_any_template_ends(steps: list[tuple[str, str, str]], turns: int) -> None:
    """In a prompt, or in an error that says that the template is at fault."""
    work = "".join("{% set n.x = " + form.format(a=a, b=b) + " %}" for form, a, b in steps)
    template = f"{{% set n = namespace(x='ab') %}}{{% for i in range({turns}) %}}{work}{{% endfor %}}{{{{ n.x }}}}"
    began = time.thread_time()
    with suppress(ModelError):
        segments(template + GOOD, TALK, thinking=False)
    assert time.thread_time() - began < 3 * SECONDS
