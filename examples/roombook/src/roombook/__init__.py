"""Finds a room and a time for a meeting."""

from .interval import Interval, IntervalSet
from .planner import Conflict, NothingFree, Planner, Suggestion
from .room import Room

__all__ = ["Conflict", "Interval", "IntervalSet", "NothingFree", "Planner", "Room", "Suggestion"]
