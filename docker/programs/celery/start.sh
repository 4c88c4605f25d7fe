#!/bin/sh
# A worker with two processes.
cd /srv && exec python3 -m celery --app tasks worker --concurrency 2 --loglevel INFO
