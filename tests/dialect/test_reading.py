"""Raw answers of every family become thoughts, words, calls and faults: recorded, malformed, any at all."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmcode.dialect.choose import DIALECTS
from swarmcode.dialect.coder import CODER
from swarmcode.dialect.deepseek import DEEPSEEK
from swarmcode.dialect.harmony import HARMONY
from swarmcode.dialect.hermes import HERMES
from swarmcode.dialect.kimi import KIMI
from swarmcode.dialect.messages import Tool, Turn
from swarmcode.dialect.reading import MOST_CALLS, next_index, parse
from swarmcode.dialect.said import Dialect

BEGIN, END = "<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"
CALL, ARGUMENT, CLOSE = "<|tool_call_begin|>", "<|tool_call_argument_begin|>", "<|tool_call_end|>"
READ = f'{CALL}functions.read:0{ARGUMENT}{{"path": "a.py"}}{CLOSE}'


def made(turn: Turn) -> list[tuple[str, object]]:
    """Names and arguments."""
    return [(call.name, call.arguments) for call in turn.calls]


def test_a_whole_answer_of_kimi() -> None:
    """Thoughts, words, calls with their ids."""
    second = f'{CALL}functions.edit:1{ARGUMENT}{{"old": "a\\n", "new": ""}}{CLOSE}'
    text = f"First look.</think>I read it. {BEGIN}{READ}{second}{END}"
    turn = parse(KIMI, text, thinking=True)
    assert (turn.thinking, turn.content, turn.faults) == ("First look.", "I read it.", ())
    assert made(turn) == [("read", {"path": "a.py"}), ("edit", {"old": "a\n", "new": ""})]
    assert [call.id for call in turn.calls] == ["functions.read:0", "functions.edit:1"]


@pytest.mark.parametrize(
    "text",
    [
        f"{BEGIN}{READ}",
        f"{BEGIN}{READ.removesuffix(CLOSE)}",
        READ,
        f"{BEGIN}{READ}{END}".replace("calls_section", "call_section"),
        f"{BEGIN}{READ.removeprefix(CALL)}{END}",
        READ.removeprefix(CALL),
        f"{BEGIN}{READ.replace(ARGUMENT, '')}{END}",
        f"{BEGIN}{READ.replace('functions.read:0', 'functions_read_0')}{END}",
        f"{BEGIN}{READ.replace('functions.read:0', 'read:0')}{END}",
        f"{BEGIN}{READ.replace('functions.read:0', ' functions.read:0 ')}{END}",
        f"{BEGIN}{READ.replace('functions.read:0', 'read')}{END}",
        f"{BEGIN}{READ.replace('}', ',}')}{END}",
        f"{BEGIN}{READ.replace('}', '}}')}{END}",
        f"{BEGIN}{READ.replace('{', '```json{').replace('}', '}```')}{END}",
        f"{BEGIN}{READ.replace(chr(34), chr(39))}{END}",
    ],
)
def test_calls_of_kimi_that_are_told_badly_are_read_all_the_same(text: str) -> None:
    """Tokens that are missing, singular, or out of place; ids and JSON that are not quite right."""
    turn = parse(KIMI, text)
    assert made(turn) == [("read", {"path": "a.py"})]
    assert (turn.content, turn.faults) == ("", ())


def test_calls_within_an_open_thought_are_calls() -> None:
    """A thinking model may call before it has closed its thought, and may close it afterwards."""
    for text in (f"Let me see. {BEGIN}{READ}{END}", f"Let me see. {BEGIN}{READ}{END}</think>"):
        turn = parse(KIMI, text, thinking=True)
        assert (turn.thinking, turn.content) == ("Let me see.", "")
        assert made(turn) == [("read", {"path": "a.py"})]


def test_indices_run_on_through_the_conversation() -> None:
    """An index that was used before is replaced by the next one; one that leads on is kept."""
    first = parse(KIMI, BEGIN + READ + READ)
    assert [call.id for call in first.calls] == ["functions.read:0", "functions.read:1"]
    count = next_index(first, 0)
    again = parse(KIMI, READ, first=count)
    assert [call.id for call in again.calls] == ["functions.read:2"]
    later = parse(KIMI, READ.replace(":0", ":7"), first=count)
    assert [call.id for call in later.calls] == ["functions.read:7"]
    assert next_index(later, count) == 8


def test_two_calls_run_into_each_other() -> None:
    """As reported of a hosted build: the tokens between two calls are garbage, the second call's name is there."""
    text = f'{BEGIN}{CALL}functions.read:0{ARGUMENT}{{"path": "a"}}�.functions.read:1 {ARGUMENT} {{"path": "b"}}'
    assert made(parse(KIMI, text)) == [("read", {"path": "a"}), ("read", {"path": "b"})]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"{BEGIN}{END}", "no call"),
        (f"{BEGIN}{CALL}functions.read:0{CLOSE}{END}", "no arguments"),
        (f"{BEGIN}{CALL}{ARGUMENT}{{}}{CLOSE}{END}", "no name"),
        (f"{BEGIN}{CALL}call 12!{ARGUMENT}{{}}{CLOSE}", "functions.NAME:IDX"),
        (READ.replace('"}', ""), "not closed"),
        (READ.replace("{", "[").replace("}", "]"), "comma"),
        (f"{CALL}functions.read:0{ARGUMENT}[1]{CLOSE}", "a list"),
        (f"{CALL}functions.read:0{ARGUMENT}{{}} and then{CLOSE}", "follows"),
        (f'{CALL}functions.read:0{ARGUMENT}{{"a": NaN}}{CLOSE}', "a value is missing"),
        (f'{CALL}functions.read:0{ARGUMENT}{{"a": {"[" * 99}{CLOSE}', "deep"),
    ],
)
def test_what_cannot_be_read_is_answered_in_a_sentence(text: str, why: str) -> None:
    """The model is told what was wrong, and no call is made up."""
    turn = parse(KIMI, text)
    assert not turn.calls
    assert len(turn.faults) == 1
    assert why in turn.faults[0]
    assert turn.faults[0].endswith(".")


