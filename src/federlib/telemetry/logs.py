"""Logs: a small protocol of our own, and its adapter to structlog."""

from __future__ import annotations

from typing import Literal, Protocol

__all__ = ["Level", "LogValue", "Logger", "StructlogLogger"]

Level = Literal["debug", "info", "warning", "error"]
LogValue = str | int | float | bool | None


class Logger(Protocol):
    """Where events go. Called from any thread; must not block."""

    def log(self, level: Level, event: str, /, **fields: LogValue) -> None:
        """Take one event: a name in snake case and plain fields, never a secret."""
        ...


class StructlogLogger:
    """Hands every event to structlog, as the host has configured it."""

    def __init__(self, name: str = "federlib") -> None:
        # Imported here: a host that logs in another way never pays for it.
        import structlog

        self._name = name
        self._logger = structlog.get_logger(name)

    def log(self, level: Level, event: str, /, **fields: LogValue) -> None:
        """Pass the event on."""
        getattr(self._logger, level)(event, **{"logger": self._name, **fields})
