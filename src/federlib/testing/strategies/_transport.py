"""What a transport hands out and is set up with."""

from __future__ import annotations

from hypothesis import strategies as st

from federlib.testing.strategies._plain import booleans
from federlib.transport import MAX_PACKET, Limits, Received
from federlib.transport.addresses import format_address

__all__ = ["STRATEGIES", "addresses"]


def addresses() -> st.SearchStrategy[str]:
    """Generate addresses of transports: an IP address and a port, as text."""
    hosts = st.ip_addresses().map(str)
    return st.builds(format_address, hosts, st.integers(1, 65_535))


_roles = st.none() | st.sampled_from(["gate", "manager", "worker"])
_sessions = st.just("") | st.binary(min_size=12, max_size=12).map(bytes.hex)
_seconds = st.floats(0.001, 3_600)

STRATEGIES: dict[type, st.SearchStrategy[object]] = {
    Limits: st.builds(
        Limits,
        max_packet=st.integers(256, MAX_PACKET),
        queue=st.integers(1, 1_000_000),
        max_stream=st.integers(1, 2**30),
        streams=st.integers(1, 65_536),
        stream_s=_seconds,
        hello_s=_seconds,
        sessions=st.integers(1, 1_000_000),
        session_idle_s=st.floats(120, 30 * 86_400),
    ),
    Received: st.builds(
        Received,
        payload=st.binary(max_size=64),
        address=addresses(),
        role=_roles,
        session=_sessions,
        is_proven=booleans,
        is_first=booleans,
    ),
}
