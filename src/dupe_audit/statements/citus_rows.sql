-- Purpose: return the rows of a query on a shard as one value, because a command on a node returns a single value.
-- Lock: as the query says.
-- Again: as the query says. It is a command of citus_run.
SELECT pg_catalog.json_agg(pg_catalog.row_to_json(q)) FROM (
{shard_query}
) AS q
