"""Train the byte-level BPE tokenizer, or take that of an exported file, so that its weights can be trained further.

    python -m repairmodel.tokenizer --data DIR [--vocabulary 4096]
    python -m repairmodel.tokenizer --data DIR --from FILE.gguf

Ids: 0..5 specials, then pieces, and the last 64 ids are the pointers, so none collides with text. The pre-tokenizer is
GPT-2's, which llama.cpp knows as `gpt-2`.
"""

import argparse
import random
from pathlib import Path

import gguf
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from .corpus import HERE, load
from .prompt import POINTERS, SPECIALS


def byte_level(model: models.BPE) -> Tokenizer:
    """The model between GPT-2's pre-tokenizer and its inverse."""
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def add_pointers(tokenizer: Tokenizer) -> None:
    """The last ids."""
    tokenizer.add_special_tokens([AddedToken(f"<|P{i}|>", special=True, normalized=False) for i in range(POINTERS)])


def train(texts: list[str], vocabulary: int) -> Tokenizer:
    """A tokenizer of exactly `vocabulary` ids."""
    tokenizer = byte_level(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - POINTERS,
        special_tokens=list(SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    add_pointers(tokenizer)
    if tokenizer.get_vocab_size() != vocabulary:
        raise ValueError(f"the corpus is too small for {vocabulary} pieces: {tokenizer.get_vocab_size()}")
    return tokenizer


def from_file(path: Path) -> Tokenizer:
    """The tokenizer of a file that `export` wrote: every text has the ids that the file's weights were trained with."""
    fields = gguf.GGUFReader(path).fields
    pieces, merges = (fields[f"tokenizer.ggml.{name}"].contents() for name in ("tokens", "merges"))
    vocabulary = {piece: number for number, piece in enumerate(pieces[:-POINTERS])}
    tokenizer = byte_level(models.BPE(vocab=vocabulary, merges=[tuple(merge.split(" ")) for merge in merges]))
    tokenizer.add_special_tokens([AddedToken(piece, special=True, normalized=False) for piece in SPECIALS])
    add_pointers(tokenizer)
    return tokenizer


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=HERE / "data")
    parser.add_argument("--vocabulary", type=int, default=4096)
    parser.add_argument("--functions", type=int, default=40_000)
    parser.add_argument(
        "--from", dest="start", type=Path, help="take the tokenizer of this GGUF file; nothing is trained"
    )
    args = parser.parse_args()
    if args.start:
        from_file(args.start).save(str(args.data / "tokenizer.json"))
        return
    records = load(args.data / "train.jsonl")
    texts = [record["text"] + "\n" for record in random.Random(0).sample(records, min(args.functions, len(records)))]
    train(texts, args.vocabulary).save(str(args.data / "tokenizer.json"))


if __name__ == "__main__":
    main()
