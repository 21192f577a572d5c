"""The portable limits of a transaction, checked before anything is sent.

Source: design §4.
"""

from __future__ import annotations

from federlib.errors import InvalidInput
from federlib.storage.keys import check_key, check_prefix, check_text
from federlib.storage.protocol import META_KEY, Put, Transaction

__all__ = [
    "MAX_CHECKS",
    "MAX_ID",
    "MAX_PAGE",
    "MAX_PAGE_BYTES",
    "MAX_TRANSACTION_BYTES",
    "MAX_VALUE_BYTES",
    "MAX_WRITES",
    "check_scan",
    "check_transaction",
    "check_transaction_id",
]

MAX_CHECKS = 64
MAX_WRITES = 64
MAX_VALUE_BYTES = 512 * 1024
MAX_TRANSACTION_BYTES = 1024 * 1024
MAX_PAGE = 1_000
MAX_PAGE_BYTES = 8 * 1024 * 1024
MAX_ID = 128


def check_transaction(transaction: Transaction) -> Transaction:
    """Return `transaction` if every driver would accept it.

    Raises:
        InvalidInput: A limit is exceeded, a key is illegal or written twice, or the
            store's own record is written.
    """
    checks, writes = transaction.checks, transaction.writes
    if len(checks) > MAX_CHECKS:
        raise InvalidInput("checks", expected=f"at most {MAX_CHECKS}", found=len(checks))
    if len(writes) > MAX_WRITES:
        raise InvalidInput("writes", expected=f"at most {MAX_WRITES}", found=len(writes))
    if not checks and not writes:
        raise InvalidInput("transaction", expected="a check or a write", found="neither")
    if transaction.id is not None:
        check_transaction_id(transaction.id)
    size = 0
    for check in checks:
        size += len(check_key(check.key).encode())
    written: set[str] = set()
    for write in writes:
        key = check_key(write.key)
        if key in written:
            raise InvalidInput("writes", expected="each key once", found=key)
        if key == META_KEY:
            raise InvalidInput("writes", expected=f"not {META_KEY}, the store's own", found=key)
        written.add(key)
        size += len(key.encode())
        if isinstance(write, Put):
            size += _check_value(write)
    if size > MAX_TRANSACTION_BYTES:
        raise InvalidInput(
            "transaction", expected=f"at most {MAX_TRANSACTION_BYTES} bytes", found=size
        )
    return transaction


def check_transaction_id(transaction_id: str) -> str:
    """Return the id if it is 1 to 128 characters of legal text.

    Raises:
        InvalidInput: It is not.
    """
    check_text("id", transaction_id)
    if not 1 <= len(transaction_id) <= MAX_ID:
        raise InvalidInput("id", expected=f"1 to {MAX_ID} characters", found=transaction_id)
    return transaction_id


def _check_value(write: Put) -> int:
    if not isinstance(write.value, bytes):
        raise InvalidInput(f"value of {write.key}", expected="bytes", found=write.value)
    if len(write.value) > MAX_VALUE_BYTES:
        raise InvalidInput(
            f"value of {write.key}",
            expected=f"at most {MAX_VALUE_BYTES} bytes",
            found=len(write.value),
        )
    return len(write.value)


def check_scan(prefix: str, after: str | None, limit: int) -> None:
    """Raise `InvalidInput` unless these are legal arguments of `scan`."""
    check_prefix(prefix)
    if after is not None:
        check_text("after", after)
    # `type`, because True is an int too.
    if type(limit) is not int or not 1 <= limit <= MAX_PAGE:
        raise InvalidInput("limit", expected=f"1 to {MAX_PAGE}", found=limit)
