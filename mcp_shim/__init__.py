"""The wire between an MCP client's stdio and the daemon's socket. Stdlib and pyzmq: nothing heavy is imported."""
