"""Interpreters on this machine: found, chosen, activated, given an ipykernel. Starts no kernel."""
