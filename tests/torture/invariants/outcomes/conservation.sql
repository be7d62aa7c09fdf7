-- Each image of a row, written by the application or by a run, is in the table, in an archive, or was changed: exactly once, by one of them.
WITH step AS (
    SELECT after AS image, 1 AS number FROM imagelog WHERE after IS DISTINCT FROM NULL
    UNION ALL
    SELECT before, -1 FROM imagelog WHERE before IS DISTINCT FROM NULL
    UNION ALL
    SELECT before, CASE WHEN restored_at IS NULL THEN -1 ELSE 0 END FROM images()
    UNION ALL
    SELECT after, CASE WHEN restored_at IS NULL THEN 1 ELSE 0 END FROM images() WHERE kind <> 'removed'
    UNION ALL
    -- An archived row is in the archive until it is restored.
    SELECT image_of(tt), -1 FROM tt
), balance AS (
    SELECT image, sum(number) AS number FROM step GROUP BY image HAVING sum(number) <> 0
)
SELECT format('row %s %s: %s', (image).id, CASE WHEN number > 0 THEN 'is lost, or has lost its last update' ELSE 'is where it was never written' END, image)
FROM balance
