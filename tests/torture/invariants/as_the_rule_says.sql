-- A run has changed a row from what it was when it was locked, as the rule says, and in no other column.
WITH archive AS MATERIALIZED (
    SELECT run, batch, kind, survivor, (before).*, (after).k AS new_k, (after).v AS new_v, (after).live AS new_live, (after).hits AS new_hits,
           (after).seen AS new_seen, (after).status AS new_status, (after).id AS new_id
    FROM images()
), gain AS (
    SELECT run, batch, survivor, sum(hits) AS hits, max(seen) AS seen FROM archive WHERE kind = 'removed' GROUP BY run, batch, survivor
), judged AS (
    SELECT a.id, CASE
        WHEN a.new_id IS DISTINCT FROM a.id THEN 'has no image of what the run made of it'
        WHEN a.new_v <> a.v THEN 'has another v'
        WHEN a.kind = 'amended' AND (a.new_hits, a.new_seen) <> (a.hits, a.seen) THEN 'has another counter'
        WHEN a.kind = 'amended' AND a.new_status <> format('copy of %s, was %s', a.survivor, left(a.status, 40)) THEN 'has a status of another state'
        WHEN a.kind = 'amended' AND key_of('', false) IS NULL AND (a.new_k <> a.k OR a.new_live) THEN 'is live, or has another key'
        WHEN a.kind = 'amended' AND key_of('', false) IS NOT NULL AND (a.new_k !~ '-\d+$' OR regexp_replace(a.new_k, '-\d+$', '') <> a.k)
            THEN 'has a key of another state'
        WHEN a.kind = 'merged' AND (a.new_k, a.new_live, a.new_status) <> (a.k, a.live, a.status) THEN 'has more than its counters changed'
        WHEN a.kind = 'merged' AND a.new_hits <> a.hits + coalesce(g.hits, 0) THEN format('has %s hits, of %s and %s', a.new_hits, a.hits, g.hits)
        WHEN a.kind = 'merged' AND a.new_seen <> greatest(a.seen, g.seen) THEN format('was seen at %s, of %s and %s', a.new_seen, a.seen, g.seen)
    END AS fault
    FROM archive a LEFT JOIN gain g ON (g.run, g.batch, g.survivor) = (a.run, a.batch, a.id)
    WHERE a.kind <> 'removed'
)
SELECT format('row %s %s', id, fault) FROM judged WHERE fault IS NOT NULL
UNION ALL
SELECT format('row %s has not taken over the %s hits of batch %s', survivor, g.hits, batch)
FROM gain g, rule
WHERE policy = 'merge' AND g.hits <> 0
AND NOT EXISTS (SELECT FROM archive a WHERE a.kind = 'merged' AND (a.run, a.batch, a.id) = (g.run, g.batch, g.survivor))
