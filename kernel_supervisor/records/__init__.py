"""What is kept on disk: the database of sessions, kernels and executions, and the kernels' message logs."""
