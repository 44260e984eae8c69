"""The MCP server that the daemon mounts on its socket: tools, their arguments, and what a client sees."""
