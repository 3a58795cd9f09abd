from datetime import date
from decimal import Decimal

import pytest

from invoicing import Money, TaxRate, TaxTable
from invoicing.tax import german_table


def test_tax_on_net():
    assert TaxRate(Decimal(19)).on_net(Money(10000)) == Money(1900)


def test_tax_in_gross():
    assert TaxRate(Decimal(19)).in_gross(Money(11900)) == Money(1900)


@pytest.mark.parametrize(
    ("day", "percent"),
    [(date(2020, 6, 30), 19), (date(2020, 7, 1), 16), (date(2020, 12, 31), 16), (date(2021, 1, 1), 19)],
)
def test_rate_of_the_day(day, percent):
    assert german_table().rate("standard", day).percent == percent


def test_unknown_category():
    with pytest.raises(KeyError, match="luxury"):
        german_table().rate("luxury", date(2024, 1, 1))


def test_no_rate_before_the_first():
    table = TaxTable()
    table.add("standard", 20, date(2024, 1, 1))
    with pytest.raises(KeyError):
        table.rate("standard", date(2023, 12, 31))


def test_one_rate_a_day():
    table = TaxTable()
    table.add("standard", 20)
    with pytest.raises(ValueError):
        table.add("standard", 21)
