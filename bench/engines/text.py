"""Text to cut work from: the source of Python's standard library, in the tokens of the model at hand."""

import ctypes
import sysconfig
from pathlib import Path


def tokens(model: Path, count: int) -> list[int]:
    """The first `count` tokens; fewer where there is no more text. Loads the model's vocabulary: call it aside."""
    import llama_cpp.llama_cpp as lib

    silent = lib.llama_log_callback(lambda level, text, data: None)
    lib.llama_log_set(silent, None)
    params = lib.llama_model_default_params()
    params.vocab_only = True
    loaded = lib.llama_model_load_from_file(str(model).encode(), params)
    if not loaded:
        raise ValueError(f"llama.cpp cannot read the vocabulary of {model}")
    vocab = lib.llama_model_get_vocab(loaded)
    found: list[int] = []
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        if len(found) >= count:
            break
        data = path.read_bytes()
        buffer = (ctypes.c_int32 * len(data))()
        found += buffer[: lib.llama_tokenize(vocab, data, len(data), buffer, len(data), False, False)]
    lib.llama_model_free(loaded)
    return found[:count]
