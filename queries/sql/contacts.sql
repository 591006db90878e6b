-- kind: aggregate
-- needs: who, when
-- also: how_much
-- derived: total_duration_ms = duration_ms
-- describes: with whom each target was in contact: one row per counterparty and kind of event, with how often and which way,
--   the first and the last time, and the total duration
--
-- A call counts once, however many parts it is stored in. Its duration is that of its one record; of several parts, the time
-- from answer to the end of the last, or the longest part where that is more: parts are never added up, since sources report
-- totals in them. A call that two exchanges recorded apart counts for each. A caller who is not told is the counterparty null.
WITH found AS MATERIALIZED (
    SELECT *, unnest(targets) AS found_target, unnest(target_roles) AS found_role, row_number() OVER () AS row_id
    FROM records
), placed AS (
    SELECT
        *,
        CASE WHEN part IN ('first', 'next', 'last') AND correlation_id IS NOT NULL
            THEN 'call ' || source || ' ' || correlation_id ELSE 'row ' || row_id END AS call,
        CASE WHEN served IN ('a', 'b', 'c') THEN served WHEN record_class IN ('internet', 'binding') THEN 'a' END AS whose
    FROM found
), seen AS (
    SELECT
        *,
        CASE
            WHEN found_role IN ('a', 'b', 'c', 'other', 'part') THEN found_role
            WHEN found_role IN ('presented', 'sender') THEN 'a'
            WHEN found_role = 'recipient' THEN 'b'
            WHEN found_role = 'served' THEN whose
            WHEN found_role = 'peer' THEN CASE whose WHEN 'a' THEN 'b' WHEN 'b' THEN 'a' END
        END AS side
    FROM placed
), calls AS (
    SELECT
        found_target,
        call,
        CASE WHEN count(*) = 1 THEN max(duration_ms) ELSE greatest(
            max(duration_ms),
            date_diff('millisecond', min(answer), max(CASE WHEN part = 'last' THEN coalesce("end", start) ELSE "end" END))
        ) END AS lasted
    FROM seen
    GROUP BY ALL
), parties AS (
    SELECT
        s.*,
        w.type AS target_type,
        w.value AS target_value,
        unnest(
            list_filter(
                list_concat(
                    [
                        {'party': 'a', 'number': s.a_number, 'kind': s.a_kind},
                        {'party': 'asserted', 'number': nullif(s.a_asserted, s.a_number), 'kind': NULL},
                        {'party': 'b', 'number': s.b_number, 'kind': s.b_kind},
                        {'party': 'c', 'number': s.c_number, 'kind': s.c_kind},
                        {'party': 'sender', 'number': s.mail_from, 'kind': NULL}
                    ],
                    list_transform(
                        coalesce(s.other_parties, []),
                        lambda one: {'party': 'other', 'number': one."number", 'kind': NULL}
                    ),
                    list_transform(
                        coalesce(s.mail_to, []), lambda one: {'party': 'recipient', 'number': one, 'kind': NULL}
                    )
                ),
                lambda one: (one."number" IS NOT NULL OR (one.party = 'a' AND s.side = 'b' AND s.a_asserted IS NULL
                        AND s.mail_from IS NULL))
                    AND coalesce(one."number" <> w.value, true)
                    AND NOT (s.side = 'a' AND one.party IN ('a', 'asserted', 'sender'))
                    AND NOT (s.side = 'b' AND one.party IN ('b'))
                    AND NOT (s.side = 'c' AND one.party = 'c')
                    AND NOT (s.side = 'b' AND one.party = 'recipient')
            )
        ) AS one
    FROM seen AS s JOIN wanted AS w ON w."index" = s.found_target
    WHERE s.side <> 'part'
), contacts AS (
    SELECT
        found_target, target_type, target_value, call,
        one."number" AS counterparty, one.party AS counterparty_role, max(one.kind) AS counterparty_kind,
        arg_min(event, start) AS event, arg_min(side, start) AS side,
        min(start) AS first_start, max(start) AS last_start
    FROM parties
    GROUP BY found_target, target_type, target_value, call, one."number", one.party
)
SELECT
    c.found_target AS target,
    c.target_type,
    c.target_value,
    c.counterparty,
    max(c.counterparty_kind) AS counterparty_kind,
    c.counterparty_role,
    c.event,
    count(*) FILTER (c.side = 'a') AS outgoing,
    count(*) FILTER (c.side = 'b') AS incoming,
    count(*) FILTER (c.side NOT IN ('a', 'b')) AS otherwise,
    min(c.first_start) AS first_start,
    max(c.last_start) AS last_start,
    CAST(sum(calls.lasted) AS BIGINT) AS total_duration_ms
FROM contacts AS c JOIN calls ON calls.found_target = c.found_target AND calls.call = c.call
GROUP BY c.found_target, c.target_type, c.target_value, c.counterparty, c.counterparty_role, c.event
ORDER BY target, first_start, counterparty, counterparty_role, event
