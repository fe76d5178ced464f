"""Parts of a model in fewer passes over memory, exact: what PEFT and Transformers write as a chain of operations, in one.

On a CPU a step is matrix products and, between them, memory that is read and written again, by thousands of small operations.
`fusing` says which part of a model is computed in which way; `linear`, `norm`, `feed_forward` and `attention` are the ways.
"""
