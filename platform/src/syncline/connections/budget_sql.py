"""The statements of the budget. Each is one round trip and one transaction, at the database's clock.

A limit with a short window is paced by the generic cell rate algorithm: `arrival` is the time at which the next call is due if
calls come at the permitted pace, and a call may come up to `slack` before. The pace is 97 % of the limit and the burst 2 %
of it, so that no window, wherever it starts, sees more calls than the limit, even if some of them are late by the time a
call takes to travel. A limit with a window of an hour or more is counted down in `remaining`; its `arrival` is when that
window ends.
"""

from __future__ import annotations

from syncline.contract.connector import COUNTED_FROM

PACE, BURST = 0.97, 0.02
TRAVEL = 0.1
"""Seconds by which one call may be later than another on its way to the vendor; matters in windows of a second."""
PROBE = 900.0
"""A counted limit that its headers said to be used up is tried again after so many seconds: nobody says when the day ends."""

_STEP = f'greatest("window" / (size * {PACE}), ("window" + {TRAVEL}) / size)'
_SLACK = f"{_STEP} * (greatest(1.0, size * {BURST}) - 1.0)"
_ROW_SLACK = f"make_interval(secs => {_SLACK.replace('size', 'coalesce(learnt_size, size)')})"
_COUNTED = f'"window" >= {COUNTED_FROM}'
_NEW_DAY = "%(remaining)s > remaining + greatest(50, size / 100)"

ENSURE = """
INSERT INTO syncline_budget (scope, connector, "limit", account, "window", size, remaining, arrival)
VALUES (%(scope)s, %(connector)s, %(limit)s, %(account)s, %(window)s, %(size)s, %(remaining)s,
        clock_timestamp() + make_interval(secs => %(ahead)s))
ON CONFLICT (scope) DO UPDATE SET size = EXCLUDED.size, "window" = EXCLUDED."window"
WHERE (syncline_budget.size, syncline_budget."window") <> (EXCLUDED.size, EXCLUDED."window")
"""

# Locks all rows the call counts against, in the order of their ids, and takes the time only when it holds them all.
# A call leaves after the longest of their waits, and counts at that moment in each of them.
ACQUIRE = f"""
WITH held AS MATERIALIZED (
    SELECT id, "limit", "window", coalesce(learnt_size, size) AS size, remaining, arrival, paused_until, observed_at
    FROM syncline_budget WHERE scope = ANY(%(scopes)s) ORDER BY id FOR NO KEY UPDATE
), moment AS MATERIALIZED (
    SELECT coalesce(%(at)s::timestamptz, clock_timestamp()) AS at, count(*) AS found FROM held
), paced AS MATERIALIZED (
    SELECT held.*, at, {_COUNTED} AS counted, {_STEP} AS step, {_SLACK} AS slack,
           coalesce(remaining > floor(size * %(reserve)s::float), true) OR arrival <= at AS left_over
    FROM held, moment
), asked AS MATERIALIZED (
    SELECT paced.*, greatest(0, extract(epoch FROM paused_until - at), CASE
               WHEN NOT counted THEN extract(epoch FROM arrival - at) - slack
               WHEN left_over THEN 0
               ELSE least(extract(epoch FROM arrival - at), {PROBE} - extract(epoch FROM at - observed_at)) END) AS wait
    FROM paced
), verdict AS MATERIALIZED (
    SELECT max(wait) AS wait, coalesce(max(wait) <= %(ahead)s::float AND min(found) = %(count)s, false) AS granted
    FROM asked, moment
), moved AS (
    UPDATE syncline_budget b SET
        arrival = CASE
            WHEN NOT a.counted THEN greatest(a.arrival, a.at + make_interval(secs => v.wait)) + make_interval(secs => a.step)
            WHEN a.arrival <= a.at THEN a.at + make_interval(secs => a."window") ELSE a.arrival END,
        remaining = CASE
            WHEN NOT a.counted OR a.remaining IS NULL THEN a.remaining
            WHEN a.arrival <= a.at THEN a.size - 1 ELSE greatest(a.remaining - 1, 0) END,
        observed_at = CASE WHEN a.left_over OR a.observed_at IS NULL THEN a.observed_at ELSE a.at END
    FROM asked a, verdict v WHERE b.id = a.id AND v.granted
), used AS (
    INSERT INTO syncline_budgetuse AS u (budget_id, day, lane, calls, waited, refused)
    SELECT a.id, (a.at AT TIME ZONE 'UTC')::date, %(lane)s, 1, %(waited)s::float + v.wait, 0
    FROM asked a, verdict v WHERE v.granted
    ON CONFLICT (budget_id, day, lane) DO UPDATE SET calls = u.calls + 1, waited = u.waited + EXCLUDED.waited
)
SELECT granted, coalesce(wait, 0)::float, found,
       coalesce((SELECT "limit" FROM asked ORDER BY wait DESC, id LIMIT 1), ''),
       coalesce((SELECT bool_or(paused_until > at) FROM asked), false)
FROM verdict, moment
"""  # noqa: S608

PAUSED = """
SELECT coalesce(bool_or(paused_until > clock_timestamp()), false) FROM syncline_budget WHERE scope = ANY(%(scopes)s)
"""

# Nobody starts with a burst after a pause: the vendor has just said that there is no room for one.
PAUSE = f"""
WITH moment AS (SELECT clock_timestamp() AS at, clock_timestamp() + make_interval(secs => %(seconds)s) AS until),
moved AS (
    UPDATE syncline_budget b SET paused_until = greatest(paused_until, until), refused_at = at,
        arrival = CASE WHEN {_COUNTED} THEN arrival ELSE greatest(arrival, until + {_ROW_SLACK}) END
    FROM moment WHERE scope = %(scope)s RETURNING b.id, at
)
INSERT INTO syncline_budgetuse AS u (budget_id, day, lane, calls, waited, refused)
SELECT id, (at AT TIME ZONE 'UTC')::date, %(lane)s, 0, 0, 1 FROM moved
ON CONFLICT (budget_id, day, lane) DO UPDATE SET refused = u.refused + 1
"""  # noqa: S608 - our own constants

# A paced limit of which next to nothing is left although we keep to our pace is used by others as well: all of us slow down.
# A counted one is believed when it says less than we counted, or far more (its day has begun); a little more are calls
# that were on their way when the answer was written.
OBSERVE = f"""
WITH moment AS (SELECT clock_timestamp() AS at)
UPDATE syncline_budget b SET
    learnt_size = CASE WHEN %(size)s::int IS NULL THEN learnt_size ELSE nullif(%(size)s::int, size) END,
    observed_at = at,
    remaining = CASE
        WHEN %(remaining)s::bigint IS NULL THEN remaining
        WHEN NOT {_COUNTED} OR remaining IS NULL OR %(remaining)s < remaining OR {_NEW_DAY} THEN %(remaining)s
        ELSE remaining END,
    arrival = CASE
        WHEN {_COUNTED} THEN CASE WHEN {_NEW_DAY} THEN at + make_interval(secs => "window") ELSE arrival END
        WHEN %(slower)s::float > 0
            THEN greatest(arrival, at + make_interval(secs => "window" * %(slower)s::float) + {_ROW_SLACK})
        ELSE arrival END
FROM moment WHERE scope = %(scope)s
"""  # noqa: S608
