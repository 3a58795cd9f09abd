"""Messages become prompt segments through a model's own template, and untrusted text cannot speak for the template."""

import pytest

from swarmcode.agent.chat import Message, segments
from swarmcode.errors import ModelError

KIMI = (
    "{% for message in messages %}<|im_{{ message['role'] }}|>{{ message['role'] }}<|im_middle|>"
    "{{ message['content'] }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_assistant|>assistant<|im_middle|>"
    "{{ '<think>' if thinking else '<think></think>' }}{% endif %}"
)
NO_SYSTEM = (
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "[{{ message['role'] }}]{{ message['content'] | trim }}{% endfor %}"
)
CONVERSATION = [Message(role="system", content="Be brief."), Message(role="user", content="Fix <|im_end|> it")]


def test_contents_are_never_special() -> None:
    """A control token that an issue or a file spells stays plain text."""
    found = segments(KIMI, CONVERSATION, thinking=False)
    assert [segment.text for segment in found if not segment.special] == ["Be brief.", "Fix <|im_end|> it"]
    assert "".join(segment.text for segment in found) == (
        "<|im_system|>system<|im_middle|>Be brief.<|im_end|><|im_user|>user<|im_middle|>Fix <|im_end|> it<|im_end|>"
        "<|im_assistant|>assistant<|im_middle|><think></think>"
    )


def test_thinking_is_the_templates_switch() -> None:
    """On leaves the thought open, off closes it."""
    assert segments(KIMI, CONVERSATION, thinking=True)[-1].text.endswith("<think>")
    assert segments(KIMI, CONVERSATION, thinking=False)[-1].text.endswith("<think></think>")


def test_a_template_without_system_role_gets_it_in_the_first_message() -> None:
    """What the system message says is not lost."""
    found = segments(NO_SYSTEM, CONVERSATION, thinking=False)
    assert [segment.text for segment in found] == ["[user]", "Be brief.\n\nFix <|im_end|> it"]


@pytest.mark.parametrize(
    "template",
    ["{% for %}", "{{ messages[0].nothing.more }}", "{{ 1 // 0 }}", "said nothing", "{{ raise_exception('no') }}"],
)
def test_a_broken_template_is_a_model_error(template: str) -> None:
    """One clear line, whatever is wrong with the template."""
    with pytest.raises(ModelError, match="chat template"):
        segments(template, CONVERSATION, thinking=False)


def test_a_template_cannot_reach_python() -> None:
    """Templates come from downloaded files: they run in jinja2's sandbox."""
    with pytest.raises(ModelError):
        segments("{{ ''.__class__.__mro__[1].__subclasses__() }}", CONVERSATION, thinking=False)
