"""A model's dialect is told by its template, and so is what that template can do."""

import pytest

from swarmcode.dialect.choose import ability, dialect_of
from swarmcode.dialect.hermes import HERMES
from swarmcode.dialect.kimi import KIMI
from swarmcode.dialect.spelling import Speller


def test_each_family_is_known_by_its_template(templates: dict[str, str], family: str) -> None:
    """Never by its name."""
    assert dialect_of(templates[family]).name == family


def test_what_a_template_does_with_tools_is_seen(templates: dict[str, str]) -> None:
    """By rendering a small conversation; a template that fails can do nothing."""
    able = {name: (ability(template).calls, ability(template).declares) for name, template in templates.items()}
    assert able == {
        "kimi": (True, True),
        "coder": (True, True),
        "harmony": (True, True),
        "deepseek": (True, False),
        "hermes": (False, False),
    }
    assert not ability("{% for %}").calls


@pytest.mark.parametrize("switch", ["thinking", "enable_thinking", "reasoning_effort"])
def test_the_switch_of_thoughts_is_a_variable(switch: str) -> None:
    """Not a word, a tag, or a part of a message of that name; and one that changes nothing is none."""
    words = "{{ messages[0].content }}{{ messages[0].thinking }}{{ 'thinking' in messages[0] }}<thinking></thinking>"
    assert ability(words + "{{ " + switch + " }}").switch == switch
    assert ability(words).switch == ""
    assert ability(words + "{{ '' if " + switch + " else '' }}").switch == ""


@pytest.mark.parametrize("form", ["<tool_call>", "<tool_call><arg_key>", "[TOOL_CALLS]", "<|python_tag|>"])
def test_a_form_that_nobody_reads_is_not_promised(form: str) -> None:
    """A template may render calls in a form of its own: its model is then asked for them in words."""
    template = (
        "{{ tools }}{% for m in messages %}{{ m.role }}: {{ m.content }}"
        "{% for call in m.tool_calls %}FORM{{ call.function.name }}{{ call.function.arguments }}"
        "{% endfor %}{% endfor %}"
    ).replace("FORM", form)
    assert ability(template).calls == (form == "<tool_call>")
    assert dialect_of(template) is HERMES


def test_control_tokens_are_spelt_out_for_the_parser() -> None:
    """An engine's own text leaves them out; characters that tokens share stay whole."""
    vocabulary = {"<|tool_call_begin|>": (300,), "</think>": (301,)}

    def tokenize(text: str) -> tuple[int, ...]:
        return vocabulary.get(text, tuple(text.encode()))

    speller = Speller(KIMI, tokenize, lambda tokens: bytes(token for token in tokens if token < 256))
    tokens = (*"é"[:1].encode(), 301, *b"a", 300, 300, 999, *"ü".encode())
    assert speller.spelt(tokens) == "é</think>a<|tool_call_begin|><|tool_call_begin|>ü"
