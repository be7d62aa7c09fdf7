-- Purpose: drop a scratch database, and end its sessions.
-- Lock: none that others of the server wait for.
-- Again: yes.
DROP DATABASE IF EXISTS {database} WITH (FORCE)
