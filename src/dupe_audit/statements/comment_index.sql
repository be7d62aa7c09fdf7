-- Purpose: comment on the index, where no constraint belongs to it.
-- Lock: SHARE UPDATE EXCLUSIVE on the index, for an instant: it blocks no read and no write.
-- Again: yes.
COMMENT ON INDEX {index} IS {comment}
