"""ReciproCAM: Byun and Lee 2022 (arXiv 2209.14074), with masks of one position, not of a Gaussian around it."""

from xaimed_core.methods.method import Method, PositionProbe

RECIPROCAM = Method(
    name="reciprocam",
    title="ReciproCAM",
    paper="arXiv 2209.14074",
    equation="L_p = y_p - min_q y_q, y_p the score where only position p of A is left, the others 0",
    kind=PositionProbe(),
    differs=(
        "The authors' code reads the probability after a softmax; here it is the score that is asked for, as with all "
        "methods. A transformer's tokens without a place are left in every row."
    ),
)
