"""`issue`: puts a command into the store, under the issuer's epoch, or a recorded refusal.

Source: HA plan, phase 0 (command metadata) and §2 (leader gate, epoch in emitted events).
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from federlib.errors import Fenced, StaleToken
from federlib.fencing.decide import Refuse, check_token
from federlib.fencing.guard import draw_token
from federlib.fencing.journal import CommandJournal
from federlib.fencing.records import (
    Command,
    Outcome,
    checked_command,
    deadline_after,
    encode_causal,
    encode_payload,
    new_command_id,
)
from federlib.fencing.review import CommandGate, Review
from federlib.skewclock import UNSTAMPED, Clock, Stamps
from federlib.storage import RecordStore
from federlib.telemetry import SILENT, Telemetry

__all__ = ["issue"]


async def issue(
    store: RecordStore,
    scope: str,
    action: str,
    payload: object = None,
    *,
    epoch: int | None,
    issuer: str,
    clock: Clock,
    gate_check: Callable[[], int] | None = None,
    review: CommandGate | None = None,
    deadline_s: float | None = None,
    command_id: str | None = None,
    decision_id: str | None = None,
    dag_id: str | None = None,
    dag_node: str | None = None,
    causal_id: str | None = None,
    traceparent: str | None = None,
    telemetry: Telemetry = SILENT,
    stamps: Stamps = UNSTAMPED,
    token: Callable[[], str] = draw_token,
) -> Command | Outcome:
    """Issue a command under `epoch`, or record why it was refused.

    The command is written through the fence of its scope: once a higher epoch has issued or
    had anything accepted, a deposed leader's command does not even get in. A refused command
    is kept together with its outcome, so that audit shows it.

    Args:
        store: Where commands are.
        scope: The election that `epoch` comes from.
        action: What to do; 1 to 200 characters.
        payload: Its arguments: anything JSON can hold, at most 64 KiB.
        epoch: The epoch under which it was decided; None or 0 where the caller does not lead.
        issuer: Who issues; 1 to 200 characters.
        clock: For the instant of issue, the deadline and the id.
        gate_check: Returns the epoch that the caller leads in at this instant or raises
            `Fenced`, as `Elector.check` does; called right before the command is written.
        review: Judges the command before it is issued; what it finds is kept with it.
        deadline_s: How long from now it may wait for a consumer; seconds.
        command_id: Unique in the scope; drawn where not given. Give one to be able to
            issue again after `OutcomeUnknown`.
        decision_id: The decision that led to it.
        dag_id: The run of a DAG that it belongs to.
        dag_node: The node of that DAG.
        causal_id: The causal hypothesis behind it.
        traceparent: W3C trace context.
        telemetry: Refusals are counted and logged there.
        stamps: The command carries a timestamp of it.
        token: Draws random hex digits.
    Returns:
        The command, or an `Outcome` with `rejected_not_leader`, `rejected_stale_epoch`,
        `rejected_causal` where `review` refused it, or `rejected_duplicate` where that id
        has been issued before.
    Raises:
        InvalidInput: An argument is out of range; nothing was recorded.
        Unavailable: The store is away; nothing was recorded.
        OutcomeUnknown: No answer came; issue again under the same `command_id`: then
            `rejected_duplicate` says that it had got in, unless its reason is `already
            rejected_…`: then it never did, and its id is spent.
    """
    now_ns = clock.wall_ns()
    if epoch:
        check_token(epoch)
    command = checked_command(
        Command(
            command_id=new_command_id(now_ns, token()) if command_id is None else command_id,
            scope=scope,
            action=action,
            payload=encode_payload(payload),
            leader_epoch=epoch or 0,
            issuer=issuer,
            issued_at_ns=now_ns,
            deadline_ns=deadline_after(now_ns, deadline_s),
            decision_id=decision_id,
            dag_id=dag_id,
            dag_node=dag_node,
            causal_id=causal_id,
            traceparent=traceparent,
            hlc=stamps.now(),
        )
    )
    journal = CommandJournal(
        store, scope, author=issuer, telemetry=telemetry, stamps=stamps, token=token
    )
    refusal = _judge(command.leader_epoch, gate_check)
    if refusal is None and review is not None:
        found = await review.review(command)
        if found is not None:
            command, refusal = _reviewed(command, found)
            # That took time, in which we may have been followed.
            refusal = refusal or _judge(command.leader_epoch, gate_check)
    if refusal is None:
        try:
            if await journal.issue(command):
                return command
            refusal = Refuse("rejected_duplicate", "already issued")
        except StaleToken as stale:
            refusal = Refuse("rejected_stale_epoch", stale.reason)
    return await journal.refuse_issue(
        command, refusal.status, refusal.reason, now_ns=now_ns, detail=refusal.detail
    )


def _reviewed(command: Command, found: Review) -> tuple[Command, Refuse | None]:
    command = msgspec.structs.replace(command, causal=encode_causal(msgspec.Raw(found.encode())))
    if not found.is_refused:
        return command, None
    return command, Refuse("rejected_causal", found.reason, found.reason)


def _judge(epoch: int, gate_check: Callable[[], int] | None) -> Refuse | None:
    if epoch == 0:
        return Refuse("rejected_not_leader", "the issuer does not lead")
    if gate_check is None:
        return None
    try:
        present = gate_check()
    except Fenced as fenced:
        return Refuse("rejected_not_leader", str(fenced))
    if present != epoch:
        # Decided in one reign, issued in another: what it was decided on may be gone.
        return Refuse("rejected_stale_epoch", f"decided in epoch {epoch}, issued in {present}")
    return None
