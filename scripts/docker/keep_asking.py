#!/usr/bin/env python3
"""Asks a service from a few clients at once until a file appears, and prints what became of the requests.

Usage: keep_asking.py NAME PORT STOP
Each request resolves NAME and connects anew. One that was not connected was not sent, so it is repeated, and counted as
`refused`. `cut` are those whose connection ended without an answer, `failed` those that were answered by no 200.
"""

import collections
import http.client
import json
import pathlib
import sys
import threading
import time

CLIENTS = 4
HEADERS = {"Authorization": "Bearer usertoken--customer-service-v1", "Content-Type": "application/json"}


def connect(name, port, counts):
    for _ in range(200):
        connection = http.client.HTTPConnection(name, port, timeout=10)
        try:
            connection.connect()
            return connection
        except OSError:
            counts["refused"] += 1
            time.sleep(0.05)
    raise OSError("no replica can be connected to")


def ask(name, port, user, counts):
    connection = connect(name, port, counts)
    body = {"inputs": {}, "query": "hello", "response_mode": "blocking", "user": user}
    try:
        connection.request("POST", "/v1/chat-messages", json.dumps(body), HEADERS)
        response = connection.getresponse()
        answered = response.status == 200 and json.loads(response.read())["answer"] == "Echo: hello"
        counts["answered" if answered else "failed"] += 1
    except (OSError, http.client.HTTPException):
        counts["cut"] += 1
    finally:
        connection.close()


def client(number, name, port, stop, totals):
    counts = collections.Counter()
    totals.append(counts)
    asked = 0
    while not stop.exists():
        asked += 1
        try:
            ask(name, port, f"user-{number}-{asked % 50}", counts)
        except OSError:
            counts["failed"] += 1
        time.sleep(0.02)


def main():
    name, port, stop = sys.argv[1], int(sys.argv[2]), pathlib.Path(sys.argv[3])
    totals = []
    threads = [threading.Thread(target=client, args=(n, name, port, stop, totals)) for n in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total = sum(totals, collections.Counter())
    print(*(f"{total[what]} {what}" for what in ("answered", "refused", "cut", "failed")), sep=", ")


if __name__ == "__main__":
    main()
