-- Every row of a tree is in the leaf that its key belongs to.
SELECT format('row %s is in %s, where it does not belong', id, place) FROM misplaced()
