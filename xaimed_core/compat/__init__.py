"""The interface of the grad-cam package over xaimed's engine: replacing the import is the whole migration."""
