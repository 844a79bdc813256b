"""The official `openai` library for Python where things get difficult: conversations that Dify has
lost, turns at the same time, apps that are full, instances that break, long and odd input."""

import base64
import random
import re
import threading

import openai
from cases import (
    BASE_URL,
    CONTROL_URL,
    KEY,
    MODELS,
    await_end,
    call,
    case,
    equal,
    for_each,
    instances,
    only_run,
    raises,
    run_all,
    runs,
)

client = openai.OpenAI(base_url=f"{BASE_URL}/v1", api_key=KEY)
once = client.with_options(max_retries=0)


def said(text):
    return {"role": "user", "content": text}


def answered(text):
    return {"role": "assistant", "content": text}


def ask(user, messages, model="chat", client=client, **more):
    if isinstance(messages, str):
        messages = [said(messages)]
    return client.chat.completions.create(model=model, messages=messages, user=user, **more)


def text_of(completion):
    return completion.choices[0].message.content


def delete(run):
    """Deletes the conversation of a run in Dify."""
    (url,) = [dify["url"] for dify in instances() if dify["name"] == run["instance"]]
    path = f"{url}/v1/conversations/{run['conversation']}"
    call("DELETE", path, {"user": run["user"]}, run["key"])


@case("a conversation that Dify has lost begins anew, once")
def _(user):
    messages = [said("blue")]
    messages += [answered(text_of(ask(user, messages))), said("recall")]
    lost = only_run(user)
    delete(lost)
    equal(text_of(ask(user, messages)), "Recall: nothing")
    _, new = runs(user)
    assert new["conversation"] != lost["conversation"] and "blue" in new["query"], new
    # And goes on from there.
    messages += [answered("Recall: nothing"), said("green")]
    ask(user, messages)
    equal(runs(user)[-1]["conversation"], new["conversation"])


@case("a turn that was left is not gone on with")
def _(user):
    messages = [said("blue")]
    messages += [answered(text_of(ask(user, messages))), said("tokens 400 0.1")]
    stream = ask(user, messages, stream=True)
    for chunk in stream:
        if "tok1" in (chunk.choices[0].delta.content or ""):
            break
    stream.close()
    first, left = runs(user)
    equal(left["conversation"], first["conversation"])
    await_end_of(user, left)
    # Dify's conversation now holds a turn that the client does not have.
    text = text_of(ask(user, [*messages[:2], said("recall")]))
    equal(text, "Recall: nothing")
    assert runs(user)[-1]["conversation"] != first["conversation"], runs(user)


def await_end_of(user, run):
    """Waits until a run is over."""
    for _ in range(400):
        (now,) = [other for other in runs(user) if other["task"] == run["task"]]
        if now["end"] != "running":
            return now
        threading.Event().wait(0.05)
    raise AssertionError(f"{now} does not end")


@case("two turns of a conversation at the same time")
def _(user):
    messages = [said("blue")]
    messages += [answered(text_of(ask(user, messages)))]
    texts = {}

    def turn(word):
        texts[word] = text_of(ask(user, [*messages, said(word)]))

    turns = [threading.Thread(target=turn, args=[word]) for word in ("green", "red")]
    for thread in turns:
        thread.start()
    for thread in turns:
        thread.join()
    # Each ends with its own word, and only one of them can have gone on with the conversation.
    assert texts["green"].endswith("green") and texts["red"].endswith("red"), texts
    first, *others = runs(user)
    same = [run for run in others if run["conversation"] == first["conversation"]]
    assert len(others) == 2 and len(same) <= 1, others


@for_each(["chat", "chatflow"], "no branch of a chat knows what another one said")
def _(user, model):
    dice = random.Random(user)
    branches = [[]]
    for number in range(60):
        before = dice.choice(branches)
        messages = [*before, said(f"word{number}")]
        # Some ask and do not stay for the answer.
        if dice.random() < 0.15:
            stream = ask(user, messages, model, stream=True)
            next(iter(stream))
            stream.close()
        else:
            branches.append([*messages, answered(text_of(ask(user, messages, model)))])
    words = re.compile(r"word\d+")
    said_in = {}
    for run in sorted(runs(user), key=lambda run: int(words.findall(run["query"])[-1][4:])):
        said_in.setdefault(run["conversation"], []).append(run["query"])
    known = {word: set() for word in words.findall(str(branches))}
    for messages in branches[1:]:
        of_branch = words.findall(" ".join(m["content"] for m in messages if m["role"] == "user"))
        known[of_branch[-1]] = set(of_branch)
    went_on = 0
    for queries in said_in.values():
        so_far = set()
        for query in queries:
            found = words.findall(query)
            so_far |= set(found)
            # What Dify's conversation holds at an answered turn is what its branch holds.
            wanted = known.get(found[-1]) or so_far
            equal(so_far, wanted)
            went_on += query == found[-1]
    assert went_on > 20, "hardly any turn went on with its conversation"


@case("an answer is cut at a stop text, and the run stopped")
def _(user):
    answer = ask(user, "tokens 400 0.1", stop=["tok2"])
    equal((text_of(answer), answer.choices[0].finish_reason), ("tok0 tok1 ", "stop"))
    await_end(user, "stopped")
    chunks = list(ask(user + "-streamed", "tokens 400 0.1", stop="k2 ", stream=True))
    equal("".join(chunk.choices[0].delta.content or "" for chunk in chunks), "tok0 tok1 to")
    equal(chunks[-1].choices[0].finish_reason, "stop")
    await_end(user + "-streamed", "stopped")


