"""Promises about the service, kept on a machine that systemd runs."""
