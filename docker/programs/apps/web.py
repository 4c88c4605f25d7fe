"""The same page by Flask and by FastAPI."""

import os

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from flask import Flask

wsgi = Flask("web")
asgi = FastAPI()


@wsgi.get("/")
def page() -> str:
    return str(os.getpid())


@asgi.get("/")
async def same_page() -> PlainTextResponse:
    return PlainTextResponse(str(os.getpid()))
