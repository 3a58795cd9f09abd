"""The report, as text, JSON and a live view."""
