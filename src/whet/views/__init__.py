"""Records → charts, pages and terminal text. Computes no numbers: what is shown was measured elsewhere."""
