"""What one row needs, and what one answer means: pure."""

from __future__ import annotations

from dataclasses import replace

import pytest
from syncline.contract import (
    Code,
    ConfigError,
    DatasetInfo,
    Field,
    MatchRule,
    MatchStep,
    ObjectType,
    Op,
    Property,
    PushResult,
    RecordError,
    Status,
)
from syncline.ledger.models import Link
from syncline.ledger.records import Outcome
from syncline.runs.push import results
from syncline.runs.push.batches import Batches
from syncline.runs.push.classify import classify
from syncline.runs.push.matching import CREATE, Match
from syncline.runs.push.reader import LinkState, Row
from syncline.runs.push.work import Deferred, Policy, References, Verdict, Work, associations, held_after
from syncline.syncs.engine.canonical import digest, fingerprint
from syncline.syncs.engine.compile import CompiledMapping, compile_mapping
from syncline.syncs.engine.content import MappingContent, RuleContent

pytestmark = pytest.mark.unit
State = Link.State
NOTHING = References({}, {})
OPS = {Op.CREATE: 10, Op.UPDATE: 10, Op.UPSERT: 10, Op.ASSOCIATE: 10}


def mapping(mode: str) -> CompiledMapping:
    object_type = ObjectType("things", "Things", (Property("name", "Name", schema={"maxLength": 9}),), OPS)
    content = MappingContent((RuleContent("name", "name"),), MatchRule((MatchStep("name"),)), filter="name != 'out'", mode=mode)
    return compile_mapping(content, DatasetInfo("a.b", "B", (Field("name", "Name"),)), object_type)


def policy(
    mode: str = "upsert", gone: str = "leave", key: str | None = None, lag: float = 40.0, *, force: bool = False
) -> Policy:
    compiled = mapping(mode)
    object_type = ObjectType("things", "Things", (), OPS, visibility_lag=lag, unique_key=key)
    return Policy(compiled, compiled.content.match, object_type, mode, gone, "inst:a.b:", force)


def link(state: State = State.DELIVERED, remote_id: str | None = "r1", name: str | None = "x", **changed: object) -> LinkState:
    values = {
        "remote_id": remote_id,
        "state": state.value,
        "revision": 3,
        "delivered": {"name": fingerprint(name)} if name is not None else {},
        "associations": {},
        "source_hash": 0,
        "refused_digest": "",
        "uncertain_op": "",
        "uncertain_seconds": 0.0,
        "stale": False,
        "seen": False,
    }
    return LinkState(**{**values, **changed})  # type: ignore[arg-type]


def verdict(of: Policy, name: str, known: LinkState | None, references: References = NOTHING, match: Match = CREATE) -> Verdict:
    row = Row("1", {"name": name}, 77, known)
    return classify(of, row, of.mapping.map(row.values), references, match)


def noted(found: Verdict) -> Outcome:
    assert isinstance(found, Outcome)
    return found


def worked(found: Verdict) -> Work:
    assert isinstance(found, Work)
    return found


def test_unchanged_is_noted_without_a_call_and_with_the_new_hash() -> None:
    outcome = noted(verdict(policy(), "x", link()))
    assert (outcome.state, outcome.counter, outcome.source_hash, outcome.revision) == (State.DELIVERED, "unchanged", 77, 3)


def test_a_change_is_an_update_by_id_of_what_changed() -> None:
    work = worked(verdict(policy(key="k"), "y", link()))
    assert (work.op, work.remote_id, work.write.properties) == (Op.UPDATE, "r1", {"name": "y"})


@pytest.mark.parametrize(("key", "op"), [(None, Op.CREATE), ("k", Op.UPSERT)])
def test_a_new_record_is_created_or_upserted_by_our_key(key: str | None, op: Op) -> None:
    assert worked(verdict(policy(key=key), "x", None)).op is op


def test_what_does_not_fit_and_what_is_filtered_out_is_noted() -> None:
    rejected = noted(verdict(policy(), "much too long", None))
    assert (rejected.state, rejected.counter, rejected.problem and rejected.problem.code) == (
        State.REJECTED,
        "rejected",
        "too_long",
    )
    assert noted(verdict(policy(), "out", None)).state == State.EXCLUDED


def test_a_record_this_run_has_counted_is_not_counted_again() -> None:
    assert noted(verdict(policy(), "x", link(seen=True))).counter == ""
    assert worked(verdict(policy(), "y", link(seen=True))).counted


