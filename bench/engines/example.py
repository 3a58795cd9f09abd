"""Starts llama-cpp-python's example server, and has it go on past the model's end tokens.

python bench/engines/example.py SERVER.PY -C CONFIG.JSON
"""

import runpy
import sys

import llama_cpp.llama_cpp as lib

if __name__ == "__main__":
    lib.llama_vocab_is_eog = lambda vocab, token: False  # it has no other way to ignore them
    del sys.argv[0]
    runpy.run_path(sys.argv[0], run_name="__main__")
