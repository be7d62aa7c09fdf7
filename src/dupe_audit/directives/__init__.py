"""The Alembic directives: what a revision asks for, and how it is done online and as an SQL script."""
