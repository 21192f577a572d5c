"""Who a member is: a name, and which run of it."""

from __future__ import annotations

from typing import Annotated

import attrs
import msgspec

from federlib.errors import InvalidInput
from federlib.membership.lifecycle import NodeLifecycleState
from federlib.membership.roles import PeerRole

__all__ = ["MAX_NAME", "MAX_NUMBER", "Member", "NodeId", "check_node", "is_name"]

MAX_NAME = 128
"""Characters of a name; UTF-8 makes at most four bytes of each."""

MAX_NUMBER = 2**53
"""Of an epoch and of an incarnation; what JSON's readers keep exactly too."""

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME)]
Number = Annotated[int, msgspec.Meta(ge=0, le=MAX_NUMBER)]


class NodeId(msgspec.Struct, frozen=True, order=True, array_like=True):
    """One run of one peer; a restarted peer is not its dead predecessor.

    Attributes:
        name: Who it is, across restarts; 1 to 128 characters, none of them a control.
        epoch: Which run; a later one is larger, for example its start in ms since 1970.
    """

    name: Name
    epoch: Number


def is_name(name: str) -> bool:
    """Say whether a text may be the name of a peer.

    Whoever decodes checks the length only; this is asked once for each name that is new.
    """
    return 1 <= len(name) <= MAX_NAME and name.isprintable()


def check_node(node: NodeId) -> NodeId:
    """Return the id if it may be sent.

    Raises:
        InvalidInput: Its name is empty, too long or has what cannot be printed, or its epoch
            is negative or above 2**53.
    """
    if not is_name(node.name):
        raise InvalidInput(
            "node.name", expected=f"1 to {MAX_NAME} printable characters", found=node.name
        )
    if not 0 <= node.epoch <= MAX_NUMBER:
        raise InvalidInput("node.epoch", expected="0 to 2**53", found=node.epoch)
    return node


@attrs.frozen
class Member:
    """What one process holds of one member.

    Attributes:
        node: Who, and which run.
        address: Where it listens; ``host:port``.
        role: What it is.
        incarnation: The latest known of this run.
        state: What it is held to be.
        since_s: When it came into that state; the caller's monotonic clock, seconds.
    """

    node: NodeId
    address: str
    role: PeerRole
    incarnation: int
    state: NodeLifecycleState
    since_s: float
