-- Purpose: report how far a build is on the node where it waits, and which session of that node it waits for.
-- Lock: none.
-- Again: yes, it only reads.
SELECT node.phase || ' on ' || w.nodename || ':' || w.nodeport::pg_catalog.text AS phase, node.lockers_total, node.lockers_done, node.locker, node.blocks_total, node.blocks_done,
       node.tuples_total, node.tuples_done, node.application_name, node.state, node.seconds
FROM pg_catalog.run_command_on_all_nodes({on_node}, parallel := true) AS r
JOIN pg_catalog.pg_dist_node w ON w.nodeid = r.nodeid
CROSS JOIN LATERAL pg_catalog.json_to_record(nullif(r.result, '')::pg_catalog.json) AS node(
    phase pg_catalog.text, lockers_total pg_catalog.int8, lockers_done pg_catalog.int8, locker pg_catalog.int4, blocks_total pg_catalog.int8,
    blocks_done pg_catalog.int8, tuples_total pg_catalog.int8, tuples_done pg_catalog.int8, application_name pg_catalog.text, state pg_catalog.text,
    seconds pg_catalog.float8)
WHERE r.success AND node.phase IS NOT NULL
ORDER BY pg_catalog.starts_with(node.phase, 'waiting') DESC, node.phase, w.nodeid
LIMIT 1
