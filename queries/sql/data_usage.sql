-- kind: aggregate
-- needs: who, when, how_much
-- describes: how much data each target used: per UTC day of the session's start the number of sessions and the bytes sent
--   and received
--
-- Records that report one session in several parts are not added up, since sources report running totals in them: a session
-- counts with its largest value. A corrected record (same source and record id) counts once, the same way.
WITH found AS MATERIALIZED (
    SELECT
        *,
        unnest(targets) AS found_target,
        unnest(target_roles) AS found_role,
        row_number() OVER () AS row_id,
        CASE WHEN served IN ('a', 'b', 'c') THEN served WHEN record_class IN ('internet', 'binding') THEN 'a' END AS whose
    FROM records
), sessions AS (
    SELECT
        found_target,
        CASE
            WHEN part IN ('first', 'next', 'last') AND correlation_id IS NOT NULL
                THEN 'call ' || source || ' ' || correlation_id
            WHEN record_id IS NOT NULL THEN 'record ' || source || ' ' || record_id
            ELSE 'row ' || row_id
        END AS session,
        CAST(min(coalesce(start, "end", reported_at)) AS DATE) AS day,
        max(bytes_up) AS bytes_up,
        max(bytes_down) AS bytes_down
    FROM found
    WHERE (found_role = 'served' OR found_role = whose) AND (bytes_up IS NOT NULL OR bytes_down IS NOT NULL)
    GROUP BY ALL
)
SELECT
    s.found_target AS target,
    w.type AS target_type,
    w.value AS target_value,
    s.day,
    count(*) AS sessions,
    CAST(sum(s.bytes_up) AS BIGINT) AS bytes_up,
    CAST(sum(s.bytes_down) AS BIGINT) AS bytes_down
FROM sessions AS s JOIN wanted AS w ON w."index" = s.found_target
GROUP BY ALL
ORDER BY target, day
