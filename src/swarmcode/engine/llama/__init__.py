"""llama.cpp, in this process: models in GGUF files."""
