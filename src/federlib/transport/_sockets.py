"""Sockets: UDP and TCP on the same port, never fragmenting, never blocking, and never left."""

from __future__ import annotations

import errno
import os
import socket
import sys

import anyio
from anyio.abc import SocketStream

from federlib.errors import Unavailable
from federlib.transport.addresses import format_address

__all__ = ["bind_both", "connect", "socket_address"]

_TRIES = 16
"""For a free port of UDP on which TCP is free too."""

_BUFFER_BYTES = 1_024 * 1_024
"""Asked of the system for what comes while the loop is busy: some 700 full datagrams."""

_BACKLOG = 128

# From <linux/in.h> and <linux/in6.h>; the module `socket` does not name them everywhere.
_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER, _PMTUDISC_DO = 10, 23, 2


def bind_both(host: str, port: int) -> tuple[socket.socket, socket.socket]:
    """Bind UDP and TCP to one port; 0 takes any that is free for both.

    Raises:
        Unavailable: The system does not give it.
    """
    tries = 1 if port else _TRIES
    for left in reversed(range(tries)):
        datagrams = _bind(socket.SOCK_DGRAM, host, port)
        try:
            return datagrams, _bind(socket.SOCK_STREAM, host, datagrams.getsockname()[1])
        except Unavailable:
            datagrams.close()
            if not left:
                raise
        except BaseException:
            datagrams.close()
            raise
    raise AssertionError("unreachable")


async def connect(host: str, port: int) -> SocketStream:
    """Connect to an IP address; cancelled at any point, it leaves no socket behind.

    Raises:
        OSError: Nobody is there.
    """
    # Not anyio.connect_tcp: it races several addresses of a name, which we never have, and a
    # cancellation in the wrong moment leaves the winner open.
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.settimeout(0)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            sock.connect((host, port))
        except BlockingIOError:
            await anyio.wait_writable(sock)
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))
        return await SocketStream.from_socket(sock)
    except ValueError as error:
        sock.close()
        # anyio's word for a peer that is gone again already.
        raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)) from error
    except BaseException:
        sock.close()
        raise


def socket_address(sock: socket.socket) -> str:
    """Say where a socket is bound."""
    host, port, *_ = sock.getsockname()
    return format_address(host, port)


def _bind(kind: socket.SocketKind, host: str, port: int) -> socket.socket:
    is_six = ":" in host
    sock = socket.socket(socket.AF_INET6 if is_six else socket.AF_INET, kind)
    try:
        sock.settimeout(0)
        if is_six:
            # Bound to all addresses, it serves IPv4 too, as mapped addresses.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host != "::"))
        if kind is socket.SOCK_DGRAM:
            _tune(sock, is_six=is_six)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        if kind is socket.SOCK_STREAM:
            sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise Unavailable(
            f"{'udp' if kind is socket.SOCK_DGRAM else 'tcp'} {format_address(host, port)}",
            error.strerror or str(error),
            hint="choose another port, or 0 for any that is free",
        ) from error
    return sock


def _tune(sock: socket.socket, *, is_six: bool) -> None:
    wanted = [(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)]
    if sys.platform == "linux":
        # A datagram that is too large for its path is refused by the system, not cut up.
        wanted.append((socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_DO))
        if is_six:
            wanted.append((socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_DO))
    for level, option, value in wanted:
        try:
            sock.setsockopt(level, option, value)
        except OSError:
            # A kernel without it still carries 1,400 bytes.
            continue
