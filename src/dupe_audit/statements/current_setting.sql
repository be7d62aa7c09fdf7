-- Purpose: read a setting of this session. A DO block, which returns nothing, leaves its result in one.
-- Lock: none.
-- Again: yes, it only reads.
SELECT pg_catalog.current_setting({setting})
