-- Purpose: execute several statements as one, which the server commits by itself, even if the client is frozen by then.
-- Lock: that of the statements; it ends with them.
-- Again: as the statements.
DO {body}
