"""The span-edit protocol, version 2: what the model reads and what it answers, as token ids.

    begin BEFORE rest AFTER bug P0 t0 P1 t1 ... tn-1 Pn fix      the prompt
    Pa Pb r0 r1 ... end                                          the answer: r0.. replace the line's tokens a..b-1

BEFORE and AFTER are the lines around the suspect line, each followed by a newline; each side, and the line, is
tokenized by itself. The suspect line comes last, so that everything before `bug` is shared by all that is asked about
one place. An answer may contain newlines (a missing line is inserted before the suspect line); if the whole line is
replaced by nothing, the line goes. `P0 P0 end` changes nothing: the model was taught to say so of a correct line, so
its probability tells how innocent a line is, and the probabilities of edits can be compared across lines. It is no
candidate, and is masked when candidates are wanted.

`span.version` 2 in the GGUF (key `swarmcode.span.version`) names exactly this; version 1 had AFTER behind the line.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

PAD, END, BUG, FIX, BEGIN, REST = range(6)
SPECIALS = ("<|pad|>", "<|end|>", "<|bug|>", "<|fix|>", "<|begin|>", "<|rest|>")
POINTERS = 64
BEFORE_LINES = 16
AFTER_LINES = 8
BEFORE_TOKENS = 256
AFTER_TOKENS = 128
ANSWER_TOKENS = 48
VERSION = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A suspect line in its function: the text of the lines around it, newlines stripped, blank and comment lines left
    out.
    """

    before: Sequence[str]
    line: str
    after: Sequence[str]


class Codec:
    """Text <-> token ids of the protocol. The last 64 ids of the vocabulary are the pointers P0..P63."""

    def __init__(self, path: Path) -> None:
        self.tokenizer = Tokenizer.from_file(str(path))
        self.tokenizer.encode_special_tokens = True  # "<|end|>" in someone's source is text
        self.vocabulary = self.tokenizer.get_vocab_size()
        self.pointer = self.vocabulary - POINTERS

    def encode(self, text: str) -> list[int]:
        """Ids of plain text; what looks like a special token in it is text like any other."""
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ordinary ids."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=False)

    def trunk(self, before: Sequence[str], after: Sequence[str]) -> list[int]:
        """`begin BEFORE rest AFTER`: the last 16 lines before (and the function's first line) and the first 8 after.

        Whole lines are left out, furthest first, until each side fits its number of tokens.
        """
        head = list(before[:1]) if len(before) > BEFORE_LINES else []
        near = list(before[-BEFORE_LINES:])
        ids = self.lines(head + near)
        while len(ids) > BEFORE_TOKENS and near:
            near.pop(0)
            ids = self.lines(head + near)
        far = list(after[:AFTER_LINES])
        rest = self.lines(far)
        while len(rest) > AFTER_TOKENS and far:
            far.pop()
            rest = self.lines(far)
        return [BEGIN, *ids, REST, *rest]

    def lines(self, lines: Sequence[str]) -> list[int]:
        """Lines, each followed by a newline."""
        return self.encode("".join(line + "\n" for line in lines)) if lines else []

    def question(self, line: str) -> list[int] | None:
        """`bug P0 t0 ... Pn fix`; None for a line of more than 63 tokens."""
        tokens = self.encode(line)
        if not 0 < len(tokens) < POINTERS:
            return None
        pairs = [i for number, token in enumerate(tokens) for i in (self.pointer + number, token)]
        return [BUG, *pairs, self.pointer + len(tokens), FIX]

    def answer(self, faulty: str, fixed: str) -> list[int] | None:
        """The shortest span edit from one text to the other; None where it is longer than an answer may be."""
        old, new = self.encode(faulty), self.encode(fixed) if fixed else []
        start = 0
        while start < min(len(old), len(new)) and old[start] == new[start]:
            start += 1
        stop = 0
        while stop < min(len(old), len(new)) - start and old[-1 - stop] == new[-1 - stop]:
            stop += 1
        put = new[start : len(new) - stop]
        if len(put) > ANSWER_TOKENS - 3:
            return None
        return [self.pointer + start, self.pointer + len(old) - stop, *put, END]

    def apply(self, line: str, answer: Sequence[int]) -> str | None:
        """The text that an answer makes of a line ('' removes it); None for what is no answer."""
        tokens, body = self.encode(line), list(answer)
        if END in body:
            body = body[: body.index(END)]
        if len(body) < 2:
            return None
        start, stop = body[0] - self.pointer, body[1] - self.pointer
        put = body[2:]
        if not 0 <= start <= stop <= len(tokens) or any(i >= self.pointer or i < len(SPECIALS) for i in put):
            return None
        return self.decode([*tokens[:start], *put, *tokens[stop:]])