def test_raw_line_ends_in_strings_are_line_ends() -> None:
    """Models write code into JSON as it is."""
    turn = parse(KIMI, f'{CALL}functions.edit:0{ARGUMENT}{{"new": "def f():\n\treturn \\"x\\"",\n}}{CLOSE}')
    assert made(turn) == [("edit", {"new": 'def f():\n\treturn "x"'})]


def test_qwen_coder_spells_arguments_as_they_are(tools: tuple[Tool, ...]) -> None:
    """Types come from the schema; code needs no quoting, and may hold the very tags."""
    code = 'if a < b:\n    print("</parameter> and <parameter=x>")\n'
    text = (
        "I edit.\n<tool_call>\n<function=edit>\n<parameter=old>\n12\n</parameter>\n"
        f"<parameter=new>\n{code}\n</parameter>\n</function>\n</tool_call>\n"
        "<tool_call>\n<function=read>\n<parameter=path>\na.py\n</parameter>\n<parameter=start>\n12\n</parameter>\n"
        "<parameter=deep>\nTrue\n</parameter>\n</function>\n</tool_call>"
    )
    turn = parse(CODER, text, tools=tools)
    assert made(turn) == [
        ("edit", {"old": "12", "new": code}),
        ("read", {"path": "a.py", "start": 12, "deep": True}),
    ]
    assert (turn.content, turn.faults) == ("I edit.", ())


