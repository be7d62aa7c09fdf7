-- Purpose: return whether a build of ours may have left an invalid index on a leaf.
-- Lock: ACCESS SHARE on dupe_audit.leaf.
-- Again: yes, it only reads.
SELECT l.building FROM dupe_audit.leaf l WHERE l.id = {leaf}
