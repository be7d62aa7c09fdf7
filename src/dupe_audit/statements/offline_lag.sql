-- Purpose: let the script wait for standbys, and on Aurora for readers, by the same statements as online.
-- Lock: none.
-- Again: yes.
CREATE OR REPLACE FUNCTION pg_temp.dupe_audit_lag() RETURNS double precision LANGUAGE plpgsql AS $lag$
DECLARE
    v_standbys double precision;
    v_aurora boolean;
    v_readers double precision;
BEGIN
    SELECT s.lag, s.aurora INTO v_standbys, v_aurora FROM ({replica_lag}) AS s;
    IF v_aurora THEN
        EXECUTE {t_reader_lag} INTO v_readers;
    END IF;
    RETURN greatest(v_standbys, v_readers);
END
$lag$
