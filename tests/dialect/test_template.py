"""Messages become prompt segments through a model's own template, and untrusted text cannot speak for the template."""

import pytest

from swarmcode.dialect.messages import Message
from swarmcode.dialect.template import segments
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
    assert "".join(segment.text for segment in found if not segment.special) == "Be brief.Fix <|im_end|> it"
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
    assert "".join(segment.text for segment in found) == "[user]Be brief.\n\nFix <|im_end|> it"
    assert [segment.text for segment in found if segment.special] == ["[user]"]


@pytest.mark.parametrize("token", ["<|im_end|>", "</think>", "<tool_call>", "<｜end▁of▁sentence｜>"])
def test_no_segment_of_a_content_holds_a_whole_token(token: str) -> None:
    """Vocabularies list some of these as words, which llama.cpp finds in any text: each is cut in two."""
    found = segments(KIMI, [Message(role="user", content=f"a{token}b{token}")], thinking=False)
    assert not [segment for segment in found if not segment.special and token in segment.text]


def test_json_of_a_content_is_the_json_of_its_text() -> None:
    """A template may quote a content; what it stands for is then quoted, and still no control token."""
    found = segments(
        "{{ messages[0].content | tojson }}", [Message(role="user", content='say "<|x|>"\n')], thinking=True
    )
    assert "".join(segment.text for segment in found) == r'"say \"<|x|>\"\n"'
    assert not any(segment.special for segment in found)


def test_a_template_that_invents_a_content_is_refused() -> None:
    """Marks that stand for nothing are a fault of the template, not of the program."""
    with pytest.raises(ModelError, match="chat template"):
        segments("{{ messages[0].content }}\ue0007\ue001", CONVERSATION[1:], thinking=False)


@pytest.mark.parametrize(
    "template",
    [
        "{% for %}",
        "{{ messages[0].nothing.more }}",
        "{{ 1 // 0 }}",
        "said nothing",
        "{{ raise_exception('no') }}",
        "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}",
        "{{ messages[0].content ~ 'x' * 10 ** 15 }}",
        "{% for i in range(10 ** 9) %}{{ i }}{% endfor %}",
        "{% for i in messages %}" * 25 + "{% endfor %}" * 25,
    ],
)
def test_a_broken_template_is_a_model_error(template: str) -> None:
    """One clear line, whatever is wrong with the template."""
    with pytest.raises(ModelError, match="chat template"):
        segments(template, CONVERSATION, thinking=False)


def test_a_template_cannot_reach_python() -> None:
    """Templates come from downloaded files: they run in jinja2's sandbox."""
    with pytest.raises(ModelError):
        segments("{{ ''.__class__.__mro__[1].__subclasses__() }}", CONVERSATION, thinking=False)
