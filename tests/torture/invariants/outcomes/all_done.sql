-- A command that ended well leaves nothing half done. After a downgrade each row is what it was, or the archive says what became of it.
WITH kept AS MATERIALIZED (
    SELECT * FROM images() WHERE restored_at IS NULL
)
SELECT format('the staged list %s was left', relname) FROM pg_class, course
WHERE relnamespace = to_regnamespace('dupe_audit') AND relname ~ '^stage_\d+$'
AND (direction = 'up' OR NOT EXISTS (SELECT FROM kept))
UNION ALL
SELECT 'an unfinished index was left' FROM unique_index WHERE NOT valid
UNION ALL
SELECT format('run %s is %s and builds', id, state) FROM runs() WHERE building
UNION ALL
SELECT 'no run is enforced' FROM course WHERE direction = 'up' AND NOT EXISTS (SELECT FROM runs() WHERE state = 'enforced')
UNION ALL
SELECT 'no version is stamped' FROM course WHERE direction = 'up' AND stamped() IS NULL
UNION ALL
SELECT format('run %s is %s, %s archived, %s restored', id, state, archived, restored) FROM runs(), course
WHERE direction = 'down'
AND (archived <> restored OR state <> CASE WHEN EXISTS (SELECT FROM kept WHERE run = id) THEN 'dropped' ELSE 'restored' END)
UNION ALL
SELECT 'the index still exists' FROM unique_index, course WHERE direction = 'down'
UNION ALL
SELECT 'the version is still stamped' FROM course WHERE direction = 'down' AND stamped() IS NOT NULL AND NOT EXISTS (SELECT FROM kept)
UNION ALL
-- A row that was not changed back is not what the run made of it, because the application or a later batch has changed it.
SELECT format('row %s is not what it was before it was %s, and the reason is %s', (before).id, kind, coalesce(problem, 'missing'))
FROM kept CROSS JOIN course
WHERE direction = 'down'
AND (kind <> 'removed' AND problem ~ 'was (changed|deleted) since' AND after IN (SELECT before FROM imagelog UNION ALL SELECT before FROM kept)) IS NOT TRUE
UNION ALL
-- If the parent exists again, the child is back at it, unless the application has moved the child meanwhile.
SELECT format('child %s is still at %s, not at %s', c.id, c.parent, m.came_from)
FROM followers() m JOIN child c ON c.id = m.id AND c.parent = m.went_to
JOIN tt ON tt.id = m.came_from AND tt.k = coalesce(m.key, tt.k) CROSS JOIN course
WHERE direction = 'down'
UNION ALL
SELECT format('%s has no valid part of the index of its parent', place::regclass) FROM part, course
WHERE direction = 'up' AND (valid AND attached) IS NOT TRUE
UNION ALL
SELECT format('%s still has %s', place::regclass, oid::regclass) FROM part, course WHERE direction = 'down' AND oid IS NOT NULL
