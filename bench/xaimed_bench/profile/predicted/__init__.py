"""What kernels would take on a GPU, from the instructions that they execute on the CPU."""

from xaimed_bench.profile.predicted.predict import accepted_counts, predict, predicted_time

__all__ = ["accepted_counts", "predict", "predicted_time"]
