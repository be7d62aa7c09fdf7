"""Compare ways to make a key unique on a table in use, in turn on one server.

    make bench [ARGS="--rows 1000000 3000000 --repeat 5 --output results.json --plot"]

    a   original: one DELETE … row_number() > 1, then ALTER TABLE … ADD CONSTRAINT … UNIQUE
    b   by hand: one DELETE, CREATE UNIQUE INDEX CONCURRENTLY, ADD CONSTRAINT … USING INDEX
    b*  by hand in its best form: the same, partitioned by the cheapest column first, with more memory
    c   this: revision 015 of the reference project

docs/explanation/costs.md says how it is measured, and what the figures do not show. Read the ratios: each compares two
runs of the same repetition.
"""
