"""Invoices, payments and who still owes what."""

from .ageing import AgeingReport, age
from .invoice import CreditNote, Invoice, Line, Payment
from .ledger import Ledger
from .money import CurrencyMismatch, Money
from .tax import TaxRate, TaxTable

__all__ = [
    "AgeingReport",
    "CreditNote",
    "CurrencyMismatch",
    "Invoice",
    "Ledger",
    "Line",
    "Money",
    "Payment",
    "TaxRate",
    "TaxTable",
    "age",
]
