-- Whenever something says "enforced", the constraint exists, its index is valid, and a count finds no duplicate.
-- A downgrade removes the version last, so on the way down the version that is still stamped claims nothing.
WITH claim AS (
    SELECT format('run %s says enforced', id) AS who FROM runs() WHERE state = 'enforced'
    UNION ALL
    SELECT 'the version is stamped' FROM course WHERE direction = 'up' AND stamped() IS NOT NULL
    UNION ALL
    SELECT 'the program ended without an error' FROM course WHERE promised
), counted AS (
    SELECT coalesce(sum(size - 1), 0) AS extras FROM (SELECT count(*) AS size FROM tt WHERE key_of(k, live) IS NOT NULL GROUP BY key_of(k, live)) AS key
), fault AS (
    SELECT 'there is no unique index' AS what WHERE NOT EXISTS (SELECT FROM unique_index)
    UNION ALL
    SELECT 'its index is not valid' FROM unique_index WHERE NOT valid
    UNION ALL
    SELECT 'its index is not the one of the key' FROM unique_index WHERE NOT fits
    UNION ALL
    SELECT extras || ' duplicates are in the table' FROM counted WHERE extras > 0
)
SELECT format('%s, but %s', who, what) FROM claim CROSS JOIN fault
