"""The job report: a CSV of jobs in, a table out."""

from __future__ import annotations

from .config import Config, ConfigError
from .csvio import CsvError, read_csv
from .table import Table
from .units import format_duration, parse_duration


class Report:
    """Reads jobs (`job,status,took`) and lists them; slow ones are marked."""

    def __init__(self, config: Config | None = None) -> None:
        self._config = config or Config()

    def table(self, text: str) -> Table:
        """Raises CsvError for a file that is too large or lacks a column."""
        if len(text.encode()) > self._config.size("csv", "max_size"):
            raise CsvError("the file is larger than [csv] max_size")
        rows = read_csv(text, self._config.get("csv", "delimiter"))
        if not rows:
            raise CsvError("the file is empty")
        heading, *jobs = rows
        missing = {"job", "status", "took"} - set(heading)
        if missing:
            raise CsvError(f"missing columns: {', '.join(sorted(missing))}")
        slow_after = self._config.duration("report", "slow_after")
        table = Table.of(["job", "status", "took", ""], max_width=self._config.integer("report", "max_width"))
        for cells in jobs:
            job = dict(zip(heading, cells))
            seconds = parse_duration(job["took"])
            table.add([job["job"], job["status"], format_duration(seconds), "slow" if seconds > slow_after else ""])
        sort_by = self._config.get("report", "sort_by")
        if sort_by:
            table.sort(sort_by)
        return table

    def text(self, text: str) -> str:
        lines = self.table(text).lines()
        if not self._config.flag("report", "show_header"):
            lines = lines[2:]
        return "\n".join([*self._title(), *lines])

    def _title(self) -> list[str]:
        try:
            title = self._config.get("report", "title")
        except ConfigError:
            return []
        return [title, "=" * len(title), ""]
