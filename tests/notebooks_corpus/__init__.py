"""Cells and notebooks that the tests of the notebook's fidelity run."""
