"""What is kept how long, and how much of it. Histories of sessions and their logs stay until they are forgotten."""

CALLS_S = 7 * 86_400.0
"""What a call said that it was about to do: so long it may be sent again."""
LOG_BYTES, LOG_FILES = 2 << 20, 3
"""The daemon's log, and how many before it."""
RECORDED_BYTES = 64 << 20
"""What one execution records of what it shows, where the kernel's environment does not say."""
FINISHED = 2000
"""Of how many executions of a kernel that are over late output is looked for."""
LEFTOVER_S = 3600.0
"""What a writer of a notebook that was killed left beside it."""
