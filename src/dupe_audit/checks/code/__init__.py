"""Read the INSERTs of application code."""
