from decimal import Decimal

import pytest

from invoicing import CurrencyMismatch, Money
from invoicing.money import total


@pytest.mark.parametrize(
    ("text", "cents"),
    [("0.05 EUR", 5), ("12 EUR", 1200), ("1,234.5 EUR", 123450), (" -7.25 EUR ", -725)],
)
def test_parse(text, cents):
    assert Money.parse(text).cents == cents


@pytest.mark.parametrize("text", ["", "12", "12.345 EUR", "EUR 12", "1 eur"])
def test_parse_rejects(text):
    with pytest.raises(ValueError):
        Money.parse(text)


@pytest.mark.parametrize("text", ["0.00 EUR", "1,234,567.89 USD", "-0.05 EUR"])
def test_str_round_trip(text):
    assert str(Money.parse(text)) == text


def test_arithmetic():
    assert Money(500) + Money(250) - Money(100) == Money(650)
    assert -Money(5) == Money(-5)
    assert Money(333) * 3 == Money(999)


def test_multiplication_rounds_half_to_even():
    assert Money(5) * Decimal("0.5") == Money(2)
    assert Money(15) * Decimal("0.5") == Money(8)


def test_currencies_do_not_mix():
    with pytest.raises(CurrencyMismatch):
        Money(1, "EUR") + Money(1, "USD")
    with pytest.raises(CurrencyMismatch):
        sorted([Money(1, "EUR"), Money(1, "USD")])
    assert Money(1, "EUR") != Money(1, "USD")


def test_ordering_and_truth():
    assert Money(1) < Money(2) <= Money(2)
    assert not Money(0)
    assert Money(-1)


def test_split_loses_nothing():
    parts = Money(1000).split(3)
    assert [part.cents for part in parts] == [334, 333, 333]
    assert total(parts) == Money(1000)


def test_total_of_nothing_is_zero():
    assert total([], "USD") == Money(0, "USD")
