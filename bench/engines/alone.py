"""`Llama.create_completion` of llama-cpp-python: one request at a time."""

import resource
import time
from dataclasses import dataclass
from pathlib import Path

from engines import processes
from engines.outcome import Outcome
from engines.shapes import Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Alone:
    """The high-level interface, told to choose the likeliest token."""

    model: Path
    threads: int
    flash: bool = False
    """Flash attention, which it leaves off by itself."""

    @property
    def name(self) -> str:
        return "create_completion" + " flash_attn" * self.flash

    def run(self, work: Work, limit: float | None = None) -> Outcome | None:
        """One run in a fresh process; all prompts, one after another."""
        return processes.aside(measure, self, work)


def measure(alone: Alone, work: Work) -> Outcome:
    """The run itself, in a process of its own."""
    import llama_cpp
    import llama_cpp.llama_cpp as lib

    lib.llama_vocab_is_eog = lambda vocab, token: False  # it has no other way to go on past them
    threads = {"n_threads": alone.threads, "n_threads_batch": alone.threads}
    model = llama_cpp.Llama(
        str(alone.model), n_ctx=work.shape.context + 1, flash_attn=alone.flash, verbose=False, **threads
    )
    model.create_completion([0], max_tokens=1)
    cpu, began, used = time.process_time(), time.perf_counter(), {"prompt_tokens": 0, "completion_tokens": 0}
    for conversation in work.conversations:
        answer = model.create_completion(
            list(conversation.prompt),
            max_tokens=work.shape.generated,
            temperature=work.shape.temperature,
            repeat_penalty=1.0,
        )
        for name in used:
            used[name] += answer["usage"][name]
    return Outcome(
        seconds=time.perf_counter() - began,
        cpu=time.process_time() - cpu,
        peak=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        generated=used["completion_tokens"],
        prefilled=used["prompt_tokens"],
    )
