"""How often Python looks for garbage that refers to itself."""

import gc


def collect_seldom() -> None:
    """For the whole process. A search makes many small objects that live long and form no cycles; looking for cycles
    among them took a tenth of its time."""
    gc.set_threshold(20_000, 50, 100)
