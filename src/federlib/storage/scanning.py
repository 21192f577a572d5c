"""Reading all that lies under a prefix, page by page."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from federlib.storage.protocol import Record, RecordStore

__all__ = ["scan_all"]


async def scan_all(
    store: RecordStore, prefix: str, *, after: str | None = None
) -> AsyncGenerator[Record, None]:
    """Yield every record under `prefix`, page by page."""
    while True:
        page = await store.scan(prefix, after=after)
        for record in page.records:
            yield record
        if page.next is None:
            return
        after = page.next
