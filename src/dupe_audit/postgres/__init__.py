"""How the steps execute statements, wait, retry and set timeouts."""
