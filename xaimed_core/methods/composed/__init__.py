"""Methods that make one map of another method's: over several layers, or over windows of enlarged images."""
