"""Value-added tax: rates by category, valid from a date on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from .money import Money


@dataclass(frozen=True)
class TaxRate:
    """A percentage that holds from a day on."""

    percent: Decimal
    valid_from: date = date.min

    def on_net(self, net: Money) -> Money:
        """Tax that comes on top of a net amount."""
        return net * (self.percent / 100)

    def in_gross(self, gross: Money) -> Money:
        """Tax that is contained in a gross amount."""
        return gross - self.net_of(gross)

    def net_of(self, gross: Money) -> Money:
        return gross * (Decimal(100) / (100 + self.percent))


class TaxTable:
    """Which rate applies to a category on a day."""

    def __init__(self) -> None:
        self._rates: dict[str, list[TaxRate]] = {}

    def add(self, category: str, percent: str | int, valid_from: date = date.min) -> None:
        rates = self._rates.setdefault(category, [])
        if any(rate.valid_from == valid_from for rate in rates):
            raise ValueError(f"{category} already has a rate from {valid_from}")
        rates.append(TaxRate(Decimal(percent), valid_from))
        rates.sort(key=lambda rate: rate.valid_from)

    def rate(self, category: str, day: date) -> TaxRate:
        """The rate in force. Raises KeyError for a category without one on that day."""
        current = None
        for rate in self._rates.get(category, []):
            if rate.valid_from <= day:
                current = rate
        if current is None:
            raise KeyError(f"no rate for {category!r} on {day}")
        return current

    def categories(self) -> list[str]:
        return sorted(self._rates)


def german_table() -> TaxTable:
    """The usual German rates, with the temporary cut of 2020."""
    table = TaxTable()
    for category, normal, reduced in (("standard", 19, 16), ("reduced", 7, 5)):
        table.add(category, normal, date(2007, 1, 1))
        table.add(category, reduced, date(2020, 7, 1))
        table.add(category, normal, date(2021, 1, 1))
    table.add("exempt", 0)
    return table
