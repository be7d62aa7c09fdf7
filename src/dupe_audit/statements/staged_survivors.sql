-- Purpose: return the survivors of the staged extras, which are the rows that a merge changes.
-- Lock: ACCESS SHARE on the staged list, until the transaction ends.
-- Again: yes, it only reads. It is part of the query that counts what could not be changed back.
(SELECT survivor.* FROM (SELECT DISTINCT {s_identity}, s_tid FROM {stage}) AS survivor({e_identity}, e_tid))
