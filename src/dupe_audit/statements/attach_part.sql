-- Purpose: attach the index of a leaf, or of an inner level, to that of its parent; only the catalog changes.
-- Lock: ACCESS EXCLUSIVE on the attached index and SHARE UPDATE EXCLUSIVE on the other, for an instant.
-- Again: yes.
ALTER INDEX {index} ATTACH PARTITION {part}
