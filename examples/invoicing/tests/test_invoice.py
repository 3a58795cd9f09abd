from datetime import date

import pytest

from invoicing import CreditNote, Invoice, Line, Money, Payment


@pytest.fixture
def invoice():
    """Four chairs: 400.00 net, 476.00 with tax."""
    made = Invoice("R-1001", "Café Blume", date(2024, 3, 1))
    made.add_line(Line("chair", 4, Money(10000)))
    return made


def pay(amount, day=date(2024, 3, 10)):
    return Payment(Money.parse(amount), day)


def test_totals(invoice):
    assert invoice.net == Money(40000)
    assert invoice.tax == Money(7600)
    assert invoice.total == Money(47600)


def test_tax_is_rounded_once_a_category():
    invoice = Invoice("R-1", "x", date(2024, 3, 1))
    for _ in range(3):
        invoice.add_line(Line("screw", 1, Money(13)))
    assert invoice.tax == Money(7)


def test_categories_are_taxed_apart(invoice):
    invoice.add_line(Line("book", 2, Money(1000), category="reduced"))
    assert invoice.tax == Money(7600 + 140)


def test_discount():
    assert Line("desk", 1, Money(20000), discount_percent=15).net == Money(17000)


@pytest.mark.parametrize("bad", [{"quantity": 0}, {"discount_percent": 101}])
def test_bad_lines(bad):
    with pytest.raises(ValueError):
        Line(**{"text": "x", "quantity": 1, "unit_price": Money(1), **bad})


def test_due_date(invoice):
    assert invoice.due == date(2024, 3, 15)


def test_draft_has_no_lines():
    assert Invoice("R-2", "x", date(2024, 1, 1)).status == "draft"


def test_open_until_paid(invoice):
    assert invoice.status == "open"
    invoice.add_payment(pay("100.00 EUR"))
    assert invoice.status == "partly paid"
    assert invoice.balance == Money(37600)
    invoice.add_payment(pay("376.00 EUR"))
    assert invoice.status == "paid"
    assert not invoice.balance


def test_overpaid(invoice):
    invoice.add_payment(pay("500.00 EUR"))
    assert invoice.status == "overpaid"
    assert invoice.balance == Money(-2400)


def test_payment_must_be_positive(invoice):
    with pytest.raises(ValueError):
        invoice.add_payment(pay("0.00 EUR"))


def test_lines_are_fixed_once_paid(invoice):
    invoice.add_payment(pay("1.00 EUR"))
    with pytest.raises(ValueError, match="R-1001"):
        invoice.add_line(Line("table", 1, Money(1)))


def test_credit_cannot_exceed_total(invoice):
    with pytest.raises(ValueError, match="476.00 EUR"):
        invoice.add_credit(CreditNote(Money(47601), date(2024, 3, 9), "mistake"))


def test_credit_must_be_positive(invoice):
    with pytest.raises(ValueError):
        invoice.add_credit(CreditNote(Money(0), date(2024, 3, 9), "nothing"))


def test_paid_after_a_return(invoice):
    invoice.add_credit(CreditNote(Money(11900), date(2024, 3, 9), "one chair returned"))
    assert invoice.balance == Money(35700)
    invoice.add_payment(pay("357.00 EUR"))
    assert invoice.status == "paid"


@pytest.mark.parametrize(("day", "days"), [(date(2024, 3, 15), 0), (date(2024, 3, 16), 1), (date(2024, 4, 15), 31)])
def test_days_overdue(invoice, day, days):
    assert invoice.days_overdue(day) == days


def test_settled_is_never_overdue(invoice):
    invoice.add_payment(pay("476.00 EUR"))
    assert invoice.days_overdue(date(2025, 1, 1)) == 0
