"""An invoice: its lines, what was paid, what was credited, what is left."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal

from .money import Money, total
from .tax import TaxTable, german_table


@dataclass(frozen=True)
class Line:
    """One position."""

    text: str
    quantity: int
    unit_price: Money
    category: str = "standard"
    discount_percent: int = 0

    def __post_init__(self) -> None:
        if self.quantity < 1:
            raise ValueError("quantity must be at least 1")
        if not 0 <= self.discount_percent <= 100:
            raise ValueError("discount must be between 0 and 100 percent")

    @property
    def net(self) -> Money:
        full = self.unit_price * self.quantity
        return full - full * (Decimal(self.discount_percent) / 100)


@dataclass(frozen=True)
class Payment:
    amount: Money
    received: date
    reference: str = ""


@dataclass(frozen=True)
class CreditNote:
    """Takes back a part of an invoice: goods returned, a goodwill discount."""

    amount: Money
    issued: date
    reason: str


@dataclass
class Invoice:
    """What a customer was billed."""

    number: str
    customer: str
    issued: date
    lines: list[Line] = field(default_factory=list)
    terms_days: int = 14
    currency: str = "EUR"
    taxes: TaxTable = field(default_factory=german_table, repr=False)
    payments: list[Payment] = field(default_factory=list)
    credits: list[CreditNote] = field(default_factory=list)

    @property
    def due(self) -> date:
        return self.issued + timedelta(days=self.terms_days)

    @property
    def net(self) -> Money:
        return total([line.net for line in self.lines], self.currency)

    @property
    def tax(self) -> Money:
        """Tax is rounded once for each category, not for each line."""
        by_category: dict[str, list[Money]] = {}
        for line in self.lines:
            by_category.setdefault(line.category, []).append(line.net)
        taxes = [
            self.taxes.rate(category, self.issued).on_net(total(nets, self.currency))
            for category, nets in by_category.items()
        ]
        return total(taxes, self.currency)

    @property
    def total(self) -> Money:
        return self.net + self.tax

    @property
    def paid(self) -> Money:
        return total([payment.amount for payment in self.payments], self.currency)

    @property
    def credited(self) -> Money:
        return total([credit.amount for credit in self.credits], self.currency)

    @property
    def balance(self) -> Money:
        """What the customer still owes; negative if they paid too much."""
        return self.total - self.paid + self.credited

    @property
    def status(self) -> str:
        if not self.lines:
            return "draft"
        if self.balance > Money.zero(self.currency):
            return "partly paid" if self.payments else "open"
        return "overpaid" if self.balance < Money.zero(self.currency) else "paid"

    def add_line(self, line: Line) -> None:
        if self.payments or self.credits:
            raise ValueError(f"invoice {self.number} has been settled in part and cannot change")
        self.lines.append(line)

    def add_payment(self, payment: Payment) -> None:
        if payment.amount <= Money.zero(self.currency):
            raise ValueError("a payment must be positive")
        self.payments.append(payment)

    def add_credit(self, credit: CreditNote) -> None:
        """Raises ValueError where more would be credited than was billed."""
        if credit.amount <= Money.zero(self.currency):
            raise ValueError("a credit note must be positive")
        if self.credited + credit.amount > self.total:
            raise ValueError(f"cannot credit more than the {self.total} of invoice {self.number}")
        self.credits.append(credit)

    def days_overdue(self, today: date) -> int:
        """Days past the due date; 0 if it is settled or not due yet."""
        if self.status in ("paid", "overpaid", "draft"):
            return 0
        return max(0, (today - self.due).days)
