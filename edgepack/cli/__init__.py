"""The command line: a lazy group in `main`, one file a command."""
