"""All invoices, by customer, and incoming money."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from .invoice import Invoice, Payment
from .money import Money, total


@dataclass(frozen=True)
class Receipt:
    """How one bank transfer was spread over invoices."""

    applied: dict[str, Money]
    left_over: Money


class Ledger:
    """Keeps invoices in order of their numbers."""

    def __init__(self, currency: str = "EUR") -> None:
        self.currency = currency
        self._invoices: dict[str, Invoice] = {}

    def __len__(self) -> int:
        return len(self._invoices)

    def __iter__(self) -> Iterator[Invoice]:
        return iter(sorted(self._invoices.values(), key=lambda invoice: invoice.number))

    def __getitem__(self, number: str) -> Invoice:
        try:
            return self._invoices[number]
        except KeyError:
            raise KeyError(f"no invoice {number}") from None

    def post(self, invoice: Invoice) -> None:
        if invoice.number in self._invoices:
            raise ValueError(f"invoice {invoice.number} exists already")
        if invoice.currency != self.currency:
            raise ValueError(f"this ledger is kept in {self.currency}")
        self._invoices[invoice.number] = invoice

    def of(self, customer: str) -> list[Invoice]:
        return [invoice for invoice in self if invoice.customer == customer]

    def open_invoices(self, customer: str) -> list[Invoice]:
        """Unsettled invoices of a customer, the one due first in front."""
        unsettled = [invoice for invoice in self.of(customer) if invoice.status in ("open", "partly paid")]
        return sorted(unsettled, key=lambda invoice: (invoice.due, invoice.number))

    def balance(self, customer: str) -> Money:
        return total([invoice.balance for invoice in self.of(customer)], self.currency)

    def receive(self, customer: str, amount: Money, received: date, reference: str = "") -> Receipt:
        """Pays a customer's open invoices, oldest due date first."""
        applied: dict[str, Money] = {}
        left = amount
        for invoice in self.open_invoices(customer):
            if not left:
                break
            part = min(left, invoice.balance)
            invoice.add_payment(Payment(part, received, reference))
            applied[invoice.number] = part
            left = left - part
        return Receipt(applied, left)

    def statement(self, customer: str) -> list[str]:
        """Lines of an account statement, as they are printed."""
        rows = []
        for invoice in self.of(customer):
            rows.append(f"{invoice.issued:%Y-%m-%d}  {invoice.number:<10}{str(invoice.total):>16}")
            for payment in invoice.payments:
                rows.append(f"{payment.received:%Y-%m-%d}  {'  payment':<10}{str(-payment.amount):>16}")
            for credit in invoice.credits:
                rows.append(f"{credit.issued:%Y-%m-%d}  {'  credit':<10}{str(-credit.amount):>16}")
        rows.append(f"{'balance':<22}{str(self.balance(customer)):>16}")
        return rows
