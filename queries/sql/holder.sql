-- kind: aggregate
-- needs: who, when
-- also: how_much
-- classes: binding
-- parameters: max_matches
-- describes: who held an address, an address and port, a prefix, a line or a MAC address in the target's window, as the
--   bindings tell; held_until is null for a binding that has begun and tells no end, which holds until one is told; more
--   subscribers than the warrant allows are answered "not unique" with their number and without a list
WITH found AS (
    SELECT *, unnest(targets) AS found_target, unnest(target_roles) AS found_role
    FROM records
    WHERE record_class = 'binding'
), bound AS (
    SELECT
        w."index" AS target,
        w.type AS target_type,
        w.value AS target_value,
        f.*,
        coalesce(
            f."end",
            -- least and greatest pass over a null; a duration beyond ten years counts as ten.
            greatest(
                CASE WHEN f.duration_ms IS NOT NULL THEN
                    f.start + to_milliseconds(least(greatest(f.duration_ms, 0), 316_224_000_000))
                END,
                f.reported_at
            )
        ) AS ended,
        -- Who is who: the operator's subscriber, else whatever names one; a binding that names nobody stands for itself.
        CASE
            WHEN f.subscriber IS NOT NULL THEN 'subscriber ' || coalesce(f.customer, '') || ' ' || f.subscriber
            WHEN f.a_number IS NOT NULL THEN 'number ' || f.a_number
            WHEN f.imsi IS NOT NULL THEN 'imsi ' || f.imsi
            WHEN f.user_name IS NOT NULL THEN 'user ' || f.user_name
            WHEN f.line IS NOT NULL AND w.type <> 'line' THEN 'line ' || f.line
            WHEN f.service_id IS NOT NULL THEN 'service ' || f.service_id
            ELSE 'row ' || f.source || ' ' || f.batch || ' ' || f."row" || ' ' || f.occurrence
        END AS holder
    FROM found AS f JOIN wanted AS w ON w."index" = f.found_target
    WHERE w.type IN ('ip', 'ip_port', 'prefix', 'line', 'mac') AND f.found_role = 'served'
), counted AS (
    SELECT target, target_type, target_value, count(DISTINCT holder) AS holders FROM bound GROUP BY ALL
)
SELECT
    b.target, b.target_type, b.target_value, 'held' AS answer,
    b.customer, b.subscriber, b.a_number AS "number", b.imsi, b.iccid, b.user_name, b.line, b.service_id, b.mac,
    b.public_ip, b.prefix_length, b.port_from, b.port_to, b.protocol, b.private_ip, b.access_ip, b.nas, b.session_id,
    min(coalesce(b.start, b."end", b.reported_at)) AS held_from,
    CASE WHEN bool_and(b.ended IS NOT NULL) THEN max(b.ended) END AS held_until,
    count(*) AS records
FROM bound AS b JOIN counted AS c ON c.target = b.target
WHERE c.holders <= $max_matches
GROUP BY ALL
UNION ALL BY NAME
SELECT target, target_type, target_value, 'not unique: ' || holders AS answer
FROM counted
WHERE holders > $max_matches
ORDER BY target, held_from, subscriber, "number"
