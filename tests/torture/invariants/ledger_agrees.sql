-- At every moment the sums of a run, of its batches and of its archive are equal; an unfinished index is in the ledger as ours.
WITH archive AS (
    SELECT run, count(*) AS archived, count(restored_at) AS restored, count(*) FILTER (WHERE moment IS NULL) AS strays
    FROM archived() GROUP BY run
)
SELECT format('run %s: %s archived, its batches %s, its archive %s; restored %s, %s, %s; %s rows of no batch',
              r.id, r.archived, r.batches_archived, coalesce(a.archived, 0),
              r.restored, r.batches_restored, coalesce(a.restored, 0), coalesce(a.strays, 0))
FROM runs() r
FULL JOIN archive a ON a.run = r.id
WHERE r.id IS NULL OR coalesce(a.strays, 0) > 0
   OR (r.archived, r.restored) <> (r.batches_archived, r.batches_restored)
   OR (r.archived, r.restored) <> (coalesce(a.archived, 0), coalesce(a.restored, 0))
UNION ALL
SELECT 'an unfinished index exists, and the ledger has no build'
FROM unique_index WHERE NOT valid AND NOT EXISTS (SELECT FROM runs() WHERE building)
UNION ALL
SELECT format('an unfinished index of %s exists, and the ledger has no build', place::regclass)
FROM part WHERE NOT valid AND place NOT IN (SELECT parts_in_work())
