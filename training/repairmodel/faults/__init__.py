"""The catalogue of what people get wrong: operators that put a fault into a correct function."""

from .catalogue import CATALOGUE, Operator, find_all, sample
from .code import Code, Edit, Fault

__all__ = ["CATALOGUE", "Code", "Edit", "Fault", "Operator", "find_all", "sample"]
