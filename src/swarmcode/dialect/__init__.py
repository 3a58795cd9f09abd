"""How models speak of tools: conversations become prompts, and raw answers thoughts and calls."""