@pytest.mark.parametrize(
    "text",
    [
        "<tool_call>\n<function=read>\n<parameter=path>\na.py\n</parameter>\n</function>",
        "<function=read>\n<parameter=path>\na.py\n</parameter>\n</function>\n</tool_call>",
        "<tool_call>\n<function=read>\n<parameter=path>\na.py\n</function>\n</tool_call>",
        "<tool_call>\n<function=read>\n<parameter=path>\na.py",
        "<tool_call><function=read><parameter=path>a.py</parameter></function></tool_call>",
        "<tool_call>\n<function='read'>\n<parameter=\"path\">\na.py\n</parameter>\n</tool_call>",
    ],
)
def test_tags_that_are_missing_are_no_matter(text: str) -> None:
    """The beginning of the next one ends the last."""
    turn = parse(CODER, text)
    assert made(turn) == [("read", {"path": "a.py"})]
    assert (turn.content, turn.faults) == ("", ())


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>\n{"name": "read", "arguments": {"path": "a.py"}}\n</tool_call>',
        '<tool_call>{"name": "read", "arguments": "{\\"path\\": \\"a.py\\"}"}</tool_call>',
        '<tool_call>\n{"name": "read", "parameters": {"path": "a.py"}}',
        '<tool_call>\n{"name": "read", "arguments": {"path": "a.py"}}}\n</tool_call>',
        '<tool_call>```json\n{"name": "read", "arguments": {"path": "a.py"}}\n```</tool_call>',
        '<tool_call>[{"type": "function", "function": {"name": "read", "arguments": {"path": "a.py"}}}]</tool_call>',
        '{"name": "read", "arguments": {"path": "a.py"}}',
        '```json\n{"name": "read", "arguments": {"path": "a.py"}}\n```',
        "<tool_call>\n<function=read>\n<parameter=path>\na.py\n</parameter>\n</function>\n</tool_call>",
    ],
)
def test_hermes_in_all_its_forms(text: str) -> None:
    """One object in tags, and what models make of that."""
    turn = parse(HERMES, f"<think>\nSo.\n</think>\n{text}")
    assert made(turn) == [("read", {"path": "a.py"})]
    assert (turn.thinking, turn.content, turn.faults) == ("So.", "", ())


def test_several_objects_in_one_pair_of_tags_are_several_calls() -> None:
    """And what is said around them is said."""
    one = '{"name": "read", "arguments": {"path": "a"}}'
    turn = parse(HERMES, f"Both.\n<tool_call>\n{one}\n{one.replace('a', 'b', 0)}\n</tool_call>\nDone")
    assert [name for name, _ in made(turn)] == ["read", "read"]
    assert turn.content == "Both.\n\nDone"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("<tool_call>\n</tool_call>", "empty"),
        ('<tool_call>{"name": "read", "arguments": 3}</tool_call>', "no JSON object"),
        ('<tool_call>{"arguments": {}}</tool_call>', "no `name`"),
        ('<tool_call>{"name": "read", "arguments": {"path</tool_call>', "not closed"),
        ("<tool_call>read a.py</tool_call>", "a value is missing"),
    ],
)
def test_faults_of_hermes(text: str, why: str) -> None:
    """A sentence each."""
    turn = parse(HERMES, text)
    assert not turn.calls
    assert [why in fault for fault in turn.faults] == [True]


def test_a_tag_that_a_thought_mentions_is_no_call() -> None:
    """Words of a thought that is closed later stay in it."""
    turn = parse(HERMES, "I could use <tool_call> here.</think>No.", thinking=True)
    assert (turn.thinking, turn.content, turn.calls) == ("I could use <tool_call> here.", "No.", ())


@pytest.mark.parametrize(
    "text",
    [
        "<|channel|>analysis<|message|>So.<|end|><|start|>assistant<|channel|>commentary to=functions.read "
        '<|constrain|>json<|message|>{"path": "a.py"}<|call|>',
        "<|channel|>analysis<|message|>So.<|end|><|start|>assistant to=functions.read<|channel|>commentary json"
        '<|message|>{"path": "a.py"}',
        "<|channel|>analysis<|message|>So.<|end|><|start|>assistant<|channel|>analysis to=functions.read code"
        '<|message|>{"path": "a.py"}<|call|>',
        "<|channel|>analysis<|message|>So.<|end|><|start|>assistant<|channel|>commentary to=functions.read "
        '<|constrain|>json{"path": "a.py"}<|call|>',
    ],
)
def test_gpt_oss_calls_on_its_channels(text: str) -> None:
    """The recipient before or behind the channel; the mark of the message may be missing."""
    turn = parse(HARMONY, text, thinking=True)
    assert made(turn) == [("read", {"path": "a.py"})]
    assert (turn.thinking, turn.content, turn.faults) == ("So.", "", ())


