"""Promises about what is released: the wheel and the sdist, and what somebody has who installs them."""
