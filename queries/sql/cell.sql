-- kind: aggregate
-- needs: who, where, when
-- also: how_much
-- derived: events = event
-- describes: who was served by each target cell in its window: one row per party with number, IMSI and IMEI, the first and
--   the last time and the number of records
WITH found AS (
    SELECT
        *,
        unnest(targets) AS found_target,
        unnest(target_roles) AS found_role,
        CASE WHEN served IN ('a', 'b', 'c') THEN served END AS whose
    FROM records
)
SELECT
    w."index" AS target,
    w.value AS cell,
    CASE f.whose WHEN 'a' THEN coalesce(f.a_asserted, f.a_number) WHEN 'b' THEN f.b_number WHEN 'c' THEN f.c_number END
        AS "number",
    f.imsi,
    f.imei,
    f.subscriber,
    min(f.start) AS first_seen,
    max(coalesce(f."end", f.reported_at, f.start)) AS last_seen,
    count(*) AS records,
    list_sort(list(DISTINCT f.event) FILTER (f.event IS NOT NULL)) AS events
FROM found AS f JOIN wanted AS w ON w."index" = f.found_target
WHERE w.type = 'cell' AND f.found_role = 'cell'
GROUP BY w."index", w.value, "number", f.imsi, f.imei, f.subscriber
ORDER BY target, first_seen, "number", f.imsi, f.imei