@case("pings of Dify reach no client")
def _(user):
    # The simulated Dify pings every 0.2 s.
    chunks = list(ask(user, "tokens 3 0.7", stream=True))
    equal("".join(chunk.choices[0].delta.content or "" for chunk in chunks), "tok0 tok1 tok2 ")


@for_each(MODELS, "text of all sorts")
def _(user, model):
    odd = 'Grüße 你好 🙂 "quoted" \\ <b> \u2028 {"a": [1]} \t end'
    equal(text_of(ask(user, odd, model)).strip(), f"Echo: {odd}")
    stream = ask(user, odd, model, stream=True)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    equal(text.strip(), f"Echo: {odd}")


@case("a long question, a long transcript and a large picture")
def _(user):
    long = "word " * 100_000 + "end"
    equal(text_of(ask(user, long)), f"Echo: {long}")
    url = "data:image/png;base64," + base64.b64encode(bytes(5_000_000)).decode()
    content = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": url}}]
    ask(user + "-picture", [said(content)])
    (seen,) = only_run(user + "-picture")["files"]
    assert "5000000 bytes" in seen, seen


@case("a broken picture is the client's mistake")
def _(user):
    for url in ["data:image/png;base64,%%%", "data:nothing", "ftp://a.example/b.png"]:
        content = [{"type": "image_url", "image_url": {"url": url}}]
        error = raises(openai.BadRequestError, lambda: ask(user, [said(content)]))
        assert error.param.startswith("messages"), error.param
    equal(runs(user), [])


@case("no user, a user by another name, a number as user")
def _(user):
    create = client.chat.completions.create
    equal(text_of(create(model="chat", messages=[said("hello")])), "Echo: hello")
    create(model="chat", messages=[said("hello")], safety_identifier=user)
    only_run(user)
    extra = {"metadata": {"user_id": user + "-metadata"}}
    create(model="chat", messages=[said("hello")], extra_body=extra)
    only_run(user + "-metadata")


@case("inputs of the app")
def _(user):
    ask(user, "hello", "workflow", extra_body={"inputs": {"tone": "kind"}})
    equal(only_run(user)["inputs"], {"tone": "kind", "question": "hello"})


@case("an app that takes no more runs")
def _(user):
    first = ask(user, "tokens 400 0.1", "narrow", stream=True)
    next(iter(first))
    error = raises(openai.RateLimitError, lambda: ask(user + "-two", "x", "narrow", client=once))
    equal(error.code, "rate_limit_exceeded")
    assert int(error.response.headers["retry-after"]) >= 1, error.response.headers
    first.close()
    await_end(user, "stopped")
    # Whoever waits gets in.
    equal(text_of(ask(user + "-three", "hello", "narrow")), "Echo: hello")


@case("an instance that breaks in mid-stream")
def _(user):
    stream = ask(user, "tokens 400 0.1", stream=True)
    next(iter(stream))
    run = only_run(user)
    fault = f"{CONTROL_URL}/instances/{run['instance']}/fault"
    call("POST", fault, {"fault": "killed"})
    try:
        raises(openai.APIError, lambda: list(stream))
        # The others go on, on what is left.
        equal(text_of(ask(user + "-two", "hello")), "Echo: hello")
    finally:
        call("POST", fault, {"fault": "none"})


def break_all(**fault):
    for dify in instances():
        call("POST", f"{CONTROL_URL}/instances/{dify['name']}/fault", fault)


@case("a first token that is long in coming")
def _(user):
    # The gateway's patience ends before: the head has gone out when Dify says its first word.
    texts, errors = [], []

    def hello():
        stream = ask(user, "hello", stream=True)
        texts.append("".join(chunk.choices[0].delta.content or "" for chunk in stream))

    def error():
        stream = ask(user + "-error", "error500", stream=True)
        errors.append(raises(openai.APIError, lambda: list(stream)))

    break_all(fault="slow", value=6000)
    try:
        threads = [threading.Thread(target=target) for target in (hello, error)]
        for thread in threads:
            thread.start()
        # Until both requests are there; they stay as slow as they came.
        threading.Event().wait(2)
    finally:
        break_all(fault="none")
    for thread in threads:
        thread.join()
    equal(texts, ["Echo: hello"])
    assert "server 500" in str(errors[0]), errors


@case("instances that fail a run are not to be asked again")
def _(user):
    break_all(fault="run_status", value=500)
    try:
        error = raises(openai.InternalServerError, lambda: ask(user, "hello"))
    finally:
        break_all(fault="none")
    equal(error.response.headers.get("x-should-retry"), "false")


@case("paths that Dify has nothing for")
def _(user):
    # Without the prefix they are Dify's to answer.
    other = openai.OpenAI(base_url=f"{BASE_URL}/openai/v1", api_key=KEY)
    raises(openai.NotFoundError, lambda: other.embeddings.create(model="chat", input="x"))
    raises(openai.NotFoundError, lambda: other.moderations.create(input="x"))
    error = raises(openai.NotFoundError, lambda: other.images.generate(model="chat", prompt="x"))
    equal(error.code, "unsupported_endpoint")


if __name__ == "__main__":
    run_all(f"openai-python-edges {openai.__version__}")
