-- When a row was archived, it and its survivor held equal keys; both keys come from the log, not from the archive.
WITH past AS MATERIALIZED (
    SELECT id, key_of(k, live) AS key, at, until FROM history
)
SELECT format('row %s had key %s when it was archived, and its survivor %s had %s', a.id, coalesce(e.key, 'none'), a.survivor, coalesce(s.key, 'none'))
FROM archived() a
LEFT JOIN past e ON e.id = a.id AND e.at < a.moment AND e.until >= a.moment
LEFT JOIN past s ON s.id = a.survivor AND s.at < a.moment AND s.until >= a.moment
WHERE e.key IS NULL OR s.key IS NULL OR e.key <> s.key
