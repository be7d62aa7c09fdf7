-- After a command that ended well, nothing is left half done: neither a list, nor an index, nor a run, nor a row.
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
SELECT 'the index is still there' FROM unique_index, course WHERE direction = 'down'
UNION ALL
SELECT 'the version is still stamped' FROM course WHERE direction = 'down' AND stamped() IS NOT NULL
