-- Purpose: create a scratch database, empty or a copy of another.
-- Lock: none that others of the server wait for; new sessions in the copied database wait.
-- Again: no, it fails if the database exists.
CREATE DATABASE {database} TEMPLATE {template}
