"""Reading the INSERTs of application code."""
