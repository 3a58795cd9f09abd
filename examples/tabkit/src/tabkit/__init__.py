"""Small tables from CSV files, for the terminal."""

from .config import Config, ConfigError
from .csvio import CsvError, read_csv, write_csv
from .report import Report
from .table import Column, Table
from .units import format_duration, format_size, parse_duration, parse_size

__all__ = [
    "Column",
    "Config",
    "ConfigError",
    "CsvError",
    "Report",
    "Table",
    "format_duration",
    "format_size",
    "parse_duration",
    "parse_size",
    "read_csv",
    "write_csv",
]
