-- Purpose: list the sessions on every node, except those of this run, that hold locks on a table of Citus or its shards, oldest first.
-- Lock: none.
-- Again: yes, it only reads.
SELECT w.nodename || ':' || w.nodeport::pg_catalog.text AS node, w.groupid = (SELECT g.groupid FROM pg_catalog.pg_dist_local_group g) AS is_local,
       h.pid, h.gid, h.lock, h.state, h.application_name, h.usename, h.seconds
FROM pg_catalog.run_command_on_all_nodes({on_node}, parallel := true) AS r
JOIN pg_catalog.pg_dist_node w ON w.nodeid = r.nodeid
CROSS JOIN LATERAL pg_catalog.json_to_recordset(nullif(r.result, '')::pg_catalog.json) AS h(
    pid pg_catalog.int4, gid pg_catalog.text, lock pg_catalog.text, state pg_catalog.text, application_name pg_catalog.text,
    usename pg_catalog.text, seconds pg_catalog.float8)
WHERE r.success
ORDER BY h.seconds DESC NULLS LAST, w.nodeid, h.pid
LIMIT 10
