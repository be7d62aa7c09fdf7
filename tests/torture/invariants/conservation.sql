-- Every row ever inserted is in exactly one place: live, deleted by the application, or archived; and carries what the log says.
WITH told AS (
    SELECT DISTINCT ON (id) id, op, k, v FROM oplog ORDER BY id, seq DESC
), held AS (
    SELECT id, k, v, 'the table' AS place FROM tt
    UNION ALL
    SELECT id, k, v, 'archive ' || run FROM archived() WHERE restored_at IS NULL
), places AS (
    SELECT id, min(k) AS k, min(v) AS v, count(*) AS number, string_agg(place, ' and ' ORDER BY place DESC) AS names
    FROM held GROUP BY id
), judged AS (
    SELECT id, CASE
        WHEN told.id IS NULL THEN 'was never inserted, and is in ' || names
        WHEN told.op = 'delete' AND number > 0 THEN 'was deleted, and is in ' || names
        WHEN told.op <> 'delete' AND number IS NULL THEN 'is lost'
        WHEN number > 1 THEN 'is in ' || names
        WHEN (told.k, told.v) <> (places.k, places.v) THEN 'has lost its last update, in ' || names
    END AS fault
    FROM told FULL JOIN places USING (id)
)
SELECT format('row %s %s', id, fault) FROM judged WHERE fault IS NOT NULL
