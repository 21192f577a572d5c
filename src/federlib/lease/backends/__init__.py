"""Lease backends; `store` leases from any RecordStore."""
