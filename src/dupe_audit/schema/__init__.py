"""What the catalog says about the tables and indexes of a project."""
