"""The official `openai` library for Python against the Responses API."""

import openai
from cases import (
    BASE_URL,
    CHATS,
    KEY,
    MODELS,
    NOTE_SEEN,
    NOTE_URL,
    PICTURE,
    PICTURE_SEEN,
    await_end,
    case,
    equal,
    for_each,
    only_run,
    raises,
    run_all,
    runs,
)

client = openai.OpenAI(base_url=f"{BASE_URL}/v1", api_key=KEY)


def ask(user, given, model="chat", **more):
    return client.responses.create(model=model, input=given, user=user, **more)


@for_each(MODELS, "blocking")
def _(user, model):
    answer = ask(user, "hello", model)
    equal(answer.output_text.strip(), "Echo: hello")
    equal((answer.object, answer.status, answer.model), ("response", "completed", model))
    equal((answer.error, answer.incomplete_details, answer.tools), (None, None, []))
    assert answer.id.startswith("resp_"), answer.id
    assert answer.output[-1].id.startswith("msg_"), answer.output
    usage = answer.usage
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens > 0, usage


@for_each(MODELS, "streaming")
def _(user, model):
    events = list(ask(user, "hello", model, stream=True))
    kinds = [event.type for event in events]
    equal(kinds[:2], ["response.created", "response.in_progress"])
    equal(kinds[-1], "response.completed")
    equal([event.sequence_number for event in events], list(range(len(events))))
    around = [kind for kind in kinds if "output_text.delta" not in kind]
    equal(
        around[2:],
        [
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.completed",
        ],
    )
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    done = next(event for event in events if event.type == "response.output_text.done")
    final = events[-1].response
    equal({"".join(deltas), done.text, final.output_text}, {final.output_text})
    equal(final.output_text.strip(), "Echo: hello")
    equal(events[0].response.id, final.id)
    assert final.usage.total_tokens > 0, final


@case("thoughts are an output item of their own")
def _(user):
    events = list(ask(user, "hello with-think", stream=True))
    deltas = [e.delta for e in events if e.type == "response.reasoning_summary_text.delta"]
    equal("".join(deltas).strip(), "They want an echo.")
    final = events[-1].response
    equal([item.type for item in final.output], ["reasoning", "message"])
    equal(final.output_text, "Echo: hello with-think")
    equal(final.output[0].summary[0].text.strip(), "They want an echo.")


@for_each(CHATS, "previous_response_id goes on")
def _(user, model):
    first = ask(user, "blue", model)
    second = ask(user, "green", model, previous_response_id=first.id)
    equal(second.previous_response_id, first.id)
    third = ask(user, "recall", model, previous_response_id=second.id)
    equal(third.output_text, "Recall: blue | green")


@case("previous_response_id of an earlier turn forks")
def _(user):
    first = ask(user, "blue")
    second = ask(user, "green", previous_response_id=first.id)
    fork = ask(user, "recall", previous_response_id=first.id)
    equal(fork.output_text, "Recall: nothing")
    query = runs(user)[-1]["query"]
    assert "blue" in query and "green" not in query, query
    again = ask(user, "recall", previous_response_id=second.id)
    equal(again.output_text, "Recall: blue | green")


@case("a previous response that is not there")
def _(user):
    error = raises(
        openai.BadRequestError, lambda: ask(user, "hello", previous_response_id="resp_nothing")
    )
    equal((error.code, error.param), ("previous_response_not_found", "previous_response_id"))


@case("another user's response cannot be gone on with")
def _(user):
    first = ask(user + "-one", "blue")
    error = raises(
        openai.BadRequestError, lambda: ask(user + "-two", "x", previous_response_id=first.id)
    )
    equal(error.code, "previous_response_not_found")


@case("a response that was not to be stored")
def _(user):
    first = ask(user, "blue", store=False)
    error = raises(
        openai.BadRequestError, lambda: ask(user, "x", previous_response_id=first.id)
    )
    equal(error.code, "previous_response_not_found")


@case("a transcript instead of a previous response")
def _(user):
    first = ask(user, "blue")
    given = [
        {"role": "user", "content": "blue"},
        {"role": "assistant", "content": first.output_text},
        {"role": "user", "content": "recall"},
    ]
    equal(ask(user, given).output_text, "Recall: blue")


@case("instructions reach the app")
def _(user):
    ask(user, "hello", instructions="You are kind.")
    run = only_run(user)
    assert "You are kind." in run["query"] + str(run["inputs"]), run


@case("a response goes on after chat completions, and the other way round")
def _(user):
    chat = client.chat.completions.create
    messages = [{"role": "user", "content": "blue"}]
    answer = chat(model="chat", messages=messages, user=user).choices[0].message
    messages += [{"role": "assistant", "content": answer.content}]
    second = ask(user, [*messages, {"role": "user", "content": "green"}])
    messages += [
        {"role": "user", "content": "green"},
        {"role": "assistant", "content": second.output_text},
        {"role": "user", "content": "recall"},
    ]
    third = chat(model="chat", messages=messages, user=user)
    equal(third.choices[0].message.content, "Recall: blue | green")


@case("a picture and a file")
def _(user):
    content = [
        {"type": "input_text", "text": "look"},
        {"type": "input_image", "image_url": PICTURE, "detail": "auto"},
        {"type": "input_file", "filename": "note.txt", "file_data": NOTE_URL},
    ]
    ask(user, [{"role": "user", "content": content}])
    picture, file = only_run(user)["files"]
    assert picture.startswith("image ") and picture.endswith(PICTURE_SEEN), picture
    equal(file, NOTE_SEEN)


@case("an error in mid-stream")
def _(user):
    events = []

    def read():
        for event in ask(user, "errmid please", stream=True):
            events.append(event)

    try:
        read()
    except openai.APIError as error:
        assert "died in the middle" in str(error), error
    else:
        equal(events[-1].type, "response.failed")
        equal(events[-1].response.status, "failed")
        assert "died in the middle" in events[-1].response.error.message, events[-1]
    assert "response.completed" not in [event.type for event in events], events
    equal(only_run(user)["end"], "failed")


@case("cancellation in mid-stream")
def _(user):
    stream = ask(user, "tokens 400 0.1", stream=True)
    for event in stream:
        if event.type == "response.output_text.delta":
            break
    stream.close()
    await_end(user, "stopped")


@case("a wrong model and a wrong key")
def _(user):
    error = raises(openai.NotFoundError, lambda: ask(user, "hello", "gpt-nothing"))
    equal(error.code, "model_not_found")
    other = openai.OpenAI(base_url=f"{BASE_URL}/v1", api_key="sk-wrong")
    raises(
        openai.AuthenticationError, lambda: other.responses.create(model="chat", input="hello")
    )


@case("what cannot be done is refused by name")
def _(user):
    error = raises(openai.BadRequestError, lambda: ask(user, "hello", background=True))
    equal(error.param, "background")
    equal(runs(user), [])


if __name__ == "__main__":
    run_all(f"openai-python-responses {openai.__version__}")
