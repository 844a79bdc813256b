"""The official `anthropic` library for Python against the Anthropic door."""

import base64

import anthropic
from cases import (
    BASE_URL,
    CHATS,
    KEY,
    MISCONFIGURED,
    MODELS,
    PICTURE_SEEN,
    PNG,
    await_end,
    case,
    equal,
    for_each,
    only_run,
    raises,
    run_all,
    runs,
)

client = anthropic.Anthropic(base_url=BASE_URL, api_key=KEY)


def said(text):
    return {"role": "user", "content": text}


def answered(text):
    return {"role": "assistant", "content": text}


def arguments(user, messages, model="chat", **more):
    if isinstance(messages, str):
        messages = [said(messages)]
    return {
        "model": model,
        "messages": messages,
        "max_tokens": 1024,
        "metadata": {"user_id": user},
        **more,
    }


def ask(user, messages, model="chat", **more):
    return client.messages.create(**arguments(user, messages, model, **more))


def text_of(message):
    return "".join(block.text for block in message.content if block.type == "text")


@for_each(MODELS, "blocking")
def _(user, model):
    answer = ask(user, "hello", model)
    equal(text_of(answer).strip(), "Echo: hello")
    equal((answer.type, answer.role, answer.model), ("message", "assistant", model))
    equal((answer.stop_reason, answer.stop_sequence), ("end_turn", None))
    assert answer.id.startswith("msg_"), answer.id
    assert answer.usage.output_tokens > 0, answer.usage
    assert answer._request_id, answer
    only_run(user)


@for_each(MODELS, "streaming")
def _(user, model):
    with client.messages.stream(**arguments(user, "hello", model)) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    equal({text.strip(), text_of(final).strip()}, {"Echo: hello"})
    equal(final.stop_reason, "end_turn")
    assert final.usage.output_tokens > 0, final.usage


@case("the events of a stream in order")
def _(user):
    events = [event.type for event in ask(user, "hello", stream=True)]
    events = [event for event in events if event != "ping"]
    deltas = events.count("content_block_delta")
    assert deltas >= 2, events
    equal(
        events,
        ["message_start", "content_block_start"]
        + ["content_block_delta"] * deltas
        + ["content_block_stop", "message_delta", "message_stop"],
    )


@case("the prefix without ambiguity, and a bearer token")
def _(user):
    other = anthropic.Anthropic(base_url=f"{BASE_URL}/anthropic", auth_token=KEY)
    equal(text_of(other.messages.create(**arguments(user, "hello"))), "Echo: hello")


@case("a picture")
def _(user):
    source = {
        "type": "base64",
        "media_type": "image/png",
        "data": base64.b64encode(PNG).decode(),
    }
    content = [{"type": "text", "text": "look"}, {"type": "image", "source": source}]
    answer = ask(user, [said(content)])
    (seen,) = only_run(user)["files"]
    assert seen.startswith("image ") and seen.endswith(PICTURE_SEEN), seen
    equal(text_of(answer), f"Echo: look [{seen}]")


@case("a document")
def _(user):
    data = base64.b64encode(b"%PDF-1.4 hello").decode()
    source = {"type": "base64", "media_type": "application/pdf", "data": data}
    content = [{"type": "document", "source": source}, {"type": "text", "text": "look"}]
    ask(user, [said(content)])
    (seen,) = only_run(user)["files"]
    assert seen.startswith("document ") and "application/pdf 14 bytes local_file" in seen, seen


@case("thoughts are a block of their own")
def _(user):
    thinking = {"type": "enabled", "budget_tokens": 1024}
    answer = ask(user, "hello with-think", thinking=thinking, max_tokens=2048)
    equal([block.type for block in answer.content], ["thinking", "text"])
    equal(answer.content[0].thinking.strip(), "They want an echo.")
    equal(text_of(answer), "Echo: hello with-think")
    # Who did not ask for them gets none.
    answer = ask(user, "hello with-think")
    equal([block.type for block in answer.content], ["text"])


@case("a system text reaches the app")
def _(user):
    ask(user, "hello", system="You are kind.")
    ask(user, "hello", system=[{"type": "text", "text": "You are kind."}])
    for run in runs(user):
        assert "You are kind." in run["query"] + str(run["inputs"]), run


