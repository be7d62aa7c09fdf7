-- A command that ended well leaves nothing half done: no list, no index, no run, no row.
SELECT format('the staged list %s was left', relname) FROM pg_class
WHERE relnamespace = to_regnamespace('dupe_audit') AND relname ~ '^stage_\d+$'
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
WHERE direction = 'down' AND (state <> 'restored' OR archived <> restored)
UNION ALL
SELECT 'the index still exists' FROM unique_index, course WHERE direction = 'down'
UNION ALL
SELECT 'the version is still stamped' FROM course WHERE direction = 'down' AND stamped() IS NOT NULL
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
