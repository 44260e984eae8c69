"""One kernel: its queue, and what reads its stream."""
