"""The book that invoices are posted in: the resource that compares tokens."""


class StaleError(Exception):
    """Somebody with a higher token was here before."""


class Book:
    """Stands for a ledger elsewhere. It would post an invoice twice if told to twice."""

    def __init__(self) -> None:
        self.posted: list[str] = []
        self.highest = 0

    def begin(self, fence: int) -> set[str]:
        """Shut out all lower tokens, and only then say what is posted."""
        self._admit(fence)
        return set(self.posted)

    def post(self, invoice: str, *, fence: int) -> None:
        self._admit(fence)
        self.posted.append(invoice)

    def _admit(self, fence: int) -> None:
        if fence < self.highest:
            raise StaleError(f"token {fence}, after {self.highest}")
        self.highest = fence
