"""The engine behind an OpenAI-compatible HTTP interface, so that any other client gets the shared-prefix batch."""
