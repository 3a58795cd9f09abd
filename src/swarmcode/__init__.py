"""A local coding-agent swarm: many cheap attempts at a fix, judged by the project's own tests."""

__version__ = "0.1.0"
