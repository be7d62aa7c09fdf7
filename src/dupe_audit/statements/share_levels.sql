-- Purpose: lock levels of a tree before one of its leaves, as every other session does, so that neither waits for the other.
-- Lock: ACCESS SHARE on those levels, until the transaction ends; callers set lock_timeout first.
-- Again: yes.
LOCK TABLE {levels} IN ACCESS SHARE MODE
