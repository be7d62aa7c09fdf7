#!/bin/bash
# Runs once, on an empty data directory. The role migrator owns the database. The role writer, used by the consumers,
# may only read and add rows, also in tables that a later revision creates.
set -euo pipefail

psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
\getenv database POSTGRES_DB
\getenv migrator_password MIGRATOR_PASSWORD
\getenv writer_password WRITER_PASSWORD
CREATE ROLE migrator LOGIN PASSWORD :'migrator_password';
CREATE ROLE writer LOGIN PASSWORD :'writer_password';
ALTER DATABASE :"database" OWNER TO migrator;
ALTER DEFAULT PRIVILEGES FOR ROLE migrator IN SCHEMA public GRANT SELECT, INSERT ON TABLES TO writer;
SQL
