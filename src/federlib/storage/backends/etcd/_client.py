"""A client of etcd's JSON gateway: requests, streams, endpoints, users, TLS. Nothing of stores.

    client = EtcdClient(parse_url("etcds://u:secret@a,b,c?ca=ca.pem"))
    answer = client.ask(Ask(path=RANGE, body=encode({"key": b"x"}), decode=read_range)).answer

It blocks, and may be used by any number of threads. One endpoint is asked until it fails,
then the next. What may be asked again is said with each request, for only who asks can know:

* `read`: it changes nothing. Any endpoint may be asked after any failure.
* `once`: it must not be sent twice. Another endpoint is tried only while nothing was sent;
  once a byte may have left, a lost answer is `OutcomeUnknown`.
* `repeatable`: sent twice it takes effect once. It is repeated until there is an answer or
  the time is over; then it is `OutcomeUnknown` if any of the tries may have been heard.

Whether anything was sent is not guessed from the kind of an error: httpcore tells when the
first byte is about to leave, and that is also when `before_send` is called.

A kept-alive connection that the server has closed is noticed before it is used again, for
then its socket is readable; and none is kept for longer than a few seconds. What remains is
a server that goes down between that look and the first byte.

Environment variables (proxies, netrc) are ignored: what the URL says is what happens.

Hazards: a fork must not use what its parent opened; whoever uses this client sees to that.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Generic, Literal, TypeVar

import attrs
import msgspec

from federlib.errors import FederlibError, OutcomeUnknown, StoreDenied, Unavailable
from federlib.storage.backends.etcd._errors import Compacted, Lost, Refusal, Unusable, read_refusal
from federlib.storage.backends.etcd._transport import (
    CERTIFICATE,
    LineStream,
    httpx,
    now_s,
    read_whole,
    reason_of,
    trust,
)
from federlib.storage.backends.etcd._url import EtcdUrl
from federlib.storage.backends.etcd._wire import AUTHENTICATE, encode, read_auth

__all__ = ["PATIENCE_S", "Ask", "EtcdClient", "LineStream", "Reply"]

PATIENCE_S = 5.0
"""How long a request may take in all, on whichever endpoints; seconds."""

_CONNECT_S = 1.0
"""While there are other endpoints: one that drops packets is not waited for."""

_KEEP_ALIVE_S = 5.0
_PAUSE_S = 0.05
_READ_ROUNDS = 2
"""A read is tried twice everywhere: a server that restarts takes its connections along."""

_MIN_TRY_S = 0.01
_HEADERS = [("Accept-Encoding", "identity"), ("Content-Type", "application/json")]
_FIRST_BYTE = "http11.send_request_headers.started"

_T = TypeVar("_T")
_Found = TypeVar("_Found")
Safety = Literal["read", "once", "repeatable"]


@attrs.frozen(kw_only=True)
class Ask(Generic[_T]):
    """One request.

    Attributes:
        path: Of the gateway, for example ``/v3/kv/txn``.
        body: JSON.
        decode: Reads the answer's JSON; raises `msgspec.DecodeError`.
        safety: What may be done when no answer comes; see the module.
        what: How `OutcomeUnknown` calls it.
        transaction_id: For `OutcomeUnknown`.
        before_send: Called in this thread right before the first byte leaves, at each try;
            what it raises ends the request, and nothing is sent.
    """

    path: str
    body: bytes
    decode: Callable[[bytes], _T]
    safety: Safety = "read"
    what: str = "request"
    transaction_id: str | None = None
    before_send: Callable[[], None] | None = None


@attrs.frozen
class Reply(Generic[_T]):
    """An answer.

    Attributes:
        answer: As decoded.
        is_late: An earlier try got no answer: it may have taken effect, or may yet.
        date: When it was given by the server's clock: the header `Date`, to the second.
    """

    answer: _T
    is_late: bool
    date: str = ""


class EtcdClient:
    """Talks to one cluster. Thread-safe; every verb blocks.

    Attributes:
        where: How errors call the cluster.
    """

    def __init__(self, url: EtcdUrl) -> None:
        """Prepare to talk; nothing is sent yet.

        Raises:
            InvalidInput: A file that the URL names cannot be used.
        """
        self.where: str = url.where
        scheme = "https" if url.is_tls else "http"
        self._bases = [httpx.URL(f"{scheme}://{endpoint}") for endpoint in url.endpoints]
        self._urls: dict[tuple[int, str], httpx.URL] = {}
        self._endpoints = url.endpoints
        self._first = 0
        self._user = None if url.user is None else {"name": url.user, "password": url.password}
        self._token: str | None = None
        self._token_mutex = threading.Lock()
        self._streams: set[LineStream] = set()
        self._mutex = threading.Lock()
        self._closed = threading.Event()
        # The transport alone: a client on top of it costs as much again for each request, for
        # redirects, cookies and the like, of which there are none.
        self._http = httpx.HTTPTransport(
            verify=trust(url) if url.is_tls else False,
            trust_env=False,
            limits=httpx.Limits(
                max_connections=None,
                max_keepalive_connections=None,
                keepalive_expiry=_KEEP_ALIVE_S,
            ),
        )

    def _url(self, endpoint: int, path: str) -> httpx.URL:
        known = self._urls.get((endpoint, path))
        if known is None:
            known = self._urls[endpoint, path] = self._bases[endpoint].copy_with(path=path)
        return known

    def ask(self, ask: Ask[_T], *, patience_s: float = PATIENCE_S) -> Reply[_T]:
        """Send a request, and return its answer.

        Args:
            ask: The request.
            patience_s: How long it may take in all; seconds.
        Raises:
            Compacted: It asks for a revision that is no longer kept.
            StoreDenied: User, password, role or certificate are refused.
            StoreFull: The cluster's space is used up.
            Unavailable: No endpoint answers; it had no effect.
            OutcomeUnknown: It was sent, and no answer came that says what became of it.
        """

        def post(endpoint: int, seconds: float) -> tuple[_T, str]:
            end_s = now_s() + seconds
            response = self._send(endpoint, seconds, ask.path, ask.body, ask.before_send)
            body = read_whole(response, end_s)
            try:
                return ask.decode(body), response.headers.get("Date", "")
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                # Of a proxy, perhaps.
                reason = f"an answer that is not etcd's ({error})"
                raise Lost(reason, may_have_happened=True) from error

        try:
            (answer, date), is_late = self._try_each(
                post, ask.safety, patience_s, ask.what, ask.transaction_id
            )
            return Reply(answer, is_late, date)
        finally:
            if self._closed.is_set():
                # It was closed meanwhile, and this may have opened a connection since.
                self._http.close()

    def stream(self, path: str, body: bytes, *, silence_s: float | None = None) -> LineStream:
        """Open a stream; the caller closes it.

        Args:
            path: Of the gateway, for example ``/v3/watch``.
            body: JSON.
            silence_s: The stream is lost when nothing comes for so long; None for never.
        Raises:
            StoreDenied: User, password, role or certificate are refused.
            Unavailable: No endpoint answers.
        """

        def open_one(endpoint: int, seconds: float) -> LineStream:
            response = self._send(endpoint, seconds, path, body)
            # The answer's head came in time; httpcore reads this again for the rest.
            response.request.extensions["timeout"]["read"] = silence_s
            return LineStream(response, endpoint)

        stream, _ = self._try_each(open_one, "read", PATIENCE_S, "watch", None)
        with self._mutex:
            self._streams.add(stream)
        if self._closed.is_set():
            self.release(stream)
            raise self._gone()
        return stream

    def release(self, stream: LineStream) -> None:
        """Close a stream, in the thread that reads it."""
        with self._mutex:
            self._streams.discard(stream)
        stream.close()

    def distrust(self, endpoint: int) -> None:
        """Ask another endpoint first: this one no longer tells what happens."""
        if self._first == endpoint:
            self._first = (endpoint + 1) % len(self._endpoints)

    def close(self) -> None:
        """Let go of all connections; streams end, requests under way fail. Twice is once."""
        self._closed.set()
        with self._mutex:
            streams = list(self._streams)
        for stream in streams:
            stream.abort()
        self._http.close()

    def _gone(self) -> Unavailable:
        return Unavailable(self.where, "it was closed by this process")

    def _try_each(
        self,
        attempt: Callable[[int, float], _Found],
        safety: Safety,
        patience_s: float,
        what: str,
        transaction_id: str | None,
    ) -> tuple[_Found, bool]:
        """Try endpoint after endpoint, for as long and as often as `safety` allows.

        Returns:
            What was found, and whether an earlier try may have been heard.
        """
        end_s = now_s() + patience_s
        doubt: Unusable | None = None
        last: FederlibError = Unavailable(self.where, f"no answer within {patience_s:g} s")
        rounds = 0
        while not self._closed.is_set():
            is_passing = False
            for endpoint, left in self._turns():
                seconds = max(_MIN_TRY_S, end_s - now_s()) / (1 if safety == "once" else left)
                try:
                    return attempt(endpoint, seconds), doubt is not None
                except Unusable as error:
                    if error.may_have_happened and safety != "read":
                        doubt = error
                    last = self._explain(error, endpoint)
                    if isinstance(error, Refusal) and error.kind == "compacted":
                        raise Compacted from error
                    is_final = isinstance(error, Refusal) and error.is_everywhere
                    if is_final or (doubt is not None and safety == "once"):
                        raise self._verdict(doubt, last, what, transaction_id) from error
                    # A member that is there and cannot do it now: an election, perhaps.
                    is_passing = is_passing or isinstance(error, Refusal)
                    self.distrust(endpoint)
                if now_s() >= end_s:
                    raise self._verdict(doubt, last, what, transaction_id)
            rounds += 1
            # Where nobody is there, and nothing can have happened, the caller is told at once.
            is_enough = rounds >= (_READ_ROUNDS if safety == "read" else 1)
            if doubt is None and not is_passing and is_enough:
                break
            self._closed.wait(_PAUSE_S)
        if self._closed.is_set():
            last = self._gone()
        raise self._verdict(doubt, last, what, transaction_id)

    def _turns(self) -> Iterator[tuple[int, int]]:
        count, first = len(self._endpoints), self._first
        for turn in range(count):
            yield (first + turn) % count, count - turn

    def _verdict(
        self, doubt: Unusable | None, last: FederlibError, what: str, transaction_id: str | None
    ) -> FederlibError:
        if doubt is None:
            return last
        error = OutcomeUnknown(what, transaction_id=transaction_id, reason=doubt.reason)
        error.__cause__ = doubt
        return error

    def _explain(self, error: Unusable, endpoint: int) -> FederlibError:
        if isinstance(error, Refusal):
            explained = error.translate(self.where)
        elif error.reason.startswith(CERTIFICATE):
            explained = StoreDenied(self.where, error.reason, hint="check ca, cert and key")
        else:
            explained = Unavailable(self.where, f"{self._endpoints[endpoint]}: {error.reason}")
        explained.__cause__ = error
        return explained

    def _send(
        self,
        endpoint: int,
        seconds: float,
        path: str,
        body: bytes,
        before_send: Callable[[], None] | None = None,
    ) -> httpx.Response:
        """Send one request as our user; a token that is no longer taken is renewed once.

        A refused token means that nothing happened, so sending again is always safe.
        """
        token = self._find_token(endpoint, seconds, stale=None)
        try:
            return self._exchange(endpoint, seconds, path, body, before_send, token=token)
        except Refusal as error:
            if error.kind != "stale_token" or self._user is None:
                raise
        token = self._find_token(endpoint, seconds, stale=token)
        return self._exchange(endpoint, seconds, path, body, before_send, token=token)

    def _find_token(self, endpoint: int, seconds: float, *, stale: str | None) -> str | None:
        if self._user is None:
            return None
        with self._token_mutex:
            if self._token is None or self._token == stale:
                self._token = self._authenticate(endpoint, seconds)
            return self._token

    def _authenticate(self, endpoint: int, seconds: float) -> str:
        """Ask for a token; whatever goes wrong, the request that needs it was not sent."""
        end_s = now_s() + seconds
        try:
            body = encode(self._user)
            response = self._exchange(endpoint, seconds, AUTHENTICATE, body, token=None)
            return read_auth(read_whole(response, end_s)).token
        except Unusable as error:
            if isinstance(error, Refusal) and error.is_everywhere:
                raise
            raise Lost(error.reason, may_have_happened=False) from error
        except (msgspec.DecodeError, UnicodeDecodeError):
            # Its text may have the token in it.
            raise Lost("no token in its answer", may_have_happened=False) from None

    def _exchange(
        self,
        endpoint: int,
        seconds: float,
        path: str,
        body: bytes,
        before_send: Callable[[], None] | None = None,
        *,
        token: str | None,
    ) -> httpx.Response:
        """Send, and return an answer of status 200, unread; whoever gets it closes it.

        Raises:
            Lost: It failed on the way; says whether anything was sent.
            Refusal: The answer is an error.
        """
        is_sent = False

        def trace(event: str, _info: dict[str, object]) -> None:
            nonlocal is_sent
            if event == _FIRST_BYTE:
                if before_send is not None:
                    before_send()
                is_sent = True

        connect_s = min(_CONNECT_S, seconds) if len(self._bases) > 1 else seconds
        limits = {"connect": connect_s, "read": seconds, "write": seconds, "pool": seconds}
        headers = [*_HEADERS, ("Authorization", token)] if token is not None else _HEADERS
        try:
            request = httpx.Request(
                "POST",
                self._url(endpoint, path),
                headers=headers,
                content=body,
                extensions={"timeout": limits, "trace": trace},
            )
            response = self._http.handle_request(request)
            response.request = request
        except (httpx.HTTPError, OSError, UnicodeError) as error:
            reason = reason_of(error)
            # A certificate is refused before anything is done with what came by it.
            is_heard = is_sent and not reason.startswith(CERTIFICATE)
            raise Lost(reason, may_have_happened=is_heard) from error
        if response.status_code == httpx.codes.OK:
            return response
        answer = read_whole(response, now_s() + seconds)
        raise read_refusal(response.status_code, answer)
