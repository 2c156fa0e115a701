"""The command line: thin commands over the library. Importing it loads neither numpy nor torch."""
