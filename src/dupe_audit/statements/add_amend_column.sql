-- Purpose: give the staged list the mark of the extras that are amended, and not archived.
-- Lock: ACCESS EXCLUSIVE on the staged list, until the transaction ends.
-- Again: no; once per staged list.
ALTER TABLE {stage} ADD COLUMN amend boolean NOT NULL DEFAULT false
