-- At every moment the sums of a run, of its batches and of its archive are equal; an unfinished index is in the ledger as ours.
WITH archive AS (
    SELECT run, count(*) FILTER (WHERE kind = 'removed') AS archived, count(restored_at) FILTER (WHERE kind = 'removed') AS restored,
           count(*) FILTER (WHERE kind = 'amended') AS amended, count(*) FILTER (WHERE kind = 'merged') AS merged,
           count(restored_at) FILTER (WHERE kind <> 'removed') AS reverted, count(*) FILTER (WHERE moment IS NULL) AS strays
    FROM images() GROUP BY run
), counted AS (
    SELECT coalesce(r.id, a.run) AS run, coalesce(a.strays, 0) AS strays,
           ROW(r.archived, r.restored, c.amended, c.merged, c.reverted) AS of_run,
           ROW(r.batches_archived, r.batches_restored, c.batches_amended, c.batches_merged, c.batches_reverted) AS of_batches,
           ROW(coalesce(a.archived, 0), coalesce(a.restored, 0), coalesce(a.amended, 0), coalesce(a.merged, 0), coalesce(a.reverted, 0)) AS of_archive
    FROM runs() r JOIN changed_by_runs() c USING (id)
    FULL JOIN archive a ON a.run = r.id
)
SELECT format('run %s: archived, restored, amended, merged and changed back are %s, of its batches %s, of its archive %s; %s rows of no batch',
              run, of_run, of_batches, of_archive, strays)
FROM counted
WHERE strays > 0 OR of_run IS DISTINCT FROM of_batches OR of_run IS DISTINCT FROM of_archive
UNION ALL
SELECT 'an unfinished index exists, and the ledger has no build'
FROM unique_index WHERE NOT valid AND NOT EXISTS (SELECT FROM runs() WHERE building)
UNION ALL
SELECT format('an unfinished index of %s exists, and the ledger has no build', place::regclass)
FROM part WHERE NOT valid AND place NOT IN (SELECT parts_in_work())
