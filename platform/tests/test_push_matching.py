"""Who is who: our key first, then the steps in order; whatever is not certain goes to a person."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from syncline.contract import MatchRule, MatchStep
from syncline.runs.push.matching import CREATE, Hit, Match, StepFinding, decide

pytestmark = pytest.mark.unit
RULE = MatchRule((MatchStep("domain"), MatchStep("number"), MatchStep("name", only_if_unique=True)))
MINE = "here:companies.company:1"


def found(step: int, *there: Hit, here: tuple[str, ...] = ("1",), value: str = "v") -> StepFinding:
    return StepFinding(step, value, here, there)


def match(*findings: StepFinding, own: tuple[Hit, ...] = ()) -> Match:
    return decide(RULE, "1", own, findings, MINE)


def test_nothing_found_means_create() -> None:
    assert match() == CREATE
    assert match(found(0), found(1), found(2)) == CREATE


def test_our_own_key_decides_before_every_step() -> None:
    answer = match(found(0, Hit("r2")), own=(Hit("r1", own_key=MINE),))
    assert (answer.remote_id, answer.own, answer.keyed) == ("r1", True, True)


def test_our_key_on_two_records_goes_to_review() -> None:
    assert match(own=(Hit("r1"), Hit("r2"))).code == "several_remote"


def test_the_first_step_that_hits_decides() -> None:
    assert match(found(0), found(1, Hit("r1")), found(2, Hit("r2"))).remote_id == "r1"


def test_several_hits_name_their_ids() -> None:
    answer = match(found(0, Hit("r1"), Hit("r2"), value="acme.org"))
    assert (answer.code, answer.remote_id) == ("several_remote", None)
    assert "2 remote records match by domain 'acme.org': r1, r2" in answer.reason


def test_a_value_shared_here_is_never_guessed() -> None:
    answer = match(found(0, Hit("r1"), here=("1", "7", "8", "9", "10")))
    assert answer.code == "shared_here"
    assert "7, 8, 9 and 1 more" in answer.reason
    assert match(found(0, here=("1", "7"))).code == "shared_here", "even where the account has none"


def test_a_shared_name_identifies_nobody_but_a_hit_of_it_goes_to_review() -> None:
    assert match(found(2, here=("1", "7"))) == CREATE
    assert match(found(2, Hit("r1"), here=("1", "7"))).code == "shared_here"


def test_a_name_of_a_record_that_is_linked_to_another_of_ours_is_no_match_in_whatever_order_they_were_sent() -> None:
    assert match(found(2, Hit("r1", owner="7"), here=("1", "7"))) == CREATE
    assert match(found(2, Hit("r1", owner="7"))) == CREATE
    assert match(found(2, Hit("r1", owner="7"), Hit("r2"))).remote_id == "r2"


def test_a_hit_that_is_linked_to_another_of_ours_goes_to_review() -> None:
    answer = match(found(0, Hit("r1", owner="7")))
    assert answer.code == "linked_to_other"
    assert "linked to our record 7" in answer.reason
    assert match(found(0, Hit("r1", owner="1"))).remote_id == "r1"


def test_a_hit_with_a_key_of_this_installation_goes_to_review_and_one_of_another_is_adopted_without_ours() -> None:
    assert match(found(0, Hit("r1", own_key="here:companies.company:7"))).code == "keyed_to_other"
    answer = match(found(0, Hit("r1", own_key="elsewhere:companies.company:1")))
    assert (answer.remote_id, answer.keyed) == ("r1", False)


def test_a_weak_match_that_a_stronger_identifier_contradicts_goes_to_review() -> None:
    other = Hit("r1", values={"domain|text": frozenset({"other.org"})})
    answer = match(found(0, value="acme.org"), found(2, other, value="acme"))
    assert answer.code == "contradiction"
    assert "other.org" in answer.reason
    same = Hit("r1", values={"domain|text": frozenset({"acme.org", "other.org"})})
    assert match(found(0, value="acme.org"), found(2, same)).remote_id == "r1"
    assert match(found(0, value="acme.org"), found(2, Hit("r1"))).remote_id == "r1", "nothing there to contradict"


hits = st.builds(
    Hit, st.sampled_from(["r1", "r2", "r3"]), st.sampled_from(["", "1", "7"]), st.sampled_from(["", MINE, "here:x:9"])
)
findings = st.lists(
    st.builds(
        StepFinding,
        st.integers(0, 2),
        st.just("v"),
        st.sampled_from([("1",), ("1", "7")]),
        st.lists(hits, max_size=3, unique_by=lambda h: h.remote_id).map(tuple),
    ),
    max_size=3,
    unique_by=lambda f: f.step,
)


@given(findings)
def test_what_is_adopted_is_the_only_hit_of_its_step_and_belongs_to_nobody_else(some: list[StepFinding]) -> None:
    answer = match(*some)
    assert not (answer.remote_id and answer.reason)
    assert bool(answer.code) == bool(answer.reason)
    if answer.remote_id:
        assert any(
            f.here == ("1",) and [h.remote_id for h in f.there if h.owner in ("", "1")] == [answer.remote_id] for f in some
        )
