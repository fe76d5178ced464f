"""Data that do not fit into memory: the same decisions as in memory, row by row over files, in one process or many.

`minhash` makes signatures of texts, `spill` keeps records and texts on disk, `near` finds texts that are nearly the same,
`workers` hands batches of rows to processes or to Ray Data, `rows` is what they do with one, `prepare` is the whole. Templates
are dealt by `dealing`, in the order that `order` has sorted.
"""
