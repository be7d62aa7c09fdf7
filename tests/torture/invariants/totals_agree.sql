-- The counters of the rows in the table add up to what the application has written: a survivor has what its extras had.
WITH written AS (
    SELECT coalesce(sum(coalesce((after).hits, 0) - coalesce((before).hits, 0)), 0) AS total FROM imagelog
), outstanding AS (
    SELECT coalesce(sum((before).hits) FILTER (WHERE kind = 'removed'), 0) AS removed,
           coalesce(sum((after).hits - (before).hits) FILTER (WHERE kind <> 'removed'), 0) AS taken_over
    FROM images() WHERE restored_at IS NULL
), anything_restored AS (
    SELECT EXISTS (SELECT FROM images() WHERE restored_at IS NOT NULL) AS so
), stored AS (
    SELECT coalesce(sum(hits), 0) AS total FROM tt
)
SELECT format('the table has %s, the application wrote %s; %s left and %s were taken over', stored.total, written.total, removed, taken_over)
FROM written, outstanding, stored
WHERE stored.total <> written.total - removed + taken_over
UNION ALL
SELECT format('the table has %s, the application wrote %s, and nothing is restored', stored.total, written.total)
FROM written, stored, anything_restored, rule
WHERE policy = 'merge' AND NOT so AND stored.total <> written.total
