"""URLs of etcd clusters: read strictly, and never shown with their passwords."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federlib.errors import InvalidInput
from federlib.storage import open_store, redact_url
from federlib.storage.backends.etcd import open_engine, parse_url
from federlib.storage.backends.etcd._url import Endpoint, EtcdUrl
from federlib.storage.urls import store_place


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("etcd://a", EtcdUrl(endpoints=(Endpoint("a", 2379),))),
        ("ETCD://A/", EtcdUrl(endpoints=(Endpoint("a", 2379),))),
        (
            "etcd://a:1,b,10.0.0.1:65535",
            EtcdUrl(endpoints=(Endpoint("a", 1), Endpoint("b", 2379), Endpoint("10.0.0.1", 65535))),
        ),
        (
            "etcd://[::1]:23,[fe80::1]",
            EtcdUrl(endpoints=(Endpoint("::1", 23), Endpoint("fe80::1", 2379))),
        ),
        (
            "etcd://me:p%40s%3A%2F%25s@a?prefix=fleet%2Fone/",
            EtcdUrl(
                endpoints=(Endpoint("a", 2379),), user="me", password="p@s:/%s", prefix="fleet/one/"
            ),
        ),
        (
            "etcd://m%C3%A9:a:b@a",
            EtcdUrl(endpoints=(Endpoint("a", 2379),), user="mé", password="a:b"),
        ),
        (
            "etcds://a?ca=/c%20a.pem&cert=me.pem&key=me.key",
            EtcdUrl(
                endpoints=(Endpoint("a", 2379),),
                is_tls=True,
                ca="/c a.pem",
                cert="me.pem",
                key="me.key",
            ),
        ),
    ],
)  # fmt: skip
def test_what_is_right_is_read(url: str, expected: EtcdUrl) -> None:
    assert parse_url(url) == expected


HOSTILE = [
    "etcd://", "etcd:///", "etcd://a,", "etcd://,a", "etcd://a,,b", "etcd://a,a:2379", "etcd://:2379",
    "etcd://a:", "etcd://a:0", "etcd://a:65536", "etcd://a:-1", "etcd://a:٣", "etcd://a:1:2",
    "etcd://a: 1", "etcd://a:1e3", "etcd://a:000000000001", "etcd://::1", "etcd://[::1", "etcd://[a]:1",
    "etcd://[::1]x", "etcd://[fe80::1%25eth0]", "etcd://[]", "etcd://a/b", "etcd://a//",
    "etcd://a#b", "etcd://a\n", "etcd://a\0", "etcd://a\x85b", "etcd://a b", "etcd://ä", "etcd://-a",
    "etcd://a..%2e", "etcd://%61", "etcd://*", "etcd://a;b", "etcd://$(x)", "etcd://" + "a" * 300,
    "etcd://user@a", "etcd://user:@a", "etcd://:s3cret@a", "etcd://@a", "etcd://u:s3cret@",
    "etcd://u:s3cret@a,v:s3cret@b", "etcd://u:s3@cret@a", "etcd://u:s3%0acret@a", "etcd://u:s3%cret@a",
    "etcd://u:%ff@a", "etcd://u:s3/cret@a", "etcd://u:s3?cret@a", "etcd://u:s3#cret@a",
    "http://a", "etcd:a", "etcd", "", "etcdx://a", "://a",
]  # fmt: skip


@pytest.mark.parametrize("url", HOSTILE)
def test_what_is_wrong_is_refused_and_no_password_shown(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_url(url)
    assert "cret" not in f"{caught.value} {caught.value.__cause__!r}"


@pytest.mark.parametrize(
    ("query", "match"),
    [
        ("timeout=3", "prefix, ca, cert, key"), ("Prefix=a/", "prefix, ca, cert, key"),
        ("&", "prefix, ca, cert, key"), ("=", "prefix, ca, cert, key"), ("prefix", "prefix"),
        ("prefix=", "prefix"), ("prefix=a", "end with /"), ("prefix=a/&prefix=a/", "once"),
        ("prefix=a%0a/", "control"), ("prefix=%ff/", "prefix"),
        ("prefix=" + "a" * 256 + "/", "256"), ("prefix=a@b/", "%40"),
        ("ca=x", "etcds://"), ("cert=a&key=b", "etcds://"),
    ],
)  # fmt: skip
def test_an_option_that_is_wrong_is_named(query: str, match: str) -> None:
    with pytest.raises(InvalidInput, match=match):
        parse_url(f"etcd://a?{query}")


@pytest.mark.parametrize("query", ["cert=a", "key=a"])
def test_a_certificate_and_its_key_come_together(query: str) -> None:
    with pytest.raises(InvalidInput, match="cert and key together"):
        parse_url(f"etcds://a?{query}")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"ca.*nowhere"):
        open_engine(f"etcds://a?ca={tmp_path}/nowhere")
    (tmp_path / "x").write_text("no PEM")
    with pytest.raises(InvalidInput, match="option ca"):
        open_engine(f"etcds://a?ca={tmp_path}/x")
    with pytest.raises(InvalidInput, match="cert and key"):
        open_engine(f"etcds://a?cert={tmp_path}/x&key={tmp_path}/x")


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    for url in (text, f"etcd://{text}", f"etcd://u:{text}@a", f"etcds://a?{text}"):
        assert seen(url)


@given(password=st.text("Z/?#@:%[], \n", min_size=1).map(lambda text: f"Z{text}Z"))
def test_no_password_is_shown_in_an_error(password: str) -> None:
    assert "Z" not in seen(f"etcd://user:{password}@host?prefix=fleet/")


def seen(url: str) -> str:
    """What one gets to see of a URL: what was read, or why it was refused."""
    try:
        read = parse_url(url)
    except InvalidInput as error:
        return str(error)
    return f"{read!r} {read.where}"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("etcd://u:s3cret@a:2379,b:2379?prefix=x/", "etcd://u:***@a:2379,b:2379"),
        ("etcds://u:s3cret@[::1]:2379,[::2]?ca=/x", "etcds://u:***@[::1]:2379,[::2]"),
        ("etcd://u:s3cret@a,v:s3cret@b", "etcd://u:***@b"),
    ],
)
def test_a_redacted_url_keeps_the_members(url: str, shown: str) -> None:
    assert redact_url(url) == shown


def test_stores_of_two_prefixes_are_two_places() -> None:
    one = store_place("etcd://u:s3cret@a,b?prefix=one/")
    assert one == "etcd://u:***@a,b?prefix=one/"
    assert store_place("etcds://a?ca=x&prefix=two/&key=y") == "etcds://a?prefix=two/"
    assert store_place("etcd://a?prefix=federlib/") == store_place("etcd://a") == "etcd://a"


@pytest.mark.anyio
@pytest.mark.parametrize("scheme", ["etcd", "etcds"])
async def test_the_driver_is_found_by_its_scheme(scheme: str) -> None:
    with pytest.raises(InvalidInput, match="hosts like"):
        await open_store(f"{scheme}://a:0")


def test_without_httpx_the_extra_is_named_and_nothing_else_needs_it() -> None:
    code = (
        "import sys; sys.modules['httpx'] = None\n"
        "import anyio, federlib, federlib.storage\n"
        "from federlib.errors import MissingExtra\n"
        "try: anyio.run(federlib.storage.open_store, 'etcd://a')\n"
        "except MissingExtra as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert 'pip install "federlib[etcd]"' in done.stdout
    code = "import federlib, federlib.storage, sys; print('httpx' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "False"
