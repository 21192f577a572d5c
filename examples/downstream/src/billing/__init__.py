"""Posts invoices, each of them once."""
