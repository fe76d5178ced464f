"""Text in, text out: tables, documents and public corpora to Examples, cleaned, split and written. No torch."""
