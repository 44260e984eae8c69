"""Cells, and what an agent is shown of each."""
