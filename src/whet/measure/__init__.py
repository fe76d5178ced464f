"""numpy in, numbers out: what a model got right, how far its probabilities can be believed, and against what.

    inputs        arrays checked at the door: the bad row is named, never averaged in
    metrics       accuracy, F1, confusion, NLL, Brier: one record for one split
    generation    exact match, token F1, ROUGE-L of written answers
    perplexity    nats per token, perplexity, bits per character of plain text
    reliability   bins, calibration errors, their noise floor, Spiegelhalter's test
    selective     what confidence is good for: abstaining, sets of labels, costs
    calibration   scores to probabilities: softmax, temperature, Platt, isotonic, contextual
    intervals     Wilson and the bootstrap, by item or by group
    compare       two models on the same items: wins, losses, exact McNemar, paired differences
    agreement     several annotators: kappa, alpha, the human ceiling
    baselines     majority and TF-IDF + logistic regression

Importable alone: nothing of whet but its errors, and scipy, scikit-learn and rapidfuzz only at the call that needs them.
"""
