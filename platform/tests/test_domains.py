"""Domains that are written in the usual ways are read by one expression; it must say what the library would."""

from __future__ import annotations

import pytest
from syncline.contract import normalise
from syncline.contract.normalise import domain

pytestmark = pytest.mark.unit

USUAL = {
    "example.com": "example.com",
    "www.example.co.uk": "example.co.uk",
    "www.www.example.com": "www.example.com",
    "example.com.": "example.com",
    "example.com/": "example.com",
    "https://example.com": "example.com",
    " http://www.example.com/about?x=1#y ": "example.com",
    "https://example.com/a//b": "example.com",
}
ODD = {
    "www.com": "",
    "https://www.com": "",
    "localhost": "",
    "example.com//other.org": "",
    "example.com/a//b": "",
    "example.com:8000": "example.com",
    "HTTPS://Example.COM/": "example.com",
    "https://me@example.com/": "example.com",
    "example.com?x=https://other.org": "",
    "bücher.example": "xn--bcher-kva.example",
    f"{'a' * 64}.com": "",
    "example.com/päth": "example.com",
    "": "",
}


@pytest.mark.parametrize(("written", "meant"), [*USUAL.items(), *ODD.items()])
def test_a_domain_is_read_out_of(written: str, meant: str) -> None:
    assert domain(written) == meant


def test_the_usual_ways_need_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    domain.cache_clear()
    monkeypatch.delattr(normalise, "urlsplit")

    assert [domain(written) for written in USUAL] == list(USUAL.values())
