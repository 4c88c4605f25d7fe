"""Counts in redis until it goes away (at most a minute), and says how far it was told it came."""

import time

import redis

connection = redis.Redis()
acknowledged = 0
deadline = time.monotonic() + 60
print("begun", flush=True)
try:
    while time.monotonic() < deadline:
        acknowledged = connection.incr("counter")
        time.sleep(0.0005)  # leaves some of the machine to others
except redis.RedisError as error:
    print(f"ended by {error}")
print(f"acknowledged {acknowledged}")
