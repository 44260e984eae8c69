"""Reaching the daemon: finding it, starting exactly one, speaking on its socket. Stdlib and pyzmq only."""
