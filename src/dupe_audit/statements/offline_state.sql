-- Purpose: report the state of the index to psql and the guard: absent, unfinished and ours, or the constraint as requested.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
CREATE OR REPLACE FUNCTION pg_temp.dupe_audit_state(OUT absent boolean, OUT leftover boolean, OUT enforced boolean)
LANGUAGE plpgsql AS $state$
BEGIN
    -- Not in an SQL function, which plans the whole of it, and may execute parts of a view, before its first statement.
    PERFORM pg_temp.dupe_audit_trust(({relid}));
    SELECT pg_catalog.count(*) = 0,
           coalesce(pg_catalog.bool_or(NOT s.valid AND s.same_definition AND EXISTS (
               SELECT FROM dupe_audit.run r WHERE ({run_relation}) = ({relid}) AND r.constraint_name = {name} AND r.building)), false),
           coalesce(pg_catalog.bool_or(s.valid AND s.same_definition AND s.constraint_name = {name} AND s.same_constraint_form
               AND s.indrelid = ({relid})), false)
    INTO absent, leftover, enforced
    FROM ({index_state}) AS s;
END
$state$
