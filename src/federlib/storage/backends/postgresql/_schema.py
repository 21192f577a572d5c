"""What lies in the database: tables, and the functions that do all the work of one request.

Every name is written with its schema, so a session's search path decides nothing.

The order of commits is that of their revisions because each commit takes the row lock of
`store` before it looks at anything, and keeps it until it is done. At READ COMMITTED each
statement behind that sees whatever was committed before.

Source: design §4, PostgreSQL.
"""

from __future__ import annotations

from string import Template

__all__ = ["FORMAT", "HISTORY_BYTES", "HISTORY_REVISIONS", "migrations", "quote_name"]

FORMAT = 1
"""The layout that this version reads and writes."""

HISTORY_REVISIONS = 8_192
HISTORY_BYTES = 64 * 1024 * 1024
"""What is kept, about, for watchers that come late; the bound in bytes is the stronger one."""

_TRIM_EVERY = 256
_TRIM_EVERY_BYTES = 8 * 1024 * 1024
_RECEIPTS = 100_000
_RECEIPT_AGE_S = 600

# Rows that are written all the time keep room for their next version in the same page.
_FIRST = Template("""
CREATE TABLE $s.store (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    store_id text NOT NULL,
    format integer NOT NULL,
    revision bigint NOT NULL
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

CREATE TABLE $s.record (
    key text COLLATE "C" PRIMARY KEY,
    value bytea NOT NULL,
    revision bigint NOT NULL,
    created bigint NOT NULL
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);

-- `total_bytes` and `receipts` add up all so far, so that trimming never reads or counts them.
CREATE TABLE $s.change (
    revision bigint PRIMARY KEY,
    total_bytes bigint NOT NULL,
    receipts bigint NOT NULL,
    keys text[] NOT NULL,
    vals bytea[] NOT NULL,
    created bigint[] NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

CREATE TABLE $s.receipt (
    id text COLLATE "C" PRIMARY KEY,
    seq bigint UNIQUE NOT NULL,
    revision bigint NOT NULL,
    digest bytea NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE FUNCTION $s.trim(last bigint, grown bigint, receipts bigint) RETURNS void
LANGUAGE plpgsql AS $$$$
DECLARE
    low bigint; high bigint := last; middle bigint; total bigint; keep_from bigint;
BEGIN
    SELECT min(revision) INTO low FROM $s.change;
    WHILE low < high LOOP
        middle := (low + high) / 2;
        SELECT c.total_bytes INTO total FROM $s.change c WHERE c.revision = middle;
        IF total > grown - $history_bytes THEN high := middle; ELSE low := middle + 1; END IF;
    END LOOP;
    keep_from := least(greatest(low, last - $history_revisions + 1), last);
    DELETE FROM $s.change c WHERE c.revision < keep_from;
    DELETE FROM $s.receipt r WHERE r.seq <= receipts - $receipts
        AND r.at < clock_timestamp() - make_interval(secs => $receipt_age_s);
END
$$$$;

-- Commits several transactions in their order, each with its own outcome, as one transaction
-- of the database. `check_ends` and `write_ends` say where each one's share of the arrays
-- ends; writes come in the order of their keys. A check of revision 0 is 'absent', a value of
-- NULL deletes.
-- Answers a row for each: 0 committed, with the keys that changed and when each was created
-- (0: deleted); 1 conflict, with the keys that failed and what was found; 2 committed before;
-- 3 its id was used for another; 9 this is another store.
CREATE FUNCTION $s.commit_group(
    expected_store text,
    ids text[], digests bytea[],
    check_ends integer[], check_keys text[], check_revisions bigint[],
    write_ends integer[], write_keys text[], write_vals bytea[]
) RETURNS TABLE (status integer, at_revision bigint, some_keys text[], numbers bigint[])
LANGUAGE plpgsql AS $$$$
DECLARE
    n integer := cardinality(ids);
    i integer;
    before bigint; rev bigint; total bigint; start_total bigint; noted bigint; found_store text;
    check_from integer := 1; check_to integer; write_from integer := 1; write_to integer;
    old $s.receipt%ROWTYPE;
    seen bigint; vals bytea[];
BEGIN
    UPDATE $s.store s SET revision = s.revision + n
        RETURNING s.revision - n, s.store_id INTO before, found_store;
    rev := before;
    IF found_store IS DISTINCT FROM expected_store THEN
        UPDATE $s.store s SET revision = before;
        status := 9; some_keys := ARRAY[found_store];
        RETURN NEXT;
        RETURN;
    END IF;
    SELECT c.total_bytes, c.receipts INTO STRICT total, noted
        FROM $s.change c WHERE c.revision = before;
    start_total := total;
    FOR i IN 1 .. n LOOP
        check_to := check_ends[i];
        write_to := write_ends[i];
        status := NULL; at_revision := NULL; some_keys := NULL; numbers := NULL;
        IF ids[i] IS NOT NULL THEN
            SELECT * INTO old FROM $s.receipt r WHERE r.id = ids[i];
            IF FOUND THEN
                at_revision := old.revision;
                status := CASE WHEN old.digest = digests[i] THEN 2 ELSE 3 END;
            END IF;
        END IF;
        IF status IS NULL THEN
            FOR k IN check_from .. check_to LOOP
                SELECT r.revision INTO seen FROM $s.record r WHERE r.key = check_keys[k];
                IF coalesce(seen, 0) <> check_revisions[k] THEN
                    status := 1;
                    some_keys := array_append(some_keys, check_keys[k]);
                    numbers := array_append(numbers, coalesce(seen, 0));
                END IF;
            END LOOP;
        END IF;
        IF status IS NULL THEN
            rev := rev + 1;
            status := 0; at_revision := rev; some_keys := '{}'; numbers := '{}'; vals := '{}';
            -- One by one: that takes half as long as one statement for all of them.
            FOR k IN write_from .. write_to LOOP
                IF write_vals[k] IS NULL THEN
                    DELETE FROM $s.record r WHERE r.key = write_keys[k];
                    CONTINUE WHEN NOT FOUND;
                    seen := 0;
                ELSE
                    INSERT INTO $s.record AS r (key, value, revision, created)
                        VALUES (write_keys[k], write_vals[k], rev, rev)
                        ON CONFLICT (key) DO UPDATE
                            SET value = excluded.value, revision = excluded.revision
                        RETURNING r.created INTO seen;
                END IF;
                some_keys := array_append(some_keys, write_keys[k]);
                vals := array_append(vals, write_vals[k]);
                numbers := array_append(numbers, seen);
                total := total + octet_length(write_keys[k])
                    + coalesce(octet_length(write_vals[k]), 0);
            END LOOP;
            IF ids[i] IS NOT NULL THEN
                noted := noted + 1;
                INSERT INTO $s.receipt (id, seq, revision, digest)
                    VALUES (ids[i], noted, rev, digests[i]);
            END IF;
            INSERT INTO $s.change VALUES (rev, total, noted, some_keys, vals, numbers);
        END IF;
        check_from := check_to + 1;
        write_from := write_to + 1;
        RETURN NEXT;
    END LOOP;
    IF rev < before + n THEN
        UPDATE $s.store s SET revision = rev;
    END IF;
    IF rev / $trim_every > before / $trim_every
            OR total / $trim_every_bytes > start_total / $trim_every_bytes THEN
        PERFORM $s.trim(rev, total, noted);
    END IF;
END
$$$$;

INSERT INTO $s.store (store_id, format, revision) VALUES ($store_id, 1, 1);
INSERT INTO $s.record VALUES ('meta/store', $meta, 1, 1);
INSERT INTO $s.change VALUES (1, 0, 0, ARRAY['meta/store'], ARRAY[$meta], ARRAY[1]);
""")


def quote_name(name: str) -> str:
    """Return an identifier as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


def migrations(schema: str, *, store_id: str, meta: bytes) -> tuple[str, ...]:
    """Return the statements that make each format out of the one before; the first out of none.

    Args:
        schema: Where the tables are.
        store_id: For a store that is made new: hexadecimal digits.
        meta: The first value of `meta/store`.
    """
    assert store_id.isalnum()
    return (
        _FIRST.substitute(
            s=quote_name(schema),
            store_id=f"'{store_id}'",
            meta=f"'\\x{meta.hex()}'::bytea",
            history_bytes=HISTORY_BYTES,
            history_revisions=HISTORY_REVISIONS,
            trim_every=_TRIM_EVERY,
            trim_every_bytes=_TRIM_EVERY_BYTES,
            receipts=_RECEIPTS,
            receipt_age_s=_RECEIPT_AGE_S,
        ),
    )
