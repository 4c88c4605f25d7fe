"""`pyinitctl verify`: does this container stop as it should? A conformance suite for any image and any init, in real containers.

An *act* is one thing done to a fresh container (`acts`): it is started, made ready, stopped, say, and all is written down as evidence.
A *check* is a pure function that judges evidence (`catalogue` has the table of all, `judges` the functions). Several checks may judge
the same act; no act sees a container that another one has touched. `runner` does the acts, `report` says what came of it.
"""
