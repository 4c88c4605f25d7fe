"""A task that takes three seconds, and says when it begins and ends."""

import sys
import time

from celery import Celery

BROKER = "redis://127.0.0.1:6379/0"
app = Celery("tasks", broker=BROKER, backend=BROKER)
app.conf.worker_hijack_root_logger = False


@app.task
def slow() -> str:
    print("task begun", file=sys.__stdout__, flush=True)
    time.sleep(3)
    print("task finished", file=sys.__stdout__, flush=True)
    return "finished"
