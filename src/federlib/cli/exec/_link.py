"""The socket between worker and guard, seen from the guard; standard library only."""

from __future__ import annotations

import json
import os

__all__ = ["CHUNK", "Link", "Message", "read_some"]

Message = dict[str, object]

CHUNK = 1 << 18
FRAME_MAX = 16 << 20


class Link:
    """The socket to the other side, never blocking in either direction."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self.fd = fd
        self.is_open = True
        self._inbox = bytearray()
        self._outbox = bytearray()

    def receive(self) -> list[Message]:
        """Return the whole frames that have come; note when the other side is gone."""
        try:
            chunk = os.read(self.fd, CHUNK)
        except BlockingIOError:
            return []
        except OSError:
            chunk = b""
        self.is_open = bool(chunk)
        self._inbox += chunk
        messages = []
        while len(self._inbox) >= 4:
            size = int.from_bytes(self._inbox[:4], "big")
            if size > FRAME_MAX:
                raise ValueError(f"a frame of {size} bytes")
            if len(self._inbox) < 4 + size:
                break
            messages.append(json.loads(self._inbox[4 : 4 + size]))
            del self._inbox[: 4 + size]
        return messages

    def send(self, **message: object) -> None:
        """Send one message, now or when there is room."""
        body = json.dumps(message).encode()
        self._outbox += len(body).to_bytes(4, "big") + body
        self.flush()

    def flush(self) -> bool:
        """Send what waits; say whether something still does."""
        try:
            while self._outbox:
                del self._outbox[: os.write(self.fd, self._outbox)]
        except BlockingIOError:
            return True
        except OSError:
            self._outbox.clear()
            self.is_open = False
        return False


def read_some(fd: int) -> bytes | None:
    """Read what is there: b"" at the end, None if nothing is there yet."""
    try:
        return os.read(fd, CHUNK)
    except BlockingIOError:
        return None
    except OSError:
        return b""
