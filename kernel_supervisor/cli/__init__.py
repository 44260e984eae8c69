"""The command line: one sub-command per tool or administrative verb. A client of the daemon like any other."""
