"""The store that a command is about: where it is, and that its URL stays out of sight."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

import click
from click.core import ParameterSource

from federlib.errors import InvalidInput, Unavailable
from federlib.federation import STORE_ENV
from federlib.storage import RecordStore, redact_url
from federlib.storage.backends import file as file_driver
from federlib.storage.backends import sqlite as sqlite_driver
from federlib.storage.urls import url_scheme

__all__ = [
    "hide_argument",
    "hide_credentials",
    "logs_root",
    "require_shared",
    "require_store",
    "store_file",
]


def store_file(url: str) -> Path | None:
    """Name the file of a SQLite store, the directory of a file store; None for other kinds.

    Raises:
        InvalidInput: The URL is malformed.
    """
    match url_scheme(url):
        case "sqlite":
            return Path(sqlite_driver.parse_url(url).path)
        case "file":
            return Path(file_driver.parse_url(url).path)
    return None


def logs_root(url: str) -> Path:
    """Say where the logs of a store's runs lie: beside a store on a disk, else in .federlib.

    Raises:
        InvalidInput: The URL is malformed.
    """
    file = store_file(url)
    return (Path(".federlib") if file is None else file.parent) / "logs"


def require_store(url: str) -> None:
    """Refuse a store that is not there: who only looks must not make one.

    Raises:
        Unavailable: There is no such file or directory, or an empty one.
        InvalidInput: The URL is malformed.
    """
    file = store_file(url)
    if file is None:
        return
    what = f"store {redact_url(url)}"
    if not os.path.lexists(file):
        raise Unavailable(what, reason=f"there is no such {_kind(url)}")
    if file.is_file() and not file.stat().st_size:
        raise Unavailable(what, reason="the file is empty")
    if url_scheme(url) == "file" and file.is_dir() and not any(file.glob("journal/*.log")):
        raise Unavailable(what, reason="the directory holds no journal")


def require_shared(store: RecordStore, url: str) -> None:
    """Refuse a store that ends with this command: nobody else could see what is done there.

    Raises:
        InvalidInput: Other processes cannot open it.
    """
    if not store.capabilities.shared:
        raise InvalidInput(
            "--store", expected="a store that several processes share", found=redact_url(url)
        )


def _kind(url: str) -> str:
    return "directory" if url_scheme(url) == "file" else "file"


def hide_credentials(context: click.Context, parameter: click.Parameter, url: str) -> str:
    """Start this program anew if its command line, which every user can read, holds a secret.

    The URL then comes by environment. A callback of click.
    """
    given = context.get_parameter_source(parameter.name or "")
    if given is not ParameterSource.COMMANDLINE or redact_url(url) == url:
        return url
    rest = _without(sys.argv[1:], url)
    if rest is not None:
        _start_anew(rest, STORE_ENV, url)
    return url


def hide_argument(_context: click.Context, parameter: click.Parameter, url: str) -> str:
    """As `hide_credentials`, where there are several URLs; `env:NAME` stands for one in NAME."""
    if url.startswith("env:"):
        found = os.environ.get(url.removeprefix("env:"), "")
        if not found:
            raise click.BadParameter(f"{url}: there is no such variable", param=parameter)
        return found
    name = f"FEDERLIB_{(parameter.name or '').upper()}_STORE"
    rest = [f"env:{name}" if argument == url else argument for argument in sys.argv[1:]]
    if redact_url(url) != url and rest != sys.argv[1:]:
        _start_anew(rest, name, url)
    return url


def _start_anew(arguments: list[str], name: str, url: str) -> NoReturn:
    command = [sys.executable, "-P", "-m", "federlib.cli", *arguments]
    os.execve(sys.executable, command, {**os.environ, name: url})  # noqa: S606 (no shell)


def _without(arguments: list[str], url: str) -> list[str] | None:
    """Take a URL, and the option that it belongs to, out of a command line."""
    for index, argument in enumerate(arguments):
        if argument == f"--store={url}":
            return arguments[:index] + arguments[index + 1 :]
        if argument == url:
            first = index - 1 if index and arguments[index - 1] == "--store" else index
            return arguments[:first] + arguments[index + 1 :]
    return None
