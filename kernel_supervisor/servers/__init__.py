"""Jupyter servers elsewhere and here: which there are, their tokens, REST, and kernels' channels over WebSockets."""
