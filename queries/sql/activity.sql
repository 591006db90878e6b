-- kind: stream
-- needs: who, when
-- also: where, how_much
-- derived: assembled_end = start end
-- describes: every stored record in which a target is found, one row each, in time order, with every column of the covered
--   categories; what a record says of a served party that is no target is left out
--
-- A call that is stored in several parts stays several rows. Its first part tells in assembled_end when its last part ended.
-- record_versions counts the rows of one source that carry the same record id: more than one where the source corrected it.
SELECT
    record_class,
    target,
    target_role,
    * EXCLUDE (record_class, target, target_role, neighbour, answer_day, assembled_end, record_versions, moment),
    assembled_end,
    record_versions
FROM (
    SELECT
        *,
        CASE WHEN part = 'first' AND correlation_id IS NOT NULL THEN
            max(CASE WHEN part = 'last' THEN coalesce("end", start) END) OVER (PARTITION BY answer_day, source, correlation_id)
        END AS assembled_end,
        CASE WHEN record_id IS NULL THEN 1 ELSE count(*) OVER (PARTITION BY answer_day, source, record_id) END AS record_versions,
        -- The moment that decides a record's day, so that the days of a long answer follow one another in order.
        CASE WHEN record_class IN ('internet', 'binding') THEN coalesce("end", reported_at, start) ELSE start END AS moment
    FROM records
)
WHERE neighbour IS NOT TRUE
ORDER BY answer_day, moment, source, batch, "row", occurrence
