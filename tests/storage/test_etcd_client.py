"""What the client of etcd's gateway does when things go wrong, request by request."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

import msgspec
import pytest

from federlib.errors import OutcomeUnknown, StoreDenied, StoreFull, Unavailable
from federlib.storage.backends.etcd import _wire as wire
from federlib.storage.backends.etcd._client import Ask, EtcdClient, Reply
from federlib.storage.backends.etcd._errors import Compacted, Kind, read_refusal
from federlib.storage.backends.etcd._url import parse_url
from federlib.testing.servers import free_ports
from storage.etcd_lab import Gateway, answer, refuse

Safety = Literal["read", "once", "repeatable"]
EVERY = pytest.mark.parametrize("safety", ["read", "once", "repeatable"])
READ = wire.txn_reader(success=0, failure=0)
GOOD = answer({"header": {"revision": "7"}, "succeeded": True})


def ask(
    *endpoints: str,
    safety: Safety,
    before_send: Callable[[], None] | None = None,
    patience_s: float = 3,
    times: int = 1,
    user: str = "",
) -> Reply[wire.TxnAnswer]:
    client = EtcdClient(parse_url(f"etcd://{user}{','.join(endpoints)}"))
    try:
        for _ in range(times):
            reply = client.ask(
                Ask(
                    path=wire.TXN,
                    body=b'{"x":1}',
                    decode=READ,
                    safety=safety,
                    what="commit",
                    transaction_id="t",
                    before_send=before_send,
                ),
                patience_s=patience_s,
            )
    finally:
        client.close()
    return reply


def nobody() -> str:
    """Where no server listens."""
    return f"127.0.0.1:{free_ports(1)[0]}"


@EVERY
def test_an_answer_comes_back(safety: Safety) -> None:
    with Gateway(GOOD) as gateway:
        reply = ask(gateway.endpoint, safety=safety)
    assert (reply.answer.succeeded, reply.answer.header.revision, reply.is_late) == (True, 7, False)
    assert gateway.requests == [b'{"x":1}']


@EVERY
def test_where_nobody_listens_nothing_was_sent(safety: Safety) -> None:
    sent: list[int] = []
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1"):
        ask(nobody(), nobody(), safety=safety, before_send=lambda: sent.append(1))
    assert sent == []


@EVERY
def test_the_next_endpoint_is_asked_where_one_does_not_listen(safety: Safety) -> None:
    with Gateway(GOOD) as gateway:
        reply = ask(nobody(), gateway.endpoint, safety=safety)
    assert reply.answer.succeeded
    assert not reply.is_late


def test_what_must_not_be_sent_twice_is_not() -> None:
    with Gateway(Gateway.CLOSE) as first, Gateway(GOOD) as second:
        with pytest.raises(OutcomeUnknown) as caught:
            ask(first.endpoint, second.endpoint, safety="once")
        assert caught.value.transaction_id == "t"
        assert len(first.requests) == 1
        assert second.requests == []


def test_what_may_be_repeated_is_and_says_so() -> None:
    with Gateway(Gateway.CLOSE) as first, Gateway(Gateway.CLOSE, GOOD) as second:
        reply = ask(first.endpoint, second.endpoint, safety="repeatable", patience_s=10)
    assert reply.is_late
    assert len(first.requests) + len(second.requests) >= 3


def test_a_read_that_is_lost_is_asked_elsewhere() -> None:
    with Gateway(Gateway.CLOSE) as first, Gateway(GOOD) as second:
        reply = ask(first.endpoint, second.endpoint, safety="read")
    assert reply.answer.succeeded


def test_one_endpoint_that_hangs_does_not_use_up_the_time_of_the_other() -> None:
    with Gateway(Gateway.HANG) as first, Gateway(GOOD) as second:
        began = time.monotonic()
        assert ask(first.endpoint, second.endpoint, safety="read", patience_s=4).answer.succeeded
        assert time.monotonic() - began < 3.9


@pytest.mark.parametrize(
    ("safety", "error"),
    [("read", Unavailable), ("once", OutcomeUnknown), ("repeatable", OutcomeUnknown)],
)
def test_the_time_is_kept(safety: Safety, error: type[Exception]) -> None:
    with Gateway(Gateway.HANG) as gateway:
        began = time.monotonic()
        with pytest.raises(error):
            ask(gateway.endpoint, safety=safety, patience_s=1)
        assert 0.9 < time.monotonic() - began < 8


def test_a_kept_connection_that_the_server_closed_is_not_used() -> None:
    with Gateway(GOOD, GOOD, GOOD, idle_close=True) as gateway:
        client = EtcdClient(parse_url(f"etcd://{gateway.endpoint}"))
        try:
            for _ in range(3):
                client.ask(Ask(path="/x", body=b"{}", decode=READ, safety="once"))
                time.sleep(0.1)
        finally:
            client.close()
        assert gateway.connections == 3


def test_the_clock_of_the_server_comes_with_its_answer() -> None:
    date = "Sun, 06 Nov 1994 08:49:37 GMT"
    dated = GOOD.replace(b"\r\n", b"\r\nDate: " + date.encode() + b"\r\n", 1)
    with Gateway(dated, GOOD) as gateway:
        assert ask(gateway.endpoint, safety="read").date == date
        assert not ask(gateway.endpoint, safety="read").date


def test_a_connection_is_kept() -> None:
    with Gateway(GOOD, GOOD, GOOD) as gateway:
        ask(gateway.endpoint, safety="once", times=3)
        assert gateway.connections == 1


def test_who_thinks_better_of_it_sends_nothing() -> None:
    def refrain() -> None:
        raise LookupError

    with Gateway(GOOD) as gateway:
        with pytest.raises(LookupError):
            ask(gateway.endpoint, safety="once", before_send=refrain)
        time.sleep(0.1)
        assert gateway.requests == []


@pytest.mark.parametrize(
    ("message", "code", "error"),
    [
        ("etcdserver: permission denied", 7, StoreDenied),
        ("etcdserver: mvcc: database space exceeded", 8, StoreFull),
        ("etcdserver: too many requests", 8, Unavailable),
        ("etcdserver: request is too large", 3, Unavailable),
        ("raft proposal dropped", 2, Unavailable),
        ("etcdserver: mvcc: required revision has been compacted", 11, Compacted),
        ("etcdserver: request timed out", 14, OutcomeUnknown),
        ("etcdserver: no leader", 14, OutcomeUnknown),
        ("etcdserver: leader changed", 14, OutcomeUnknown),
        ("context deadline exceeded", 4, OutcomeUnknown),
        ("something new", 2, OutcomeUnknown),
    ],
)
def test_a_refused_write_is_unknown_unless_etcd_is_sure(
    message: str, code: int, error: type[Exception]
) -> None:
    refusals = [refuse(message, code)] * 100
    with Gateway(*refusals) as gateway, pytest.raises(error):
        ask(gateway.endpoint, safety="once", patience_s=0.2)


def test_what_was_refused_for_the_moment_is_asked_again() -> None:
    busy = refuse("etcdserver: too many requests", 8)
    with Gateway(busy, busy, GOOD) as gateway:
        reply = ask(gateway.endpoint, safety="once")
    assert reply.answer.succeeded
    assert not reply.is_late


def test_a_late_refusal_does_not_make_the_first_try_undone() -> None:
    denied = refuse("etcdserver: permission denied", 7, status=403)
    with Gateway(Gateway.CLOSE, denied) as gateway, pytest.raises(OutcomeUnknown):
        ask(gateway.endpoint, safety="repeatable")


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b"<html>", b'{"succeeded":7}', b"\xff", b'{"x":' + b"[" * 50_000],
    ids=lambda body: str(body[:20]),
)
def test_an_answer_that_is_not_etcds_is_no_answer(body: bytes) -> None:
    with Gateway(answer(body)) as gateway, pytest.raises(OutcomeUnknown):
        ask(gateway.endpoint, safety="once")
    with Gateway(*[answer(body)] * 2) as gateway, pytest.raises(Unavailable):
        ask(gateway.endpoint, safety="read")


@pytest.mark.parametrize(
    "body",
    [
        b'{"header":{"revision":"9223372036854775808"}}',
        b'{"header":{"revision":"-7"}}',
        b'{"kvs":[{"mod_revision":"99999999999999999999"}]}',
        b'{"more":true}',
    ],
)
def test_a_range_that_cannot_be_is_refused(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        wire.read_range(body)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, "denied"), (403, "denied"), (404, "refused"), (301, "refused"),
        (500, "doubtful"), (502, "doubtful"), (503, "doubtful"), (408, "doubtful"),
    ],
)  # fmt: skip
def test_a_proxy_is_judged_by_its_status(status: int, kind: Kind) -> None:
    assert read_refusal(status, b"<html>").kind == kind


def test_a_token_that_is_no_longer_taken_is_renewed_once() -> None:
    stale = refuse("etcdserver: invalid auth token", 16, status=401)
    token = answer({"token": "one"}), answer({"token": "two"})
    with Gateway(token[0], stale, token[1], GOOD) as gateway:
        reply = ask(gateway.endpoint, safety="once", user="u:p%40@")
        assert reply.answer.succeeded
        assert not reply.is_late
        assert gateway.requests[0] == b'{"name":"u","password":"p@"}'
    with Gateway(token[0], stale, token[1], stale) as gateway, pytest.raises(StoreDenied):
        ask(gateway.endpoint, safety="once", user="u:p@")


def test_a_lost_question_for_a_token_sends_nothing() -> None:
    with Gateway(Gateway.CLOSE) as gateway, pytest.raises(Unavailable) as caught:
        ask(gateway.endpoint, safety="once", user="u:s3cret@")
    assert "s3cret" not in str(caught.value)
    assert gateway.requests[-1].startswith(b'{"name"')


def test_a_token_in_a_strange_answer_is_not_shown() -> None:
    with Gateway(answer({"token": ["s3cret"]})) as gateway, pytest.raises(Unavailable) as caught:
        ask(gateway.endpoint, safety="once", user="u:p@")
    assert "s3cret" not in f"{caught.value} {caught.value.__cause__!r}"
    with Gateway(answer({"token": "s3cret\n"})) as gateway, pytest.raises(Unavailable) as caught:
        ask(gateway.endpoint, safety="once", user="u:p@")
    assert "s3cret" not in f"{caught.value} {caught.value.__cause__!r}"


def test_a_closed_client_is_unavailable() -> None:
    client = EtcdClient(parse_url("etcd://127.0.0.1:1"))
    client.close()
    client.close()
    with pytest.raises(Unavailable, match="closed"):
        client.ask(Ask(path="/x", body=b"{}", decode=READ))
    with pytest.raises(Unavailable, match="closed"):
        client.stream("/x", b"{}")


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"])
def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, f"http://{nobody()}")
    with Gateway(GOOD) as gateway:
        assert ask(gateway.endpoint, safety="once").answer.succeeded
