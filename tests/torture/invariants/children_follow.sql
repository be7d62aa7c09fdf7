-- No child is lost, and each references the parent that the application gave it, or the survivor that it has followed.
WITH logged AS (
    SELECT id, bool_or(op = 'delete') AS deleted,
           (array_agg(parent ORDER BY seq DESC) FILTER (WHERE op IN ('insert', 'move')))[1] AS parent,
           (array_agg(note ORDER BY seq DESC) FILTER (WHERE op IN ('insert', 'note')))[1] AS note
    FROM childlog GROUP BY id
), moved AS MATERIALIZED (
    SELECT * FROM followers()
), judged AS (
    SELECT id, CASE
        WHEN logged.deleted IS NULL THEN 'was never inserted'
        WHEN logged.deleted AND c.id IS NOT NULL THEN 'was deleted, and exists'
        WHEN logged.deleted THEN NULL
        WHEN c.id IS NULL THEN 'is lost'
        WHEN c.note <> logged.note THEN 'has lost its last update'
        WHEN c.parent <> logged.parent
             AND NOT (EXISTS (SELECT FROM moved m WHERE m.id = logged.id AND m.came_from = logged.parent)
                      AND EXISTS (SELECT FROM moved m WHERE m.id = logged.id AND m.went_to = c.parent))
            THEN format('belongs to %s, and is at %s', logged.parent, c.parent)
    END AS fault
    FROM logged FULL JOIN child c USING (id)
)
SELECT format('child %s %s', id, fault) FROM judged WHERE fault IS NOT NULL
