"""Command line: one module per command; parses, wires and prints, decides nothing."""