def test_gpt_oss_answers_on_the_final_channel() -> None:
    """A preamble and a final message are both said; plain text is taken as said."""
    text = "<|channel|>commentary<|message|>I look. <|end|><|start|>assistant<|channel|>final<|message|>Done.<|return|>"
    assert parse(HARMONY, text).content == "I look. Done."
    assert parse(HARMONY, "Just text.").content == "Just text."


@pytest.mark.parametrize(
    "text",
    [
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>read\n```json\n"
        '{"path": "a.py"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
        '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>read<｜tool▁sep｜>{"path": "a.py"}<｜tool▁call▁end｜>'
        "<｜tool▁calls▁end｜>",
        '<｜tool▁call▁begin｜>read<｜tool▁sep｜>{"path": "a.py"}',
        '<|tool_calls_begin|><|tool_call_begin|>read<|tool_sep|>{"path": "a.py"}<|tool_call_end|>',
        '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>read {"path": "a.py"}<｜tool▁call▁end｜>',
    ],
)
def test_deepseek_calls_in_both_orders(text: str) -> None:
    """With or without the word, the fence, the closing tokens, and the right spelling of the tokens."""
    turn = parse(DEEPSEEK, f"So.</think>I look.{text}", thinking=True)
    assert made(turn) == [("read", {"path": "a.py"})]
    assert (turn.thinking, turn.content, turn.faults) == ("So.", "I look.", ())


def test_a_model_that_was_asked_in_words_may_answer_as_it_was_trained() -> None:
    """Control tokens that an endpoint left in are read; what is asked for natively is read as nothing else."""
    assert made(parse(HERMES, BEGIN + READ + END)) == [("read", {"path": "a.py"})]
    assert not parse(CODER, BEGIN + READ + END).calls


def test_a_model_that_repeats_itself_is_stopped() -> None:
    """So many calls, and a sentence about the rest."""
    turn = parse(KIMI, READ * (MOST_CALLS + 5))
    assert len(turn.calls) == MOST_CALLS
    assert len({call.id for call in turn.calls}) == MOST_CALLS
    assert turn.faults


PIECES = st.sampled_from(
    sorted(
        {
            *(marker for dialect in DIALECTS for marker in dialect.markers),
            *(
                "functions.read:0",
                "functions_read_1",
                "{",
                "}",
                '{"path": "a"}',
                '"',
                "'",
                "\\",
                "\n",
                ",",
                ":",
                "[",
                "]",
            ),
            *(
                "<function=read>",
                "</function>",
                "<parameter=path>",
                "</parameter>",
                "to=functions.read",
                "json",
                "read",
            ),
            *('{"name": "read", "arguments": {}}', "1e999", "NaN", "\\ud800", "```json\n", "```", "�", "x", "<", "｜"),
        }
    )
)


@settings(max_examples=150, deadline=None)
@given(
    text=st.lists(PIECES | st.text(max_size=5), max_size=40).map("".join),
    dialect=st.sampled_from(DIALECTS),
    thinking=st.booleans(),
    first=st.integers(0, 5),
)
def test_any_answer_at_all_is_read(text: str, dialect: Dialect, thinking: bool, first: int) -> None:
    """Never an error; arguments are JSON objects that a file can hold; ids are new and unlike; faults are sentences."""
    turn = parse(
        dialect, text, thinking=thinking, first=first, tools=[Tool(name="read", description="", parameters={})]
    )
    for call in turn.calls:
        assert isinstance(call.arguments, dict)
        json.dumps(call.arguments, allow_nan=False).encode()
        json.dumps(call.arguments, ensure_ascii=False).encode()
    assert len({call.id for call in turn.calls}) == len(turn.calls)
    assert next_index(turn, first) >= first + len(turn.calls)
    assert all(fault.endswith(".") and "\n" not in fault for fault in turn.faults)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_reading_takes_time_in_proportion_to_the_answer(dialect: Dialect) -> None:
    """A hundred thousand openings, unclosed, are no trap."""
    for marker in (*dialect.markers, "<function=read>", "<parameter=path>\n", "</parameter>\n", '{"', "functions.a:0 "):
        parse(dialect, marker * 20_000, thinking=True)
