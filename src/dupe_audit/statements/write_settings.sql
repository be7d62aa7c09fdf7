-- Purpose: let the plan of a batch use the index of the key, until the transaction ends, even if it is planned while the table is almost empty.
-- Lock: none.
-- Again: yes, in each transaction.
SELECT pg_catalog.set_config(name, 'off', true) FROM (VALUES ('enable_seqscan'), ('enable_nestloop'), ('jit')) AS setting(name)
