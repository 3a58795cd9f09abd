"""Train the byte-level BPE tokenizer.

    python -m repairmodel.tokenizer --data DIR [--vocabulary 4096]

Ids: 0..5 specials, then pieces, and the last 64 ids are the pointers, so none collides with text. The pre-tokenizer is
GPT-2's, which llama.cpp knows as `gpt-2`.
"""

import argparse
import random
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from .corpus import HERE, load
from .prompt import POINTERS, SPECIALS


def train(texts: list[str], vocabulary: int) -> Tokenizer:
    """A tokenizer of exactly `vocabulary` ids."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - POINTERS,
        special_tokens=list(SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(f"<|P{i}|>", special=True, normalized=False) for i in range(POINTERS)])
    if tokenizer.get_vocab_size() != vocabulary:
        raise ValueError(f"the corpus is too small for {vocabulary} pieces: {tokenizer.get_vocab_size()}")
    return tokenizer


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=HERE / "data")
    parser.add_argument("--vocabulary", type=int, default=4096)
    parser.add_argument("--functions", type=int, default=40_000)
    args = parser.parse_args()
    records = load(args.data / "train.jsonl")
    texts = [record["text"] + "\n" for record in random.Random(0).sample(records, min(args.functions, len(records)))]
    train(texts, args.vocabulary).save(str(args.data / "tokenizer.json"))


if __name__ == "__main__":
    main()
