"""How a step is laid out: the figures that the engine keeps to and the plan counts with. Nobody sets them; each is a trade."""

# A prefix shared by fewer tokens than this is computed anew for each branch: a node costs one more attention call a layer.
SHORTEST_NODE = 4
# The last layer computes only what is read, where that is at most one column in so many: its attention is dense then.
TAIL_SHARE = 4
# Packed rows are filled up to this many tokens. Attention over a packed row goes over a dense T x T mask, which costs more
# than the padding it saves from about here on.
PACKED_TOKENS = 1024
# Answer tokens that are scored together: a batch of long answers has fewer prompts.
SCORED_TOKENS = 4096
# Logits of so many answer tokens are in memory together when a model learns. With a vocabulary of 128,000 that is 2 GB, and
# with their softmax and its gradient 6 GB: fewer would need less, and a head that is asked for fewer is slower.
LEARNED_TOKENS = 4096