def test_doubt_sends_everything_again_by_id() -> None:
    work = worked(verdict(policy(), "x", link(State.UNCERTAIN, uncertain_op="update")))
    assert (work.op, work.delivered, work.write.properties, work.again) == (Op.UPDATE, None, {"name": "x"}, True)


def test_an_unknown_create_waits_for_the_lag_and_then_for_its_match() -> None:
    known = link(State.UNCERTAIN, None, None, uncertain_op="create", uncertain_seconds=10.0)
    assert verdict(policy(), "x", known) == Deferred("1", 30.0)
    sent = policy().identity(Row("1", {"name": "x"}, 77, None))
    late = link(State.UNCERTAIN, None, None, uncertain_op="create", uncertain_seconds=41.0, refused_digest=sent)
    assert worked(verdict(policy(), "x", late)).op is Op.CREATE
    changed = noted(verdict(policy(), "y", late))
    assert (changed.state, changed.uncertain_op) == (State.AMBIGUOUS, "create"), "sent with another value than today's"
    found = worked(verdict(policy(), "x", late, match=Match("r9")))
    assert (found.op, found.remote_id, found.adopting) == (Op.UPDATE, "r9", True)
    assert worked(verdict(policy(mode="create"), "x", late, match=Match("r9"))).remote_id == "r9"


def test_an_unknown_upsert_is_sent_again_by_our_key_whatever_matches_by_now() -> None:
    known = link(State.UNCERTAIN, None, None, uncertain_op="upsert")
    again = worked(verdict(policy(key="k"), "x", known, match=Match(code="shared_here", reason="…")))
    assert (again.op, again.again) == (Op.UPSERT, True)
    own = worked(verdict(policy(key="k"), "x", known, match=Match("r9", own=True)))
    assert (own.op, own.remote_id, own.counter) == (Op.UPDATE, "r9", "created")


def test_modes_limit_what_is_written() -> None:
    assert noted(verdict(policy("update"), "x", None)).state == State.EXCLUDED
    assert noted(verdict(policy("create"), "x", None, match=Match("r1"))).state == State.EXCLUDED
    assert noted(verdict(policy("create"), "y", link())).counter == "unchanged"


def test_a_refused_record_is_sent_again_only_for_a_reason() -> None:
    refused = digest({"name": fingerprint("x")})
    before = {"refused_digest": refused, "code": "other", "reason": "No."}
    still = noted(verdict(policy(), "x", link(State.REJECTED, None, None, **before)))
    assert (still.state, still.counter, still.problem and still.problem.reason) == (State.REJECTED, "rejected", "No.")
    assert worked(verdict(policy(), "y", link(State.REJECTED, None, None, **before)))
    assert worked(verdict(policy(), "x", link(State.REJECTED, None, None, stale=True, **before)))
    assert worked(verdict(policy(force=True), "x", link(State.REJECTED, None, None, **before)))


def test_gone_and_merged_records_follow_the_policy() -> None:
    assert noted(verdict(policy(), "y", link(State.GONE))).state == State.GONE
    assert noted(verdict(policy(gone="review"), "y", link(State.GONE))).state == State.AMBIGUOUS
    assert worked(verdict(policy(gone="recreate"), "y", link(State.GONE))).remote_id is None
    assert noted(verdict(policy(gone="recreate"), "y", link(State.MERGED))).state == State.MERGED


def test_associations_add_and_take_away_but_take_nothing_while_something_is_missing() -> None:
    have = {"teams": ["t1", "t2"]}
    whole = References({"teams": frozenset({"t2", "t3"})}, {"teams": ()})
    assert [(a.remote_id, a.remove) for a in associations(whole, have)] == [("t3", False), ("t1", True)]
    assert held_after(whole, have) == {"teams": ["t2", "t3"]}
    partial = References({"teams": frozenset({"t2"})}, {"teams": ("9",)})
    assert associations(partial, have) == ()
    waiting = noted(verdict(policy(), "x", link(associations=have), partial))
    assert (waiting.state, waiting.waiting, waiting.counter) == (State.WAITING, True, "unchanged")


# what one answer means


def answered(work: Work, of: Policy, status: Status, **more: object) -> results.Answer:
    return results.outcome(of, work, PushResult("1", status, **more), None, "")  # type: ignore[arg-type]


