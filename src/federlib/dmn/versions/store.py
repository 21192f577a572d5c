"""Versions of models on a shelf: published, pinned, rolled back, and never changed.

    store = VersionStore(DirectoryShelf(Path("policies")))
    store.publish("scaling", load_model(Path("scaling.yaml")), at_ns=now_ns)
    store.load("scaling")                       # the one that decides
    store.load("scaling", 1)                    # the first that there was

A model is stored under the hash of its content before the history names it, so a crash leaves
at most a file that nothing names; what is read is hashed again, and is refused if it differs.

Source: HA plan §3 (versioned decision tables).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import RLock
from typing import Protocol

from federlib._files import PrivateFiles
from federlib.dmn.documents.forms import MAX_JSON_BYTES, content_hash, dump_json, parse_model
from federlib.dmn.model import Definitions
from federlib.dmn.versions import history as changes
from federlib.dmn.versions.history import (
    History,
    Published,
    check_name,
    decode_history,
    encode_history,
)
from federlib.errors import CorruptRecord, FederlibError, InvalidInput, Unavailable

__all__ = ["DirectoryShelf", "MemoryShelf", "Shelf", "VersionStore", "read_version"]

_LOCK_WAIT_S = 30.0
_FILES = PrivateFiles("policy file", "policy directory", "let this process read and write it")


class Shelf(Protocol):
    """Where versions are kept: bytes under keys such as `scaling/history.json`."""

    def read(self, key: str) -> bytes | None:
        """Return what is there; None where nothing is."""
        ...

    def write(self, key: str, content: bytes) -> None:
        """Write all of it or nothing, durably, over what is there."""
        ...

    def locked(self, name: str) -> AbstractContextManager[None]:
        """Keep all others from changing what is below `name`, meanwhile."""
        ...

    def names(self) -> list[str]:
        """Return the names of all models, in order."""
        ...


class MemoryShelf:
    """Versions in the memory of this process; gone with it."""

    def __init__(self) -> None:
        """Make an empty one."""
        self._contents: dict[str, bytes] = {}
        self._lock = RLock()

    def read(self, key: str) -> bytes | None:
        """Return what is there; None where nothing is."""
        return self._contents.get(key)

    def write(self, key: str, content: bytes) -> None:
        """Write it over what is there."""
        self._contents[key] = content

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:  # noqa: ARG002 (one lock for all)
        """Keep other threads from changing anything, meanwhile."""
        with self._lock:
            yield

    def names(self) -> list[str]:
        """Return the names of all models, in order."""
        return sorted({key.partition("/")[0] for key in list(self._contents)})


class DirectoryShelf:
    """Versions in a directory, shared by the processes of one host.

    Args:
        root: The directory; it is made when something is first written.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, key: str) -> bytes | None:
        """Return what is there; None where nothing is.

        Raises:
            CorruptRecord: It is no regular file.
            Unavailable: It cannot be read.
        """
        return _FILES.read(self._root / key, MAX_JSON_BYTES)

    def write(self, key: str, content: bytes) -> None:
        """Write all of it or nothing, durably, over what is there.

        Raises:
            StoreDenied, StoreFull, Unavailable: It cannot be written.
        """
        path = self._root / key
        _FILES.ensure_directory(path.parent)
        with _FILES.translated(path):
            _FILES.replace(path, content)

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Keep other processes and threads from changing what is below `name`, meanwhile.

        Raises:
            Unavailable: Somebody else held it for half a minute.
        """
        import filelock

        directory = self._root / name
        _FILES.ensure_directory(directory)
        path = directory / ".lock"
        with _FILES.translated(path):
            lock = filelock.FileLock(path, timeout=_LOCK_WAIT_S, mode=0o600)
            try:
                lock.acquire()
            except filelock.Timeout as error:
                raise Unavailable(f"policy file {path}", "another process holds it") from error
        try:
            yield
        finally:
            lock.release()

    def names(self) -> list[str]:
        """Return the names of all models, in order."""
        with _FILES.translated(self._root):
            if not self._root.is_dir():
                return []
            return sorted(path.parent.name for path in self._root.glob("*/history.json"))


class VersionStore:
    """The versions of models; safe to share between threads and, on a directory, processes.

    Args:
        shelf: Where they are kept.
    """

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def publish(
        self, name: str, model: Definitions, *, at_ns: int, by: str = "", note: str = ""
    ) -> Published:
        """Store a version; it decides from now on, unless another one is pinned.

        What was published last is not published twice: it is returned as it was.

        Args:
            name: Under which name.
            model: What. Whether it can be compiled is for the caller to see first.
            at_ns: Now; Unix nanoseconds.
            by: Who publishes it.
            note: Why.
        Raises:
            InvalidInput: The name cannot be one, the model could not be read again, or an
                instant or a text is out of its range; nothing is published.
            Unavailable: The shelf cannot be written; nothing is published.
        """
        check_name(name)
        found, data = _readable(model)
        with self._shelf.locked(name):
            self._shelf.write(_model_key(name, found), data)
            history = self._change(
                name,
                lambda before: changes.publish(
                    before, found, version=model.version, at_ns=at_ns, by=by, note=note
                ),
            )
        return history.versions[-1]

    def pin(self, name: str, number: int, *, at_ns: int, by: str = "", note: str = "") -> History:
        """Let one version decide, whatever is published after it.

        Raises:
            InvalidInput: There is no such version.
            Unavailable: The shelf cannot be written.
        """
        with self._shelf.locked(check_name(name)):
            return self._change(
                name, lambda before: changes.pin(before, number, at_ns=at_ns, by=by, note=note)
            )

    def unpin(self, name: str, *, at_ns: int, by: str = "", note: str = "") -> History:
        """Let the newest version decide again.

        Raises:
            Conflict: Nothing is pinned.
            Unavailable: The shelf cannot be written.
        """
        with self._shelf.locked(check_name(name)):
            return self._change(
                name, lambda before: changes.unpin(before, at_ns=at_ns, by=by, note=note)
            )

    def roll_back(self, name: str, *, at_ns: int, by: str = "", note: str = "") -> History:
        """Let the version decide again that decided before this one, and pin it.

        Raises:
            Conflict: No version decided before this one.
            Unavailable: The shelf cannot be written.
        """
        with self._shelf.locked(check_name(name)):
            return self._change(
                name, lambda before: changes.roll_back(before, at_ns=at_ns, by=by, note=note)
            )

    def history(self, name: str) -> History:
        """Return the versions of a model; none where nothing is published.

        Raises:
            CorruptRecord: What is stored is no history.
            Unavailable: The shelf cannot be read.
        """
        key = f"{check_name(name)}/history.json"
        found = self._shelf.read(key)
        return History(name=name) if found is None else decode_history(key, found)

    def load(self, name: str, number: int | None = None) -> Definitions:
        """Return a version of a model; the one that decides where none is named.

        Raises:
            InvalidInput: There is no such version.
            CorruptRecord: What is stored is not what was published.
            Unavailable: The shelf cannot be read.
        """
        published = self.history(name).find(number)
        key = _model_key(name, published.content_hash)
        return read_version(key, self._shelf.read(key), published.content_hash)

    def names(self) -> list[str]:
        """Return the names of all models, in order."""
        return self._shelf.names()

    def _change(self, name: str, change: Callable[[History], History]) -> History:
        before = self.history(name)
        after = change(before)
        if after is not before:
            self._shelf.write(f"{name}/history.json", encode_history(after))
        return after


def read_version(key: str, data: bytes | None, expected: str) -> Definitions:
    """Read a stored version, and see that it is the one that was published.

    Args:
        key: Where it is stored.
        data: What is there.
        expected: The hash of its content.
    Raises:
        CorruptRecord: It is missing, unreadable or another one.
    """
    if data is None:
        raise CorruptRecord(key, expected=f"a model with hash {expected}", found="nothing")
    try:
        model = parse_model(data, "json", where=key)
    except FederlibError as error:
        raise CorruptRecord(key, expected="a model", found=data[:200]) from error
    found = content_hash(model)
    if found != expected:
        raise CorruptRecord(key, expected=f"a model with hash {expected}", found=found)
    return model


def _readable(model: Definitions) -> tuple[str, bytes]:
    """Return the hash and the content of a model that `read_version` will take.

    What a program has built may have a field of a wrong type, or be larger than what is read.
    """
    try:
        found, data = content_hash(model), dump_json(model)
        read_version("model", data, found)
    except (CorruptRecord, AttributeError, TypeError, UnicodeEncodeError) as error:
        raise InvalidInput("model", expected="one that can be read again", found=str(error)) from (
            error
        )
    return found, data


def _model_key(name: str, content: str) -> str:
    return f"{name}/{content}.json"
