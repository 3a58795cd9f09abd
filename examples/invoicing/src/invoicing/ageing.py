"""How long money has been overdue: the report that decides who gets a reminder."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from .invoice import Invoice
from .money import Money

BUCKETS = ((0, "not due"), (30, "1-30"), (60, "31-60"), (90, "61-90"))
OLDEST = "over 90"


def bucket(days_overdue: int) -> str:
    """Name of the bucket for a number of days past due."""
    for upper, name in BUCKETS:
        if days_overdue <= upper:
            return name
    return OLDEST


@dataclass(frozen=True)
class AgeingReport:
    """Open money by bucket."""

    as_of: date
    amounts: dict[str, Money]

    @property
    def overdue(self) -> Money:
        result = Money.zero(next(iter(self.amounts.values())).currency)
        for name, amount in self.amounts.items():
            if name != BUCKETS[0][1]:
                result = result + amount
        return result

    def lines(self) -> list[str]:
        return [f"{name:<10}{str(amount):>16}" for name, amount in self.amounts.items()]


def age(invoices: Iterable[Invoice], as_of: date, currency: str = "EUR") -> AgeingReport:
    """Sorts what is open into buckets."""
    amounts = {name: Money.zero(currency) for _, name in BUCKETS} | {OLDEST: Money.zero(currency)}
    for invoice in invoices:
        if invoice.balance <= Money.zero(currency):
            continue
        name = bucket(invoice.days_overdue(as_of))
        amounts[name] = amounts[name] + invoice.balance
    return AgeingReport(as_of, amounts)


def reminders(invoices: Iterable[Invoice], as_of: date, after_days: int = 7) -> list[str]:
    """Numbers of the invoices to remind of, longest overdue first."""
    late = [(invoice.days_overdue(as_of), invoice.number) for invoice in invoices]
    return [number for days, number in sorted(late, key=lambda item: (-item[0], item[1])) if days > after_days]
