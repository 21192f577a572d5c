"""Where a federation's leases are: argument, before URL, before environment, before the store."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

import federlib
import federlib.blocking
from federlib._parts import STORE_ENV, Setup, named_store
from federlib.errors import InvalidInput
from federlib.lease import (
    LEASE_BACKEND_ENV,
    LEASE_TTL_ENV,
    LeaseBackend,
    StoreLeaseBackend,
)
from federlib.lease.environment import NamedLeases, named_leases
from federlib.skewclock import SkewTolerance
from federlib.storage import RecordStore
from federlib.storage.backends.memory import MemoryStore
from federlib.testing import ManualClock

PREFIX = "ORXAQ_AUTONOMY_LEADER_LEASE_"
STORE_URL, OTHER_URL, LEASES_URL = "sqlite:///a.db", "sqlite:///b.db", "etcd://leases:2379"
OPEN_STORE = MemoryStore(ManualClock())
OPEN_LEASES = StoreLeaseBackend(MemoryStore(ManualClock()), ManualClock(), SkewTolerance())
FROM_ENV = {LEASE_BACKEND_ENV: "postgres", f"{PREFIX}POSTGRES_URL": "postgresql://h/d"}

ARGUMENTS: dict[str, str | RecordStore | None] = {
    "no store": None,
    "a store's URL": STORE_URL,
    "an open store": OPEN_STORE,
}
LEASES: dict[str, str | LeaseBackend | None] = {
    "no leases": None,
    "leases' URL": LEASES_URL,
    "open leases": OPEN_LEASES,
}
STORES: dict[str, Mapping[str, str]] = {
    "unset": {},
    "empty": {STORE_ENV: ""},
    "blank": {STORE_ENV: " "},
    "set": {STORE_ENV: OTHER_URL},
}
BACKENDS: dict[str, Mapping[str, str]] = {
    "unset": {},
    "empty": {LEASE_BACKEND_ENV: "", f"{PREFIX}POSTGRES_URL": "postgresql://h/d"},
    "blank": {LEASE_BACKEND_ENV: " "},
    "set": FROM_ENV,
}
NAMED = ("a store's URL", "an open store")
GIVEN = ("leases' URL", "open leases")
NOT_SET = ("unset", "empty", "blank")
ALL = (*NOT_SET, "set")

# Arguments: store, leases. Variables: store, leases. What comes of them: store, leases.
TABLE = (
    ((("no store",), tuple(LEASES), NOT_SET, ALL), ("refused", "")),
    ((NAMED, GIVEN, ALL, ALL), ("argument", "argument")),
    ((NAMED, ("no leases",), ALL, ALL), ("argument", "the store's own")),
    ((("no store",), GIVEN, ("set",), ALL), ("environment", "argument")),
    ((("no store",), ("no leases",), ("set",), NOT_SET), ("environment", "the store's own")),
    ((("no store",), ("no leases",), ("set",), ("set",)), ("environment", "environment")),
)
COMBINATIONS = tuple(itertools.product(ARGUMENTS, LEASES, STORES, BACKENDS))


@pytest.mark.parametrize("row", COMBINATIONS, ids=", ".join)
def test_every_combination_of_arguments_and_variables(
    row: tuple[str, str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    [expected] = [
        outcome
        for ways, outcome in TABLE
        if all(it in way for it, way in zip(row, ways, strict=True))
    ]
    environ = {**STORES[row[2]], **BACKENDS[row[3]]}
    for name in (STORE_ENV, LEASE_BACKEND_ENV, *FROM_ENV):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    argument, leases = ARGUMENTS[row[0]], LEASES[row[1]]
    if expected[0] == "refused":
        with pytest.raises(InvalidInput, match=STORE_ENV):
            federlib.connect(argument, leases=leases)
        with pytest.raises(InvalidInput, match=STORE_ENV):
            federlib.blocking.connect(argument, leases=leases)
        return
    store = named_store(argument)
    named = named_leases(leases, store_argument=argument, store=store, environ=os.environ)
    assert store is (argument if expected[0] == "argument" else os.environ[STORE_ENV]) or (
        store == OTHER_URL
    )
    by = {"argument": "leases", "environment": f"{PREFIX}POSTGRES_URL"}.get(expected[1])
    where = leases if expected[1] == "argument" else "postgresql://h/d"
    assert named == (None if by is None else NamedLeases(where, by))  # type: ignore[arg-type]


def test_each_combination_is_decided_by_one_row() -> None:
    for row in COMBINATIONS:
        fits = [
            ways for ways, _ in TABLE if all(it in way for it, way in zip(row, ways, strict=True))
        ]
        assert len(fits) == 1, row


@pytest.mark.parametrize(
    ("argument", "variable", "ttl_s"),
    [
        (None, None, 15.0),
        (None, "", 15.0),
        (None, "4", 4.0),
        (2.5, None, 2.5),
        (2.5, "4", 2.5),
    ],
)
def test_the_ttl_of_an_argument_wins_over_the_variable_and_that_over_15_seconds(
    argument: float | None, variable: str | None, ttl_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(LEASE_TTL_ENV, raising=False)
    if variable is not None:
        monkeypatch.setenv(LEASE_TTL_ENV, variable)
    setup = Setup.of(
        clock=None, hlc=None, telemetry=None, skew_tolerance_s=None, ttl_s=argument, policy=None
    )
    assert setup.ttl_s == ttl_s


@pytest.mark.parametrize(
    ("leases", "store", "is_own"),
    [
        ("sqlite:///a.db", "sqlite:///a.db", True),
        ("sqlite:///a.db", "sqlite:///./a.db", True),
        ("sqlite:///b.db", "sqlite:///a.db", False),
        ("file:///a.db", "sqlite:///a.db", False),
        ("etcd://a:1,b:2", "etcd://a:1,b:2", True),
        ("etcd://a:1,b:2?prefix=x/", "etcd://a:1,b:2", False),
        ("postgresql://h/d?schema=one", "postgresql://h/d?schema=two", False),
        ("memory://", "memory://", False),
    ],
)
def test_leases_at_the_very_place_of_the_store_are_its_own(
    leases: str, store: str, *, is_own: bool
) -> None:
    named = named_leases(leases, store_argument=store, store=store, environ={})
    assert (named is None) == is_own


@pytest.mark.parametrize("leases", ["", 7, Path("leases.db"), OPEN_STORE])
@pytest.mark.parametrize("connect", [federlib.connect, federlib.blocking.connect])
def test_leases_that_are_none_are_refused_before_anything_is_opened(
    connect: object, leases: object
) -> None:
    assert callable(connect)
    with pytest.raises(InvalidInput, match="leases: expected a lease backend's URL"):
        connect("memory://", leases=leases)


@pytest.mark.parametrize("connect", [federlib.connect, federlib.blocking.connect])
def test_a_policy_of_another_type_is_refused_before_anything_is_opened(connect: object) -> None:
    assert callable(connect)
    with pytest.raises(InvalidInput, match="policy: expected a LeasePolicy"):
        connect("memory://", policy=0.5)


def test_what_names_leases_shows_no_password() -> None:
    assert "s3cret" not in repr(NamedLeases("postgresql://u:s3cret@h/d", "leases"))


@pytest.fixture(autouse=True)
def nothing_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(PREFIX) or name == STORE_ENV:
            monkeypatch.delenv(name)
