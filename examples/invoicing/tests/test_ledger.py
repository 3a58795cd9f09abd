from datetime import date

import pytest

from invoicing import Invoice, Ledger, Line, Money, age
from invoicing.ageing import bucket, reminders


def invoice(number, issued, net, customer="Blume", **kwargs):
    made = Invoice(number, customer, issued, **kwargs)
    made.add_line(Line("work", 1, Money(net), category="exempt"))
    return made


@pytest.fixture
def ledger():
    book = Ledger()
    book.post(invoice("R-3", date(2024, 1, 5), 10000))
    book.post(invoice("R-1", date(2024, 2, 1), 5000))
    book.post(invoice("R-2", date(2024, 2, 20), 2500, terms_days=60))
    book.post(invoice("R-4", date(2024, 2, 20), 9900, customer="Kraus"))
    return book


def test_order_and_lookup(ledger):
    assert [each.number for each in ledger] == ["R-1", "R-2", "R-3", "R-4"]
    assert ledger["R-4"].customer == "Kraus"
    assert len(ledger) == 4
    with pytest.raises(KeyError, match="R-9"):
        ledger["R-9"]


def test_numbers_are_unique(ledger):
    with pytest.raises(ValueError, match="R-1"):
        ledger.post(invoice("R-1", date(2024, 3, 1), 1))


def test_one_currency(ledger):
    with pytest.raises(ValueError, match="EUR"):
        ledger.post(Invoice("R-5", "Blume", date(2024, 3, 1), currency="USD"))


def test_balance_of_a_customer(ledger):
    assert ledger.balance("Blume") == Money(17500)
    assert ledger.balance("nobody") == Money(0)


def test_oldest_due_date_is_paid_first(ledger):
    receipt = ledger.receive("Blume", Money(12000), date(2024, 3, 1), "transfer 77")
    assert receipt.applied == {"R-3": Money(10000), "R-1": Money(2000)}
    assert not receipt.left_over
    assert ledger["R-1"].status == "partly paid"
    assert ledger["R-1"].payments[0].reference == "transfer 77"


def test_what_is_left_over(ledger):
    receipt = ledger.receive("Kraus", Money(10000), date(2024, 3, 1))
    assert receipt.left_over == Money(100)
    assert ledger.open_invoices("Kraus") == []


def test_statement(ledger):
    ledger.receive("Kraus", Money(900), date(2024, 3, 1))
    assert ledger.statement("Kraus") == [
        "2024-02-20  R-4              99.00 EUR",
        "2024-03-01    payment        -9.00 EUR",
        "balance                      90.00 EUR",
    ]


@pytest.mark.parametrize(
    ("days", "name"),
    [(0, "not due"), (1, "1-30"), (30, "1-30"), (31, "31-60"), (90, "61-90"), (91, "over 90")],
)
def test_buckets(days, name):
    assert bucket(days) == name


def test_ageing(ledger):
    report = age(ledger, date(2024, 3, 20))
    assert report.amounts["not due"] == Money(2500)
    assert report.amounts["31-60"] == Money(5000)
    assert report.amounts["61-90"] == Money(10000)
    assert report.amounts["1-30"] == Money(9900)
    assert report.overdue == Money(24900)


def test_paid_invoices_do_not_age(ledger):
    ledger.receive("Blume", Money(17500), date(2024, 3, 1))
    assert age(ledger.of("Blume"), date(2024, 6, 1)).overdue == Money(0)


def test_reminders_start_with_the_latest(ledger):
    assert reminders(ledger, date(2024, 3, 20)) == ["R-3", "R-1", "R-4"]
    assert reminders(ledger, date(2024, 1, 26)) == []
