"""What the catalog says about a project's tables and indexes."""
