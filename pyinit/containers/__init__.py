"""Real containers, seen from outside: who was there, what each was told, how each ended.

`observer.Observer` watches a PID namespace and gives an `account.Account`; `timeline.Timeline` makes of it what a person wants to see
of a stop; `svg.render` draws it. Nothing here is needed inside a container.
"""
