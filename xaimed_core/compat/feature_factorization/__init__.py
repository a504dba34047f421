"""As ``pytorch_grad_cam.feature_factorization``."""
