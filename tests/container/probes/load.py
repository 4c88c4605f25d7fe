"""HTTP clients, bounded in number, requests and time: URL CLIENTS REQUESTS [SECONDS].

Each client sends its requests one after the other, each on a new connection. Says `begun` when every client has had the first byte of a
body; in the end one line of JSON: how many answers came complete, and what went wrong with the others. SIGTERM: no new requests.
"""

import collections
import json
import signal
import sys
import threading
import time
import urllib.request


def main() -> None:
    """Run the clients."""
    url, clients, requests = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    deadline = time.monotonic() + (float(sys.argv[4]) if len(sys.argv) > 4 else 60.0)
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    begun = threading.Semaphore(0)
    failed: collections.Counter[str] = collections.Counter()
    complete: collections.Counter[str] = collections.Counter()
    lock = threading.Lock()

    def client() -> None:
        first = True
        for _ in range(requests):
            if over.is_set() or time.monotonic() > deadline:
                break
            try:
                with urllib.request.urlopen(url, timeout=30) as answer:
                    wanted = int(answer.headers.get("Content-Length") or 0)
                    body = answer.read(1)
                    if first:
                        begun.release()
                        first = False
                    body += answer.read()
                    # without a length, the body itself says whether it is all there
                    whole = len(body) == wanted if wanted else body.endswith(b"end\n")
                    with lock:
                        if whole:
                            complete[url] += 1
                        else:
                            failed["cut short"] += 1
            except Exception as error:
                with lock:
                    failed[f"{type(error).__name__}: {error}"] += 1
        if first:
            begun.release()

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for _ in threads:
        begun.acquire()
    print("begun", flush=True)
    for thread in threads:
        while thread.is_alive():
            thread.join(0.1)  # short, so that the signal's handler has its turn
    print(json.dumps({"complete": complete.total(), "failed": dict(failed)}), flush=True)


main()
