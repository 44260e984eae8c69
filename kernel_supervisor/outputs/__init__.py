"""What cells printed and showed, and how that reads: folding, widgets, terminals, tracebacks, markup, cutting. Pure."""
