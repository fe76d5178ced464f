"""Public instruction corpora in their own formats: a stream of records each, read into Examples; the catalogue; mixes."""
