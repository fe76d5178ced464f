"""Templates: an Example becomes a prompt and a completion, and a completion becomes an answer again."""