@case("an answer is cut at a stop sequence, and the run stopped")
def _(user):
    answer = ask(user, "tokens 400 0.1", stop_sequences=["tok2"])
    equal(text_of(answer), "tok0 tok1 ")
    equal((answer.stop_reason, answer.stop_sequence), ("stop_sequence", "tok2"))
    await_end(user, "stopped")


@case("pings in a stream")
def _(user):
    # The simulated Dify pings every 0.2 s.
    with client.messages.stream(**arguments(user, "tokens 3 0.7")) as stream:
        equal("".join(stream.text_stream), "tok0 tok1 tok2 ")


@case("tools that a client only offers are ignored, and demanded ones refused")
def _(user):
    tool = {"name": "search", "description": "x", "input_schema": {"type": "object"}}
    raw = client.messages.with_raw_response.create(**arguments(user, "hello", tools=[tool]))
    assert "tools" in raw.headers["x-difygate-ignored"], raw.headers
    equal(text_of(raw.parse()), "Echo: hello")
    choice = {"type": "tool", "name": "search"}
    given = {"tools": [tool], "tool_choice": choice}
    raises(anthropic.BadRequestError, lambda: ask(user + "-two", "hello", **given))
    equal(runs(user + "-two"), [])


@for_each(CHATS + ["workflow"], "an error in mid-stream")
def _(user, model):
    seen = []

    def read():
        for event in ask(user, "errmid please", model, stream=True):
            if event.type == "content_block_delta":
                seen.append(event.delta.text)
            assert event.type != "message_stop", event

    error = raises(anthropic.APIError, read)
    assert "died in the middle" in str(error), error
    equal("".join(seen), "Echo: errmid ")
    equal(only_run(user)["end"], "failed")


@case("an error of the model, blocking")
def _(user):
    error = raises(anthropic.InternalServerError, lambda: ask(user, "errmid please"))
    assert error.type == "api_error", error
    only_run(user)  # not asked again


@case("a key that Dify refuses is no error of the client's")
def _(user):
    raises(anthropic.InternalServerError, lambda: ask(user, "hello", MISCONFIGURED))


@case("a wrong model")
def _(user):
    error = raises(anthropic.NotFoundError, lambda: ask(user, "hello", "claude-nothing"))
    equal(error.body["error"]["type"], "not_found_error")
    assert error.request_id, error


@case("a wrong key")
def _(user):
    other = anthropic.Anthropic(base_url=BASE_URL, api_key="sk-wrong")
    create = other.messages.create
    error = raises(anthropic.AuthenticationError, lambda: create(**arguments(user, "hello")))
    equal(error.body["error"]["type"], "authentication_error")


@case("tokens are estimated")
def _(user):
    counted = client.messages.count_tokens(model="chat", messages=[said("hello")])
    assert counted.input_tokens > 0, counted


@case("models are listed in Anthropic's shape")
def _(user):
    found = client.models.list()
    assert "chat" in [model.id for model in found], found
    equal(client.models.retrieve("chat").type, "model")


@case("cancellation in mid-stream")
def _(user):
    with client.messages.stream(**arguments(user, "tokens 400 0.1")) as stream:
        for text in stream.text_stream:
            if "tok2" in text:
                break
    await_end(user, "stopped")


@for_each(CHATS, "two turns of a chat")
def _(user, model):
    messages = [said("blue")]
    messages += [answered(text_of(ask(user, messages, model))), said("recall")]
    equal(text_of(ask(user, messages, model)), "Recall: blue")


@case("an edited turn leaves the conversation alone")
def _(user):
    messages = [said("blue")]
    messages += [answered(text_of(ask(user, messages))), said("green")]
    second = text_of(ask(user, messages))
    equal(text_of(ask(user, [*messages[:2], said("recall")])), "Recall: nothing")
    messages += [answered(second), said("recall")]
    equal(text_of(ask(user, messages)), "Recall: blue | green")
    equal(len({run["conversation"] for run in runs(user)}), 2)


if __name__ == "__main__":
    run_all(f"anthropic-python {anthropic.__version__}")