def test_a_created_record_is_settled_with_its_identities() -> None:
    of = policy(key="k")
    stored = answered(worked(verdict(of, "x", None)), of, Status.CREATED, remote_id="r5").outcome
    assert (stored.state, stored.remote_id, stored.counter, stored.source_hash) == (State.DELIVERED, "r5", "created", 77)
    assert stored.identities == (("name|text", "x"), ("=key", "inst:a.b:1"))


def test_a_success_without_an_id_is_no_success() -> None:
    of = policy()
    answer = answered(worked(verdict(of, "x", None)), of, Status.CREATED)
    assert (answer.outcome.state, answer.deferred) == (State.UNCERTAIN, Deferred("1", 40.0))


def test_what_was_not_sent_is_as_before_unless_it_was_in_doubt() -> None:
    of = policy()
    assert answered(worked(verdict(of, "y", link())), of, Status.NOT_SENT).outcome.state == State.PENDING
    doubtful = worked(verdict(of, "y", link(State.UNCERTAIN, uncertain_op="update")))
    kept = answered(doubtful, of, Status.NOT_SENT).outcome
    assert (kept.state, kept.remote_id, kept.uncertain_op) == (State.UNCERTAIN, "r1", "update")
    adopting = worked(verdict(of, "x", None, match=Match("r9")))
    assert answered(adopting, of, Status.NOT_SENT).outcome.remote_id is None


def test_a_refused_adoption_leaves_the_record_unlinked() -> None:
    of = policy()
    error = RecordError(Code.INVALID_VALUE, "No.")
    stored = answered(worked(verdict(of, "x", None, match=Match("r9"))), of, Status.REJECTED, error=error).outcome
    assert (stored.state, stored.remote_id, stored.counter) == (State.REJECTED, None, "rejected")
    assert stored.refused_digest


def test_a_conflict_in_a_sync_that_only_creates_adopts_nothing() -> None:
    error = RecordError(Code.CONFLICT, "Taken.", existing_id="r9")
    created = policy("create")
    left = answered(worked(verdict(created, "x", None)), created, Status.REJECTED, error=error)
    assert (left.outcome.state, left.follow_up) == (State.EXCLUDED, None)
    both = policy()
    taken = answered(worked(verdict(both, "x", None)), both, Status.REJECTED, error=error).follow_up
    assert taken is not None
    assert (taken.op, taken.remote_id, taken.adopting) == (Op.UPDATE, "r9", True)


def test_a_lost_record_is_never_recreated_by_a_sync_that_only_updates() -> None:
    error = RecordError(Code.NOT_FOUND, "Gone.")
    of = policy("update", gone="recreate")
    answer = answered(worked(verdict(of, "y", link())), of, Status.REJECTED, error=error)
    assert (answer.outcome.state, answer.follow_up) == (State.GONE, None)


# batches


def work(key: str, op: Op = Op.CREATE, links: int = 0) -> Work:
    base = worked(verdict(policy(), "x", None))
    references = References({"t": frozenset(f"t{n}" for n in range(links))}, {})
    return replace(base, row=Row(key, {}, 0, None), op=op, references=references)


def test_batches_are_full_of_one_operation_and_lose_nothing() -> None:
    batches = Batches(policy().object_type)
    full = [b for n in range(25) if (b := batches.add(work(str(n), Op.CREATE if n % 2 else Op.UPDATE)))]
    rest = list(batches.rest())
    assert [len(b) for b in full] == [10, 10]
    assert sorted(w.key for b in full + rest for w in b) == sorted(map(str, range(25)))
    assert all(len({w.op for w in b}) == 1 for b in full + rest)
    assert list(batches.rest()) == []


def test_associations_weigh_by_their_number_and_a_share_makes_batches_smaller() -> None:
    batches = Batches(policy().object_type)
    assert batches.add(work("1", Op.ASSOCIATE, 6)) is None
    assert [w.key for w in batches.add(work("2", Op.ASSOCIATE, 6)) or ()] == ["1"]
    assert [[w.key for w in b] for b in batches.rest()] == [["2"]]
    small = Batches(policy().object_type, 0.25)
    assert [len(b) for n in range(4) if (b := small.add(work(str(n))))] == [2, 2]
    assert len(Batches(policy().object_type, 0.001).add(work("1")) or ()) == 1


def test_an_operation_the_object_does_not_offer_is_a_setting_to_change() -> None:
    with pytest.raises(ConfigError, match="cannot be written by archive"):
        Batches(policy().object_type).add(work("1", Op.ARCHIVE))
