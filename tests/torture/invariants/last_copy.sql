-- When a row was archived, its survivor existed and held the same key: so no key loses the last row that the key is about.
WITH archive AS MATERIALIZED (
    SELECT * FROM archived()
), past AS MATERIALIZED (
    SELECT * FROM history
)
SELECT format('row %s was archived when its survivor %s %s', a.id, a.survivor, CASE
    WHEN s.op IS NULL THEN 'had not been inserted'
    WHEN s.op = 'delete' THEN 'had been deleted'
    WHEN key_of(s.k, s.live) IS NULL THEN 'had left the predicate'
    ELSE 'had another key' END)
FROM archive a
LEFT JOIN past s ON s.id = a.survivor AND s.at < a.moment AND s.until >= a.moment
WHERE s.op IS NULL OR s.op = 'delete' OR (key_of(s.k, s.live) = key_of(a.k, a.live)) IS NOT TRUE
UNION ALL
SELECT format('row %s was archived when its survivor %s had been archived itself', a.id, a.survivor)
FROM archive a
JOIN archive gone ON gone.kind = 'removed' AND gone.id = a.survivor AND gone.moment <= a.moment
WHERE gone.restored_at IS NULL OR gone.restored_at > a.moment
