"""Models behind an OpenAI-compatible endpoint: llama-server, vLLM, NIM, a vendor's API."""
