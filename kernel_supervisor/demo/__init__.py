"""The main job on real data, in one command, as an MCP client sees it. A client of the shim and nothing else."""
