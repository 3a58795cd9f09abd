"""The project's test command: finding it, running it in a box, reading what happened."""
