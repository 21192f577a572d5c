"""The tables of leases, and functions for what needs more than one statement.

Whoever is judged is judged under the row lock of the name, so in the order in which the
server let them in. Instants are Unix nanoseconds of the server's wall clock.

Source: design §4, lease.
"""

from __future__ import annotations

from string import Template

from federlib.lease.queue import MAX_WAITERS
from federlib.lease.records import MAX_TOKEN
from federlib.storage.backends.postgresql._schema import quote_name

__all__ = ["FORMAT", "TABLES", "TOKENS_END", "definitions"]

FORMAT = 1
"""The layout that this version reads and writes."""

TABLES = frozenset({"lease", "lease_floor", "lease_waiter"})

TOKENS_END = "FL001"
"""SQLSTATE: the last int64 has been granted."""

_WATCH_S = 60

_DEFINITIONS = Template("""
CREATE TABLE $s.lease_floor (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    format integer NOT NULL,
    token bigint NOT NULL CHECK (token >= 0)
);
INSERT INTO $s.lease_floor (format, token) VALUES ($format, 0);

-- No holder: free. A token of 0: never granted. While somebody watches, changes are notified.
CREATE TABLE $s.lease (
    name text COLLATE "C" PRIMARY KEY,
    token bigint NOT NULL,
    holder_id text,
    session text,
    ttl_ms bigint NOT NULL DEFAULT 0,
    acquired_ns bigint NOT NULL DEFAULT 0,
    renewed_ns bigint NOT NULL DEFAULT 0,
    freed_ns bigint NOT NULL DEFAULT 0,
    watched_ns bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.1, autovacuum_vacuum_threshold = 500);

CREATE TABLE $s.lease_waiter (
    place bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL,
    holder_id text NOT NULL,
    session text NOT NULL,
    expires_ns bigint NOT NULL,
    channel text NOT NULL,
    UNIQUE (name, holder_id, session)
) WITH (autovacuum_vacuum_scale_factor = 0.1, autovacuum_vacuum_threshold = 500);
CREATE INDEX lease_waiter_in_line ON $s.lease_waiter (name, place);

CREATE FUNCTION $s.now_ns() RETURNS bigint LANGUAGE sql VOLATILE AS $$$$
    SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint * 1000
$$$$;

-- Wakes whoever is first in line; with the transaction, so that it is never lost.
CREATE FUNCTION $s.lease_wake(which text, now bigint) RETURNS void LANGUAGE plpgsql AS $$$$
DECLARE
    first text;
BEGIN
    SELECT w.channel INTO first FROM $s.lease_waiter w
        WHERE w.name = which AND w.expires_ns > now ORDER BY w.place LIMIT 1;
    IF FOUND THEN PERFORM pg_notify(first, ''); END IF;
END
$$$$;

-- What the one statement of `acquire` leaves over: held, waited for, or never heard of.
CREATE FUNCTION $s.lease_acquire(
    which text, who text, claim text, ttl bigint, stand boolean,
    wait_ns bigint, grace_ns bigint, own_channel text, name_channel text
) RETURNS TABLE (
    is_granted boolean, token bigint, holder_id text, session text, ttl_ms bigint,
    acquired_ns bigint, renewed_ns bigint, ahead bigint, left_ns bigint, skipped text[]
) LANGUAGE plpgsql AS $$$$
#variable_conflict use_column
DECLARE
    l $s.lease%ROWTYPE;
    now bigint; own $s.lease_waiter%ROWTYPE; first_expires bigint; expires bigint;
    free_since bigint; floor_token bigint; turn bigint; many bigint;
BEGIN
    skipped := '{}';
    SELECT * INTO l FROM $s.lease q WHERE q.name = which FOR UPDATE;
    IF NOT FOUND THEN
        INSERT INTO $s.lease (name, token) VALUES (which, 0) ON CONFLICT DO NOTHING;
        SELECT * INTO l FROM $s.lease q WHERE q.name = which FOR UPDATE;
    END IF;
    now := $s.now_ns();
    IF l.holder_id = who AND l.session = claim THEN
        UPDATE $s.lease q SET ttl_ms = ttl, renewed_ns = now WHERE q.name = which;
        DELETE FROM $s.lease_waiter w
            WHERE w.name = which AND w.holder_id = who AND w.session = claim;
        IF l.watched_ns > now THEN PERFORM pg_notify(name_channel, ''); END IF;
        is_granted := true; token := l.token; holder_id := who; session := claim;
        ttl_ms := ttl; acquired_ns := l.acquired_ns; renewed_ns := now; ahead := 0; left_ns := 0;
        RETURN NEXT;
        RETURN;
    END IF;
    expires := CASE WHEN l.holder_id IS NULL THEN 0 ELSE l.renewed_ns + l.ttl_ms * 1000000 END;
    free_since := CASE WHEN l.holder_id IS NULL THEN l.freed_ns ELSE expires END;
    SELECT * INTO own FROM $s.lease_waiter w
        WHERE w.name = which AND w.holder_id = who AND w.session = claim;
    SELECT count(*), min(w.expires_ns) INTO ahead, first_expires FROM $s.lease_waiter w
        WHERE w.name = which AND w.expires_ns > now
            AND (own.place IS NULL OR w.place < own.place);
    IF expires <= now AND (ahead = 0
            OR (own.place IS NOT NULL AND now >= free_since + ahead * grace_ns)) THEN
        SELECT f.token INTO floor_token FROM $s.lease_floor f;
        token := greatest(l.token, floor_token);
        IF token >= $max_token THEN
            RAISE EXCEPTION 'the last token has been granted' USING ERRCODE = '$tokens_end';
        END IF;
        token := token + 1;
        UPDATE $s.lease q SET token = lease_acquire.token, holder_id = who, session = claim,
            ttl_ms = ttl, acquired_ns = now, renewed_ns = now WHERE q.name = which;
        IF ahead > 0 THEN
            SELECT array_agg(w.holder_id ORDER BY w.place) INTO skipped FROM $s.lease_waiter w
                WHERE w.name = which AND w.place < own.place AND w.expires_ns > now;
        END IF;
        DELETE FROM $s.lease_waiter w WHERE w.name = which
            AND (w.place <= own.place OR (own.place IS NULL AND w.expires_ns <= now));
        IF l.watched_ns > now THEN PERFORM pg_notify(name_channel, ''); END IF;
        is_granted := true; holder_id := who; session := claim; ttl_ms := ttl;
        acquired_ns := now; renewed_ns := now; ahead := 0; left_ns := 0;
        RETURN NEXT;
        RETURN;
    END IF;
    -- Those further back are woken when they are first, and look by themselves much later.
    turn := greatest(expires, free_since) + ahead * grace_ns;
    IF ahead = 0 AND expires > now THEN turn := expires; END IF;
    IF ahead = 1 THEN turn := least(turn, first_expires); END IF;
    IF stand THEN
        turn := least(turn, now + wait_ns / 3);
        IF own.place IS NOT NULL THEN
            IF own.expires_ns - now < wait_ns * 2 / 3 OR own.channel <> own_channel THEN
                UPDATE $s.lease_waiter w SET expires_ns = now + wait_ns, channel = own_channel
                    WHERE w.place = own.place;
            END IF;
        ELSE
            SELECT count(*) INTO many FROM $s.lease_waiter w WHERE w.name = which;
            IF many >= $max_waiters THEN
                DELETE FROM $s.lease_waiter w WHERE w.name = which AND w.expires_ns <= now;
                SELECT count(*) INTO many FROM $s.lease_waiter w WHERE w.name = which;
            END IF;
            IF many < $max_waiters THEN
                INSERT INTO $s.lease_waiter (name, holder_id, session, expires_ns, channel)
                    VALUES (which, who, claim, now + wait_ns, own_channel);
            END IF;
        END IF;
    END IF;
    is_granted := false; token := l.token;
    IF expires > now THEN
        holder_id := l.holder_id; session := l.session; ttl_ms := l.ttl_ms;
        acquired_ns := l.acquired_ns; renewed_ns := l.renewed_ns;
    END IF;
    left_ns := turn - now;
    RETURN NEXT;
END
$$$$;

CREATE FUNCTION $s.lease_withdraw(
    which text, who text, claim text, name_channel text
) RETURNS void LANGUAGE plpgsql AS $$$$
DECLARE
    watched bigint; now bigint;
BEGIN
    SELECT q.watched_ns INTO watched FROM $s.lease q WHERE q.name = which FOR UPDATE;
    DELETE FROM $s.lease_waiter w
        WHERE w.name = which AND w.holder_id = who AND w.session = claim;
    IF FOUND THEN
        now := $s.now_ns();
        PERFORM $s.lease_wake(which, now);
        IF watched > now THEN PERFORM pg_notify(name_channel, ''); END IF;
    END IF;
END
$$$$;

CREATE FUNCTION $s.lease_watch(which text) RETURNS void LANGUAGE plpgsql AS $$$$
BEGIN
    INSERT INTO $s.lease AS q (name, token, watched_ns)
        VALUES (which, 0, $s.now_ns() + $watch_ns)
        ON CONFLICT (name) DO UPDATE SET watched_ns = excluded.watched_ns
            WHERE q.watched_ns < excluded.watched_ns - $watch_ns / 2;
END
$$$$;

-- Forgets names that have been free for long, and places long expired. The floor rises above
-- the tokens that are forgotten.
CREATE FUNCTION $s.lease_collect(free_before bigint) RETURNS bigint LANGUAGE plpgsql AS $$$$
DECLARE
    highest bigint; many bigint; now bigint := $s.now_ns();
BEGIN
    DELETE FROM $s.lease_waiter w WHERE w.expires_ns < now - 3600000000000;
    WITH gone AS (
        DELETE FROM $s.lease l WHERE l.holder_id IS NULL AND l.token > 0
            AND l.freed_ns < free_before AND l.watched_ns < now
            AND NOT EXISTS (SELECT 1 FROM $s.lease_waiter w WHERE w.name = l.name)
            RETURNING l.token
    ) SELECT max(g.token), count(*) INTO highest, many FROM gone g;
    UPDATE $s.lease_floor f SET token = highest WHERE f.token < highest;
    RETURN many;
END
$$$$;
""")


def definitions(schema: str) -> str:
    """Return the statements that make the tables and functions in a schema."""
    return _DEFINITIONS.substitute(
        s=quote_name(schema),
        format=FORMAT,
        max_token=MAX_TOKEN,
        tokens_end=TOKENS_END,
        max_waiters=MAX_WAITERS,
        watch_ns=_WATCH_S * 1_000_000_000,
    )
