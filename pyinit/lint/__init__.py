"""Lint: what can be told of a container's stop from its files alone, before anything is built.

`dockerfile`, `kubernetes` and `compose` read a file into Launches: how each container in it is started and stopped, as far as the
file says. `chain` follows a launch's command line from PID 1 to the program: inits, shells, scripts, the program. `judges` are the rules,
pure functions of a launch; `catalogue` is their table, `rules/` their pages. What a file does not say is never guessed at: a rule
whose facts are not there is silent.

Parsers: the builder's own for Dockerfiles (package `dockerfile`), tree-sitter's grammar for shell scripts, PyYAML's nodes for YAML.
Rejected: dockerfile-parse (knows no heredocs), bashlex (last released in 2023, and GPL), loading YAML into dicts (no lines).
"""
