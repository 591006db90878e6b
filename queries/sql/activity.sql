-- kind: stream
-- needs: who, when
-- also: where, how_much
-- derived: assembled_end = start end
-- describes: every stored record in which a target is found, one row each, in time order, with every column of the covered
--   categories; what a record says of a served party that is no target is left out
--
-- A call that is stored in several parts stays several rows. Its first part tells in assembled_end when its last part ended.
-- record_versions counts the rows of one source that carry the same record id: more than one where the source corrected it.
-- Both are counted apart and joined: a window over the rows would carry all their columns through two sorts.
WITH versions AS (
    SELECT answer_day, source, record_id, count(*) AS times
    FROM records
    WHERE record_id IS NOT NULL
    GROUP BY answer_day, source, record_id
),
endings AS (
    SELECT answer_day, source, correlation_id, max(coalesce("end", start)) AS ended
    FROM records
    WHERE part = 'last' AND correlation_id IS NOT NULL
    GROUP BY answer_day, source, correlation_id
)
SELECT
    record_class,
    target,
    target_role,
    records.* EXCLUDE (record_class, target, target_role, neighbour, answer_day),
    CASE WHEN part = 'first' THEN endings.ended END AS assembled_end,
    coalesce(versions.times, 1) AS record_versions
FROM records
LEFT JOIN versions
    ON versions.record_id = records.record_id
    AND versions.source IS NOT DISTINCT FROM records.source
    AND versions.answer_day IS NOT DISTINCT FROM records.answer_day
LEFT JOIN endings
    ON endings.correlation_id = records.correlation_id
    AND endings.source IS NOT DISTINCT FROM records.source
    AND endings.answer_day IS NOT DISTINCT FROM records.answer_day
WHERE neighbour IS NOT TRUE
ORDER BY
    records.answer_day,
    -- The moment that decides a record's day, so that the days of a long answer follow one another in order.
    CASE WHEN record_class IN ('internet', 'binding') THEN coalesce("end", reported_at, start) ELSE start END,
    records.source,
    batch,
    "row",
    occurrence
