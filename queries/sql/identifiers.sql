-- kind: aggregate
-- needs: who, when
-- describes: which number, IMSI, IMEI, SIM and eUICC of each target were seen together: one row per combination with the
--   first and the last time and the number of records
--
-- Only what a record says of the target itself: of its served party where that is the target, of its other party where that is.
WITH found AS (
    SELECT
        *,
        unnest(targets) AS found_target,
        unnest(target_roles) AS found_role,
        CASE WHEN served IN ('a', 'b', 'c') THEN served WHEN record_class IN ('internet', 'binding') THEN 'a' END AS whose
    FROM records
), sided AS (
    SELECT
        *,
        found_role = 'served' OR found_role = whose AS is_served,
        found_role = 'peer' OR (found_role IN ('a', 'b') AND whose IN ('a', 'b') AND found_role <> whose) AS is_peer,
        coalesce(a_asserted, a_number) AS a_known
    FROM found
), told AS (
    SELECT
        found_target,
        CASE whose WHEN 'a' THEN a_known WHEN 'b' THEN b_number WHEN 'c' THEN c_number END AS "number",
        imsi, imei, iccid, eid, start, "end", reported_at
    FROM sided WHERE is_served
    UNION ALL
    SELECT
        found_target,
        CASE whose WHEN 'a' THEN b_number WHEN 'b' THEN a_known END,
        peer_imsi, peer_imei, NULL, NULL, start, "end", reported_at
    FROM sided WHERE is_peer
)
SELECT
    t.found_target AS target,
    w.type AS target_type,
    w.value AS target_value,
    t."number",
    t.imsi,
    t.imei,
    t.iccid,
    t.eid,
    min(coalesce(t.start, t."end", t.reported_at)) AS first_seen,
    max(coalesce(t."end", t.reported_at, t.start)) AS last_seen,
    count(*) AS records
FROM told AS t JOIN wanted AS w ON w."index" = t.found_target
-- A number alone identifies nothing further.
WHERE coalesce(t.imsi, t.imei, t.iccid, t.eid) IS NOT NULL
GROUP BY ALL
ORDER BY target, first_seen, last_seen, t."number", t.imsi, t.imei, t.iccid, t.eid
