"""A conversation on a real engine: what was computed or generated once is found in the cache by every later turn."""

import asyncio
from dataclasses import replace

import pytest

from swarmcode.agent.conversation import LEAST_ANSWER, Conversation
from swarmcode.agent.tools import TOOLS
from swarmcode.dialect.messages import Message
from swarmcode.engine.llama.engine import open_engine
from swarmcode.engine.models import resolve
from swarmcode.engine.protocol import Sampling

TEMPLATE = """\
{%- if tools -%}<|im_system|>tool_declare<|im_middle|>{{ tools[0] | tojson }}<|im_end|>{%- endif -%}
{%- for message in messages -%}
  <|im_{{ message.role }}|>{{ message.name or message.role }}<|im_middle|>{{ message.content }}
  {%- for call in message.tool_calls -%}
    <|tool_calls_section_begin|>{{ call.id }}{{ call.function.arguments | tojson }}
  {%- endfor -%}<|im_end|>
{%- endfor -%}
<|im_assistant|>assistant<|im_middle|>"""


@pytest.mark.model
def test_no_token_of_a_conversation_is_computed_twice() -> None:
    """Turn after turn the engine reuses the whole prompt before and the answer to it, whatever tokens that was made
    of; two agents with one task share their head."""
    model = resolve("repair")
    sampling = Sampling(temperature=1.0, max_tokens=LEAST_ANSWER)
    profile = replace(model.profile, context=4096, chat_template=TEMPLATE, sampling=sampling, dialect="kimi")
    opening = [Message(role="system", content="Be brief."), Message(role="user", content="Mend it. " * 20)]

    async def talk() -> None:
        engine = await open_engine(replace(model, profile=profile), agents=2)
        try:
            talks = [Conversation(engine, opening, TOOLS, seed=seed) for seed in (0, 1000)]
            known = [0, 0]
            for turn in range(3):
                for place, each in enumerate(talks):
                    before = each.usage
                    await each.ask()
                    used = each.usage
                    prompt = used.prefilled + used.reused - before.prefilled - before.reused
                    if turn or place:
                        # The last token of a prompt is always computed, for what follows it.
                        assert used.reused - before.reused >= known[place] - 1
                    known[place] = prompt + used.decoded - before.decoded - 1
                    known[1] = known[1] or prompt - 1
                    each.go_on([Message(role="user", content=f"Go on, {turn}.")])
        finally:
            await engine.close()

    asyncio.run(talk())
