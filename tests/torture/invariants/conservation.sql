-- Every row ever inserted is in exactly one place: live, deleted by the application, or archived; with the data of the log.
WITH logged AS (
    SELECT DISTINCT ON (id) id, op, k, v, live FROM oplog ORDER BY id, seq DESC
), stored AS (
    SELECT id, k, v, live, 'the table' AS place FROM tt
    UNION ALL
    SELECT id, k, v, live, 'archive ' || run FROM archived() WHERE restored_at IS NULL
), places AS (
    SELECT id, min(k) AS k, min(v) AS v, bool_and(live) AS live, count(*) AS number, string_agg(place, ' and ' ORDER BY place DESC) AS names
    FROM stored GROUP BY id
), judged AS (
    SELECT id, CASE
        WHEN logged.id IS NULL THEN 'was never inserted, and is in ' || names
        WHEN logged.op = 'delete' AND number > 0 THEN 'was deleted, and is in ' || names
        WHEN logged.op <> 'delete' AND number IS NULL THEN 'is lost'
        WHEN number > 1 THEN 'is in ' || names
        WHEN (logged.k, logged.v, logged.live) <> (places.k, places.v, places.live) THEN 'has lost its last update, in ' || names
    END AS fault
    FROM logged FULL JOIN places USING (id)
)
SELECT format('row %s %s', id, fault) FROM judged WHERE fault IS NOT NULL
