"""Jupyter: starting, adopting, speaking with and ending kernels. Nothing above this package knows its libraries."""
