"""As ``pytorch_grad_cam.metrics``: the same classes and signs, over xaimed's imputation and batched forwards.

A change is the score after less the score before. Most relevant first: negative, the removed pixels mattered. Least
relevant first: near 0 or positive is good. ``ROADCombined`` is (least - most) / 2, positive is good.
"""
