"""Two results side by side: ratios, noise floors and verdicts."""
