"""Tasks for Celery that leave a trace in Redis: `python3 jobs.py FIRST COUNT` asks for them, without arguments it says what was done."""

import sys
import time

import redis
from celery import Celery

BROKER = "redis://127.0.0.1:6379/0"
store = redis.Redis()
app = Celery("jobs", broker=BROKER)


@app.task
def job(number: int) -> None:
    time.sleep(0.02)
    store.rpush("done", number)


if __name__ == "__main__":
    if sys.argv[1:]:
        first, count = map(int, sys.argv[1:])
        for number in range(first, first + count):
            job.delay(number)
    else:
        print(*[one.decode() for one in store.lrange("done", 0, -1)])
