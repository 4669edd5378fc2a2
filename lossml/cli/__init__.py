"""The command line: one file a command; each parses, calls one function, and maps to an exit code."""
