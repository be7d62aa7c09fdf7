-- Purpose: lock a level of a tree before one of its leaves, as every other session does, so that neither waits for the other.
-- Lock: ACCESS SHARE on that level, for an instant; callers set lock_timeout first.
-- Again: yes.
LOCK TABLE ONLY {table} IN ACCESS SHARE MODE
