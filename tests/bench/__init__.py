"""The bench: pyinit beside other inits, in one run."""
