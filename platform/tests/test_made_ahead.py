"""What a thread makes ahead comes in batches of what is there, in order, with its error at its place; and it stops when asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from syncline.contract import Page, RemoteRecord
from syncline.runs.pull import pages
from syncline.runs.pull.pages import Silent, together
from syncline.runs.stream.receive import Arrived, joined

pytestmark = pytest.mark.unit


def one(_item: int) -> int:
    return 1


def test_what_waits_comes_together_in_order_and_no_more_than_asked_for() -> None:
    with together(range(10), one, 4, 100) as batches:
        first = next(batches)
        time.sleep(0.2)
        rest = list(batches)
    assert [*first, *(item for batch in rest for item in batch)] == list(range(10))
    assert max(map(len, rest)) == 4


def test_no_more_is_made_ahead_than_may_wait() -> None:
    made = []

    def items() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            yield number

    with together(items(), one, 1, 3) as batches:
        next(batches)
        time.sleep(0.3)
        assert len(made) <= 5


def test_an_error_comes_after_what_was_made_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise LookupError

    with together(items(), one, 4, 4) as batches:
        assert next(batches) == [1]
        with pytest.raises(LookupError):
            next(batches)


def test_who_leaves_early_closes_what_is_read_from() -> None:
    closed = threading.Event()

    def items() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    source = items()  # held, so that nothing but `together` closes it
    with together(source, one, 4, 4) as batches:
        next(batches)
    assert closed.is_set()


def test_who_keeps_silent_is_left_to_himself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "ENDS_WITHIN", 0.1)
    over = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        over.wait()

    with together(items(), one, 4, 4, silence=0.1) as batches:
        assert next(batches) == [1]
        with pytest.raises(Silent, match=r"gave nothing for 0 s"):
            next(batches)
    over.set()


def arrived(*ids: str, position: str | None, gap: str = "", behind: int = 0) -> Arrived:
    return Arrived(Page([RemoteRecord(id_, {}) for id_ in ids], position, behind=behind, gap=gap), (), (), len(ids))


def test_pages_are_joined_up_to_one_with_a_gap() -> None:
    batch = [
        arrived("0:8", position="9", behind=3),
        arrived("0:9", position="10", behind=2),
        arrived(position="0", gap="Made anew."),
        arrived("0:0", position="1", behind=7),
    ]
    before, after = joined(batch)
    assert [r.id for r in before.page.records] == ["0:8", "0:9"]
    assert (before.page.position, before.page.behind, before.page.gap, before.outside) == ("10", 2, "", 2)
    assert [r.id for r in after.page.records] == ["0:0"]
    assert (after.page.position, after.page.behind, after.page.gap) == ("1", 7, "Made anew.")


def test_the_position_of_joined_pages_is_the_last_that_one_has() -> None:
    [whole] = joined([arrived("0:1", position="2"), arrived(position=None)])
    assert whole.page.position == "2"
