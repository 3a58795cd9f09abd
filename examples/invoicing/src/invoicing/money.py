"""Amounts of money, in whole cents, that refuse to mix currencies."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_EVEN, Decimal
from functools import total_ordering

_AMOUNT = re.compile(r"^\s*(-?\d[\d,]*(?:\.\d{1,2})?)\s*([A-Z]{3})\s*$")


class CurrencyMismatch(ValueError):
    """Two amounts in different currencies met in one operation."""


@total_ordering
class Money:
    """An amount in one currency. Immutable and hashable."""

    __slots__ = ("_cents", "_currency")

    def __init__(self, cents: int, currency: str = "EUR") -> None:
        if not isinstance(cents, int):
            raise TypeError(f"cents must be an int, not {type(cents).__name__}")
        self._cents = cents
        self._currency = currency

    @classmethod
    def parse(cls, text: str) -> Money:
        """Reads ``"1,234.50 EUR"``. Raises ValueError for anything else."""
        match = _AMOUNT.match(text)
        if match is None:
            raise ValueError(f"not an amount: {text!r}")
        digits, currency = match.groups()
        return cls(int(Decimal(digits.replace(",", "")) * 100), currency)

    @classmethod
    def zero(cls, currency: str = "EUR") -> Money:
        return cls(0, currency)

    @property
    def cents(self) -> int:
        return self._cents

    @property
    def currency(self) -> str:
        return self._currency

    def __add__(self, other: Money) -> Money:
        self._check(other)
        return Money(self._cents + other._cents, self._currency)

    def __sub__(self, other: Money) -> Money:
        self._check(other)
        return Money(self._cents - other._cents, self._currency)

    def __neg__(self) -> Money:
        return Money(-self._cents, self._currency)

    def __mul__(self, factor: int | Decimal) -> Money:
        exact = Decimal(self._cents) * Decimal(factor)
        return Money(int(exact.quantize(Decimal(1), rounding=ROUND_HALF_EVEN)), self._currency)

    __rmul__ = __mul__

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Money):
            return NotImplemented
        return self._cents == other._cents and self._currency == other._currency

    def __lt__(self, other: Money) -> bool:
        self._check(other)
        return self._cents < other._cents

    def __hash__(self) -> int:
        return hash((self._cents, self._currency))

    def __bool__(self) -> bool:
        return self._cents != 0

    def __str__(self) -> str:
        sign = "-" if self._cents < 0 else ""
        units, cents = divmod(abs(self._cents), 100)
        return f"{sign}{units:,}.{cents:02d} {self._currency}"

    def __repr__(self) -> str:
        return f"Money({str(self)!r})"

    def split(self, parts: int) -> list[Money]:
        """Equal parts that add up exactly; the first ones get the odd cents."""
        if parts < 1:
            raise ValueError("cannot split into fewer than one part")
        share, odd = divmod(self._cents, parts)
        return [Money(share + (1 if i < odd else 0), self._currency) for i in range(parts)]

    def _check(self, other: Money) -> None:
        if self._currency != other._currency:
            raise CurrencyMismatch(f"{self._currency} and {other._currency}")


def total(amounts: list[Money], currency: str = "EUR") -> Money:
    """Sum of amounts; zero in ``currency`` if there are none."""
    result = Money.zero(amounts[0].currency if amounts else currency)
    for amount in amounts:
        result = result + amount
    return result
