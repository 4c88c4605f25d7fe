"""A web server whose answers take a while: `web.py SECONDS finish|cut` finishes the one under way when it is stopped, or does not."""

import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        time.sleep(float(sys.argv[1]))
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"done")


def stop(*_: object) -> None:
    if sys.argv[2] == "cut":
        os._exit(0)
    threading.Thread(target=server.shutdown).start()


server = ThreadingHTTPServer(("", 8000), Answers)
server.daemon_threads = False  # so that they are waited for
signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
server.serve_forever(0.05)
server.server_close()
