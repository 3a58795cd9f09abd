"""Chat templates that are built as those of known families are, written for these tests."""

from collections.abc import Callable

import pytest

from swarmcode.dialect.messages import Tool
from swarmcode.engine.protocol import Segment

KIMI = """\
{%- macro role(message) -%}
  {%- set name = message.get('name') or message['role'] -%}
  {%- if message['role'] == 'user' -%}<|im_user|>{{ name }}<|im_middle|>
  {%- elif message['role'] == 'assistant' -%}<|im_assistant|>{{ name }}<|im_middle|>
  {%- else -%}<|im_system|>{{ name }}<|im_middle|>
  {%- endif -%}
{%- endmacro -%}
{%- set ns = namespace(last=-1) -%}
{%- for place in range(messages | length - 1, -1, -1) -%}
  {%- if messages[place]['role'] == 'assistant' and not messages[place].get('tool_calls') -%}
    {%- set ns.last = place -%}{%- break -%}
  {%- endif -%}
{%- endfor -%}
{%- if tools -%}
  <|im_system|>tool_declare<|im_middle|>{{ tools | tojson(separators=(',', ':')) }}<|im_end|>
{%- endif -%}
{%- for message in messages -%}
  {{ role(message) }}
  {%- if message['role'] == 'assistant' -%}
    <think>{{ message.get('reasoning_content', '') if loop.index0 > ns.last else '' }}</think>{{ message['content'] }}
    {%- if message.get('tool_calls') -%}<|tool_calls_section_begin|>
      {%- for call in message['tool_calls'] -%}
        <|tool_call_begin|>{{ call['id'] }}<|tool_call_argument_begin|>
        {%- set arguments = call['function']['arguments'] -%}
        {{ arguments if arguments is string else arguments | tojson }}<|tool_call_end|>
      {%- endfor -%}<|tool_calls_section_end|>
    {%- endif -%}
  {%- elif message['role'] == 'tool' -%}
    ## Return of {{ message.tool_call_id }}
{{ message['content'] }}
  {%- else -%}
    {{ message['content'] }}
  {%- endif -%}<|im_end|>
{%- endfor -%}
{%- if add_generation_prompt -%}
  <|im_assistant|>assistant<|im_middle|>{{ '<think>' if thinking else '<think></think>' }}
{%- endif -%}
"""
CODER = """\
{%- if tools %}{{ '<|im_start|>system\\n' + messages[0].content + '\\n\\n# Tools\\n\\n<tools>' }}
  {%- for tool in tools %}{%- set tool = tool.function %}
    {{- '\\n<function>\\n<name>' ~ tool.name ~ '</name>\\n<description>' ~ tool.description | trim ~ '</description>' }}
    {%- for name, fields in tool.parameters.properties | items %}
      {{- '\\n<parameter>\\n<name>' ~ name ~ '</name>\\n<type>' ~ fields.type ~ '</type>\\n</parameter>' }}
    {%- endfor %}
    {{- '\\n</function>' }}
  {%- endfor %}
  {{- '\\n</tools>\\n\\n<tool_call>\\n<function=example_function_name>\\n...</tool_call><|im_end|>\\n' }}
{%- else %}{{ '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages[1:] %}
  {%- if message.role == 'assistant' %}
    {{- '<|im_start|>assistant\\n' + message.content }}
    {%- for call in message.tool_calls %}
      {{- '\\n<tool_call>\\n<function=' + call.function.name + '>\\n' }}
      {%- for name, value in call.function.arguments | items %}
        {{- '<parameter=' + name + '>\\n' }}
        {{- value | tojson if value is mapping or (value is sequence and value is not string) else value | string }}
        {{- '\\n</parameter>\\n' }}
      {%- endfor %}
      {{- '</function>\\n</tool_call>' }}
    {%- endfor %}
    {{- '<|im_end|>\\n' }}
  {%- elif message.role == 'tool' %}
    {{- '<|im_start|>user\\n<tool_response>\\n' + message.content + '\\n</tool_response>\\n<|im_end|>\\n' }}
  {%- else %}{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
  {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}
"""
HARMONY = """\
<|start|>system<|message|>Reasoning: {{ reasoning_effort }}
# Valid channels: analysis, commentary, final.<|end|><|start|>developer<|message|># Instructions

{{ messages[0].content }}
{%- if tools %}

# Tools

namespace functions {
{% for tool in tools %}
// {{ tool.function.description }}
type {{ tool.function.name }} = (_: {{ tool.function.parameters | tojson }}) => any;
{% endfor %}
}
{%- endif %}<|end|>
{%- set last = namespace(name='') %}
{%- for message in messages[1:] %}
  {%- if message.role == 'assistant' and message.tool_calls %}
    {%- set call = message.tool_calls[0].function %}{%- set last.name = call.name %}
    {%- if message.content and message.thinking %}{{ raise_exception('both content and thinking') }}{% endif %}
    {%- if message.content or message.thinking %}
      {{- '<|start|>assistant<|channel|>analysis<|message|>' + (message.content or message.thinking) + '<|end|>' }}
    {%- endif %}
    {{- '<|start|>assistant to=functions.' + call.name + '<|channel|>commentary json<|message|>' }}
    {{- call.arguments | tojson }}{{ '<|call|>' }}
  {%- elif message.role == 'assistant' %}
    {{- '<|start|>assistant<|channel|>final<|message|>' + message.content + '<|end|>' }}
  {%- elif message.role == 'tool' %}
    {{- '<|start|>functions.' + last.name + ' to=assistant<|channel|>commentary<|message|>' }}
    {{- message.content | tojson }}{{ '<|end|>' }}
  {%- else %}{{ '<|start|>user<|message|>' + message.content + '<|end|>' }}
  {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|start|>assistant' }}{% endif %}
"""
DEEPSEEK = """\
{{ bos_token }}{% for message in messages if message['role'] == 'system' %}{{ message['content'] }}{% endfor %}
{%- set ns = namespace(asked=false) %}
{%- for message in messages %}
  {%- if message['role'] == 'user' %}{%- set ns.asked = true %}{{ '<｜User｜>' + message['content'] }}
  {%- elif message['role'] == 'assistant' %}
    {%- if ns.asked %}{{ '<｜Assistant｜></think>' }}{% endif %}{%- set ns.asked = false %}
    {%- if message['tool_calls'] is defined %}{{ message['content'] + '<｜tool▁calls▁begin｜>' }}
      {%- for call in message['tool_calls'] %}
        {{- '<｜tool▁call▁begin｜>' + call['function']['name'] + '<｜tool▁sep｜>' + call['function']['arguments'] }}
        {{- '<｜tool▁call▁end｜>' }}
      {%- endfor %}{{ '<｜tool▁calls▁end｜><｜end▁of▁sentence｜>' }}
    {%- else %}{{ message['content'] + '<｜end▁of▁sentence｜>' }}{% endif %}
  {%- elif message['role'] == 'tool' %}{%- set ns.asked = false %}
    {{- '<｜tool▁output▁begin｜>' + message['content'] + '<｜tool▁output▁end｜>' }}
  {%- endif %}
{%- endfor %}
{%- if add_generation_prompt and ns.asked %}
  {{- '<｜Assistant｜><think>' if thinking else '<｜Assistant｜></think>' }}
{%- endif %}
"""
CHATML = """\
{% for message in messages %}<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
TEMPLATES = {"kimi": KIMI, "coder": CODER, "harmony": HARMONY, "deepseek": DEEPSEEK, "hermes": CHATML}
READ = Tool(
    name="read",
    description="Reads a file.",
    parameters={
        "type": "object",
        "properties": {"path": {"type": "string"}, "start": {"type": "integer"}, "deep": {"type": "boolean"}},
        "required": ["path"],
    },
)
EDIT = Tool(
    name="edit",
    description="Replaces text <once>.",
    parameters={
        "type": "object",
        "properties": {"old": {"type": "string"}, "new": {"type": "string"}, "how": {"enum": ["all", "one"]}},
        "required": ["old", "new"],
    },
)
TOOLS = (READ, EDIT)


@pytest.fixture
def templates() -> dict[str, str]:
    """Family -> template; the one of `hermes` says nothing of tools."""
    return TEMPLATES


@pytest.fixture
def tools() -> tuple[Tool, ...]:
    """`read` and `edit`."""
    return TOOLS


@pytest.fixture(params=sorted(TEMPLATES))
def family(request: pytest.FixtureRequest) -> str:
    """Each family in turn."""
    name: str = request.param
    return name


@pytest.fixture
def spelt() -> Callable[[tuple[Segment, ...]], str]:
    """A prompt as one text; tokens stand as numbers."""
    return lambda prompt: "".join(segment.text or f"⟨{' '.join(map(str, segment.tokens))}⟩" for segment in prompt)
