-- Purpose: number the staged extras of a survivor after those that the run has already amended.
-- Lock: ROW EXCLUSIVE on the staged list, ACCESS SHARE on the archive, until the transaction ends.
-- Again: no; once per ranking.
UPDATE {stage} s SET place = s.place + amended.most - 1
FROM (
    SELECT {survivor_columns}, pg_catalog.max(dupe_audit_number) AS most
    FROM {archive}
    WHERE dupe_audit_kind = 'amended' AND dupe_audit_restored_at IS NULL
    GROUP BY {survivor_columns}
) AS amended
WHERE {s_has_survivor_amended}
