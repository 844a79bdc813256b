"""What the client scripts share: the landscape they talk to, and one line per case.

Every script is started as `script BASE_URL CONTROL_URL KEY`: the gateway, the control server of
the simulated Difys behind it (instances dify1, dify2, …), and the key of all apps. An app's name
is its model id. A case tells its runs from those of others by its user, which no other case has.
"""

import base64
import json
import sys
import time
import traceback
import urllib.request

BASE_URL, CONTROL_URL, KEY = sys.argv[1:4]

# One app of each mode, and one whose owner gave us a key that its Dify does not know.
CHATS = ["chat", "agent", "newagent", "chatflow", "chatflow2026"]
MODELS = CHATS + ["completion", "workflow"]
MISCONFIGURED = "misconfigured"

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    "gg=="
)
PICTURE = "data:image/png;base64," + base64.b64encode(PNG).decode()
PICTURE_SEEN = f" image/png {len(PNG)} bytes local_file"
NOTE = b"The note says hello."
NOTE_URL = "data:text/plain;base64," + base64.b64encode(NOTE).decode()
NOTE_SEEN = f"document note.txt text/plain {len(NOTE)} bytes local_file"
FAR_PICTURE = "https://pictures.example/cat.png"

_cases = []


def case(name):
    """Makes a function a case of the script; it gets a user of its own."""

    def register(function):
        _cases.append((name, function))
        return function

    return register


def for_each(models, name):
    """The same for a function that takes a model, too: a case for each."""

    def register(function):
        for model in models:
            _cases.append((f"{name}, {model}", lambda user, model=model: function(user, model)))
        return function

    return register


def run_all(client):
    """Runs every case, prints a line for each, and ends the process."""
    failed = 0
    for number, (name, function) in enumerate(_cases):
        user = f"{client.split()[0]}-{number}"
        start = time.monotonic()
        try:
            function(user)
            print(f"{client}: {name}: ok, {time.monotonic() - start:.2f} s", flush=True)
        except Exception:
            failed += 1
            print(f"{client}: {name}: FAILED", flush=True)
            traceback.print_exc(file=sys.stdout)
    print(f"{client}: {len(_cases) - failed} of {len(_cases)} cases passed", flush=True)
    sys.exit(1 if failed else 0)


def runs(user):
    """The runs of a user at all instances, as the simulated Difys saw them, oldest first."""
    found = []
    for instance in _get("/instances"):
        for run in _get(f"/instances/{instance['name']}/runs"):
            if run["user"].endswith(user):
                found.append(run | {"instance": instance["name"]})
    return found


def instances():
    """The simulated Difys as the control server lists them: name, url and more."""
    return _get("/instances")


def only_run(user):
    found = runs(user)
    assert len(found) == 1, found
    return found[0]


def await_end(user, end):
    """Waits until the only run of the user has ended so."""
    deadline = time.monotonic() + 20
    while True:
        run = only_run(user)
        if run["end"] == end:
            return run
        assert run["end"] == "running" and time.monotonic() < deadline, run
        time.sleep(0.05)


def equal(got, wanted):
    assert got == wanted, f"{got!r} is not {wanted!r}"


def raises(kind, function):
    """The error of this kind that the function ends with."""
    try:
        result = function()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}, but {result!r}")


def call(method, url, body=None, key=None):
    """A request to a Dify, or to the control server, without the gateway."""
    headers = {"Content-Type": "application/json"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers=headers, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read() or b"null")


def _get(path):
    return call("GET", CONTROL_URL + path)
