"""What a `postgresql://` URL may say, and what is never shown of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from federlib.errors import InvalidInput
from federlib.storage.backends.postgresql._url import parse_url


def said(url: str) -> dict[str, object]:
    return dict(conninfo_to_dict(parse_url(url, {}).conninfo))


def test_a_url_is_libpqs_with_two_options_of_ours() -> None:
    place = parse_url("postgresql://ada:pw@127.0.0.1:5433/fleet?schema=a%20b&connections=7")
    assert (place.schema, place.connections) == ("a b", 7)
    found = said("postgresql://ada:pw@127.0.0.1:5433/fleet?schema=x&application_name=mine")
    assert found["host"] == "127.0.0.1"
    assert found["port"] == "5433"
    assert found["user"] == "ada"
    assert found["password"] == "pw"
    assert found["dbname"] == "fleet"
    assert found["application_name"] == "mine"
    assert found["target_session_attrs"] == "read-write"
    assert "schema" not in found


@pytest.mark.parametrize(
    "host", ["db.example", "db.example:5433", "10.0.0.5", "a.example,b.example", "[2001:db8::1]"]
)
def test_another_host_is_verified_unless_the_url_says_otherwise(host: str) -> None:
    found = said(f"postgresql://{host}/fleet")
    assert found["sslmode"] == "verify-full"
    assert found["sslrootcert"] == "system"
    assert said(f"postgresql://{host}/fleet?sslmode=disable")["sslmode"] == "disable"
    own = said(f"postgresql://{host}/fleet?sslrootcert=/etc/ca.pem")
    assert (own["sslmode"], own["sslrootcert"]) == ("verify-full", "/etc/ca.pem")


@pytest.mark.parametrize(
    ("option", "default", "variable"),
    [
        ("application_name", "federlib", "PGAPPNAME"),
        ("connect_timeout", "5", "PGCONNECT_TIMEOUT"),
        ("target_session_attrs", "read-write", "PGTARGETSESSIONATTRS"),
        ("sslmode", "verify-full", "PGSSLMODE"),
        ("sslrootcert", "system", "PGSSLROOTCERT"),
    ],
)
def test_the_url_wins_over_libpqs_variable_and_that_over_our_default(
    option: str, default: str, variable: str
) -> None:
    values = {"target_session_attrs": ("any", "primary"), "sslmode": ("require", "verify-ca")}
    of_url, of_environ = values.get(option, ("7", "8"))
    bare, with_option = "postgresql://db.example/d", f"postgresql://db.example/d?{option}={of_url}"

    def left(url: str, environ: dict[str, str]) -> object:
        return conninfo_to_dict(parse_url(url, environ).conninfo).get(option)

    assert left(bare, {}) == left(bare, {variable: ""}) == default
    # Left to libpq, which reads the variable itself.
    assert left(bare, {variable: of_environ}) is None
    assert left(with_option, {variable: of_environ}) == left(with_option, {}) == of_url


@pytest.mark.parametrize("variable", ["PGHOST", "PGHOSTADDR"])
def test_a_host_that_only_the_environment_names_is_verified_too(variable: str) -> None:
    place = parse_url("postgresql:///fleet", {variable: "10.0.0.5"})
    assert conninfo_to_dict(place.conninfo)["sslmode"] == "verify-full"
    near = parse_url("postgresql:///fleet", {variable: "127.0.0.1"})
    assert "sslmode" not in conninfo_to_dict(near.conninfo)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql:///fleet",
        "postgresql://localhost/fleet",
        "postgresql://127.0.0.1/fleet",
        "postgresql://[::1]:5433/fleet",
        "postgresql:///fleet?host=/run/postgresql",
    ],
)
def test_this_host_needs_no_certificate(url: str) -> None:
    assert "sslmode" not in said(url)


def test_an_option_of_libpqs_means_what_it_means_to_libpq() -> None:
    found = said("postgresql://h/d?options=-c%20jit%3Doff&password=a%20b+c&connections=2")
    assert found["options"] == "-c jit=off"
    assert found["password"] == "a b+c"


def test_a_service_may_be_elsewhere() -> None:
    assert said("postgresql://?service=prod")["sslmode"] == "verify-full"
    assert said("postgresql://?service=prod&sslmode=require")["sslmode"] == "require"
    place = parse_url("postgresql:///fleet", {"PGSERVICE": "prod"})
    assert conninfo_to_dict(place.conninfo)["sslmode"] == "verify-full"


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("postgresql://", "store URL"),
        ("postgresql://h/db#frag", "store URL"),
        ("postgresql://h:port/db", "store URL"),
        ("postgresql://h/db?nonsense=1", "store URL"),
        ("postgresql://h/d\nb", "control character"),
        ("mysql://h/db", "store URL"),
        ("postgresql://h/db?schema=", "schema"),
        ("postgresql://h/db?schema=pg_catalog", "schema"),
        ("postgresql://h/db?schema=information_schema", "schema"),
        (f"postgresql://h/db?schema={'x' * 64}", "schema"),
        ("postgresql://h/db?schema=a%25b", "schema"),
        ("postgresql://h/db?schema={now}", "schema"),
        ("postgresql://h/db?schema=%00", "schema"),
        ("postgresql://h/db?schema=%FF", "schema"),
        ("postgresql://h/db?schema=\ud800", "schema"),
        ("postgresql://h/db?schema=a&schema=b", "schema"),
        ("postgresql://h/db?connect_timeout=nan", "connect_timeout"),
        ("postgresql://h/db?connect_timeout=1e9", "connect_timeout"),
        ("postgresql://\ud800/db", "store URL"),
        ("postgresql://h/db?application_name=%FF", "store URL"),
        ("postgresql://h/db?connections=0", "connections"),
        ("postgresql://h/db?connections=1001", "connections"),
        ("postgresql://h/db?connections=-1", "connections"),
        ("postgresql://h/db?connections=%D9%A3", "connections"),
        ("postgresql://h/db?connections=99999999999999999999", "connections"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(url: str, named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        parse_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ada:s3cret@h/db",
        "postgresql://ada:s3cret@h/db?nonsense=1",
        "postgresql://ada:s3cret@h:port/db",
        "postgresql://h/db?user=ada&password=s3cret",
        "postgresql://ada:s3cret@h/db?schema=",
        "postgresql://ada:s3cret%FF@h/db",
    ],
)
def test_a_password_is_never_shown(url: str) -> None:
    try:
        shown = repr(parse_url(url)) + parse_url(url).where
    except InvalidInput as error:
        shown = f"{error!r} {error} {error.__cause__} {error.__context__}"
    assert "s3cret" not in shown


@given(st.text(max_size=60))
def test_whatever_is_given_is_understood_or_refused(rest: str) -> None:
    try:
        place = parse_url(f"postgresql://{rest}")
    except InvalidInput:
        return
    assert place.schema
    assert 1 <= place.connections <= 1_000
