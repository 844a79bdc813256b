"""The official `openai` library for Python against the OpenAI door."""

import asyncio

import openai
from cases import (
    BASE_URL,
    CHATS,
    FAR_PICTURE,
    KEY,
    MISCONFIGURED,
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


def said(text):
    return {"role": "user", "content": text}


def answered(text):
    return {"role": "assistant", "content": text}


def ask(user, messages, model="chat", **more):
    if isinstance(messages, str):
        messages = [said(messages)]
    return client.chat.completions.create(model=model, messages=messages, user=user, **more)


def text_of(completion):
    return completion.choices[0].message.content


def parts(*more):
    return [{"role": "user", "content": [{"type": "text", "text": "look"}, *more]}]


@case("list models")
def _(user):
    models = {model.id: model for model in client.models.list()}
    assert set(MODELS) <= set(models), models
    equal(models["chat"].object, "model")
    equal(client.models.retrieve("chatflow").id, "chatflow")


@case("the prefix without ambiguity")
def _(user):
    other = openai.OpenAI(base_url=f"{BASE_URL}/openai/v1", api_key=KEY)
    answer = other.chat.completions.create(model="chat", messages=[said("hello")], user=user)
    equal(text_of(answer), "Echo: hello")
    assert "chat" in {model.id for model in other.models.list()}


@for_each(MODELS, "blocking")
def _(user, model):
    answer = ask(user, "hello", model)
    equal(text_of(answer).strip(), "Echo: hello")
    equal((answer.object, answer.model), ("chat.completion", model))
    equal((answer.choices[0].finish_reason, answer.choices[0].message.role), ("stop", "assistant"))
    assert answer.id.startswith("chatcmpl-"), answer.id
    usage = answer.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens > 0, usage
    run = only_run(user)
    assert run["streamed"] and not run["auto_generate_name"], run


@for_each(MODELS, "streaming")
def _(user, model):
    chunks = list(ask(user, "hello", model, stream=True))
    equal("".join(chunk.choices[0].delta.content or "" for chunk in chunks).strip(), "Echo: hello")
    equal(chunks[0].choices[0].delta.role, "assistant")
    equal([chunk.choices[0].finish_reason for chunk in chunks][-1], "stop")
    equal({chunk.choices[0].finish_reason for chunk in chunks[:-1]}, {None})
    equal(len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}), 1)
    assert all(chunk.usage is None for chunk in chunks), chunks


@for_each(MODELS, "streaming with usage")
def _(user, model):
    chunks = list(ask(user, "hello", model, stream=True, stream_options={"include_usage": True}))
    equal(chunks[-1].choices, [])
    usage = chunks[-1].usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens > 0, usage
    assert all(chunk.usage is None for chunk in chunks[:-1]), chunks


@case("each event as it comes")
def _(user):
    stream = ask(user, "tokens 20 0.1", stream=True)
    for chunk in stream:
        if chunk.choices[0].delta.content == "tok0 ":
            break
    equal(only_run(user)["end"], "running")
    stream.close()


@for_each(["chat", "agent", "chatflow"], "a picture")
def _(user, model):
    answer = ask(user, parts({"type": "image_url", "image_url": {"url": PICTURE}}), model)
    (seen,) = only_run(user)["files"]
    assert seen.startswith("image ") and seen.endswith(PICTURE_SEEN), seen
    equal(text_of(answer), f"Echo: look [{seen}]")


@case("a picture by URL")
def _(user):
    ask(user, parts({"type": "image_url", "image_url": {"url": FAR_PICTURE}}))
    equal(only_run(user)["files"], [f"image {FAR_PICTURE} remote_url"])


@for_each(["chat", "chatflow"], "a file")
def _(user, model):
    file = {"filename": "note.txt", "file_data": NOTE_URL}
    answer = ask(user, parts({"type": "file", "file": file}), model)
    equal(text_of(answer), f"Echo: look [{NOTE_SEEN}]")


@case("thoughts apart from the answer")
def _(user):
    answer = ask(user, "hello with-think")
    equal(text_of(answer), "Echo: hello with-think")
    equal(answer.choices[0].message.reasoning_content.strip(), "They want an echo.")
    stream = ask(user + "-streamed", "hello with-think", stream=True)
    deltas = [chunk.choices[0].delta for chunk in stream]
    thoughts = "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas)
    equal(thoughts.strip(), "They want an echo.")
    equal("".join(delta.content or "" for delta in deltas), "Echo: hello with-think")


@case("thoughts of an agent that uses a tool")
def _(user):
    answer = ask(user, "hello with-tool", "agent")
    equal(text_of(answer), "Echo: hello with-tool")
    assert "I look it up." in answer.choices[0].message.reasoning_content, answer


@case("an answer that Dify withdraws")
def _(user):
    choice = ask(user, "hello with-replacement").choices[0]
    equal(choice.message.content, "This answer was withdrawn.")
    equal(choice.finish_reason, "content_filter")
    chunks = list(ask(user, "hello with-replacement", stream=True))
    equal(chunks[-1].choices[0].finish_reason, "content_filter")


@case("sources")
def _(user):
    (found,) = ask(user, "hello with-sources").choices[0].message.annotations
    equal(found.type, "url_citation")
    citation = found.url_citation
    equal((citation.url, citation.title), ("https://handbook.example/delivery", "Delivery"))


@for_each(["chat", "agent", "chatflow"], "a picture that the app makes")
def _(user, model):
    text = text_of(ask(user, "hello with-picture", model))
    assert text.startswith("Echo: hello with-picture\n\n![](http://"), text


@for_each(CHATS + ["workflow"], "an error in mid-stream")
def _(user, model):
    seen = []

    def read():
        for chunk in ask(user, "errmid please", model, stream=True):
            equal(chunk.choices[0].finish_reason, None)
            seen.append(chunk.choices[0].delta.content or "")

    error = raises(openai.APIError, read)
    assert "died in the middle" in str(error), error
    assert error.code, error
    equal("".join(seen), "Echo: errmid ")
    equal(only_run(user)["end"], "failed")


@for_each(CHATS + ["workflow"], "an error of the model, blocking")
def _(user, model):
    error = raises(openai.InternalServerError, lambda: ask(user, "errmid please", model))
    equal(error.status_code, 502)
    only_run(user)  # not asked again


@case("an error before any text, streaming")
def _(user):
    error = raises(openai.APIError, lambda: list(ask(user, "error500", stream=True)))
    assert "server 500" in str(error), error
    only_run(user)


@case("a key that Dify refuses is no error of the client's")
def _(user):
    error = raises(openai.InternalServerError, lambda: ask(user, "hello", MISCONFIGURED))
    equal((error.status_code, error.code), (502, "upstream_auth"))


@case("a wrong model")
def _(user):
    error = raises(openai.NotFoundError, lambda: ask(user, "hello", "gpt-nothing"))
    equal(error.code, "model_not_found")
    error = raises(openai.NotFoundError, lambda: client.models.retrieve("gpt-nothing"))
    equal(error.code, "model_not_found")


@case("a wrong key")
def _(user):
    other = openai.OpenAI(base_url=f"{BASE_URL}/v1", api_key="sk-wrong")
    messages = [said("hello")]
    create = other.chat.completions.create
    error = raises(openai.AuthenticationError, lambda: create(model="chat", messages=messages))
    equal(error.code, "invalid_api_key")
    raises(openai.AuthenticationError, lambda: list(other.models.list()))


@case("what cannot be done is refused by name")
def _(user):
    for param, value in [("n", 2), ("logprobs", True), ("tool_choice", "required")]:
        error = raises(openai.BadRequestError, lambda: ask(user, "hello", **{param: value}))
        equal(error.param, param)
    raises(openai.BadRequestError, lambda: ask(user, []))
    equal(runs(user), [])


@case("what has no effect is named")
def _(user):
    create = client.chat.completions.with_raw_response.create
    raw = create(model="chat", messages=[said("hello")], user=user, temperature=0.5, seed=1)
    ignored = {name.strip() for name in raw.headers["x-difygate-ignored"].split(",")}
    assert {"temperature", "seed"} <= ignored, ignored
    equal(text_of(raw.parse()), "Echo: hello")


@for_each(MODELS, "cancellation in mid-stream")
def _(user, model):
    stream = ask(user, "tokens 400 0.1", model, stream=True)
    for chunk in stream:
        if "tok2" in (chunk.choices[0].delta.content or ""):
            break
    stream.close()
    await_end(user, "stopped")


@for_each(CHATS, "two turns of a chat")
def _(user, model):
    messages = [said("blue")]
    messages += [answered(text_of(ask(user, messages, model))), said("recall")]
    equal(text_of(ask(user, messages, model)), "Recall: blue")
    first, second = runs(user)
    equal(second["conversation"], first["conversation"])


@case("an edited turn leaves the conversation alone")
def _(user):
    messages = [said("blue")]
    messages += [answered(text_of(ask(user, messages))), said("green")]
    second = text_of(ask(user, messages))
    edited = [*messages[:2], said("recall")]
    equal(text_of(ask(user, edited)), "Recall: nothing")
    (_, before, fork) = runs(user)
    assert fork["conversation"] != before["conversation"], fork
    # The new conversation knows what was said before the edit, and nothing of what came after.
    assert "blue" in fork["query"] and "green" not in fork["query"], fork
    # The old branch goes on where it was.
    messages += [answered(second), said("recall")]
    equal(text_of(ask(user, messages)), "Recall: blue | green")
    # So does the new one.
    edited += [answered("Recall: nothing"), said("red")]
    ask(user, edited)
    conversations = [run["conversation"] for run in runs(user)]
    equal(conversations.count(fork["conversation"]), 2)


@case("a regenerated answer leaves the conversation alone")
def _(user):
    messages = [said("blue")]
    messages += [answered(text_of(ask(user, messages))), said("green")]
    second = text_of(ask(user, messages))
    equal(text_of(ask(user, messages)).endswith("green"), True)
    conversations = [run["conversation"] for run in runs(user)]
    equal(len(set(conversations)), 2)
    messages += [answered(second), said("recall")]
    equal(text_of(ask(user, messages)), "Recall: blue | green")


@case("a conversation by its id")
def _(user):
    def at(query, **headers):
        create = client.chat.completions.with_raw_response.create
        raw = create(model="chat", messages=[said(query)], user=user, extra_headers=headers)
        return raw.headers["x-difygate-conversation"], text_of(raw.parse())

    conversation, _ = at("blue")
    again = at("recall", **{"X-Dify-Conversation-Id": conversation})
    equal(again, (conversation, "Recall: blue"))
    error = raises(
        openai.NotFoundError,
        lambda: at("recall", **{"X-Dify-Conversation-Id": "00000000-0000-4000-8000-000000000000"}),
    )
    assert error.code, error


@case("the title of a chat is made beside it")
def _(user):
    def at(messages):
        return text_of(ask(user, messages, extra_headers={"X-OpenWebUI-Chat-Id": f"{user}-chat"}))

    messages = [said("blue")]
    messages += [answered(at(messages))]
    at([said("### Task:\nName this chat.\n<chat_history>blue</chat_history>")])
    equal(at([*messages, said("recall")]), "Recall: blue")
    turns = runs(user)
    equal(len({run["conversation"] for run in turns}), 1)
    equal(len(turns), 2)


@case("two chats that begin alike")
def _(user):
    def at(chat, messages):
        return text_of(ask(user, messages, extra_headers={"X-OpenWebUI-Chat-Id": user + chat}))

    messages = [said("blue"), answered("Echo: blue"), said("recall")]
    for chat in ["-one", "-two"]:
        at(chat, messages[:1])
    for chat in ["-one", "-two"]:
        equal(at(chat, messages), "Recall: blue")
    conversations = [run["conversation"] for run in runs(user)]
    equal(conversations[:2], conversations[2:])
    equal(len(set(conversations)), 2)


@case("two users never share a conversation")
def _(user):
    messages = [said("blue")]
    messages += [answered(text_of(ask(user + "-one", messages))), said("recall")]
    equal(text_of(ask(user + "-two", messages)), "Recall: nothing")


@case("legacy completions")
def _(user):
    answer = client.completions.create(model="completion", prompt="hello", user=user)
    equal(answer.choices[0].text.strip(), "Echo: hello")
    equal((answer.object, answer.choices[0].finish_reason), ("text_completion", "stop"))
    assert answer.usage.total_tokens > 0, answer
    stream = client.completions.create(model="completion", prompt="hello", user=user, stream=True)
    equal("".join(chunk.choices[0].text for chunk in stream).strip(), "Echo: hello")
    error = raises(
        openai.BadRequestError,
        lambda: client.completions.create(model="completion", prompt="hello", echo=True),
    )
    equal(error.param, "echo")


@case("transcription")
def _(user):
    # The type that browsers give MP3 is one that Dify 1.5.0 refuses.
    heard = client.audio.transcriptions.create(
        model="chat", file=("a.mp3", b"12345", "audio/mpeg"), extra_body={"user": user}
    )
    equal(heard.text, "Heard 5 bytes of audio/mp3 in a.mp3")
    error = raises(
        openai.BadRequestError,
        lambda: client.audio.transcriptions.create(
            model="chat", file=("a.mp3", b"12345"), response_format="srt"
        ),
    )
    equal(error.param, "response_format")


@case("speech")
def _(user):
    spoken = client.audio.speech.create(model="chat", input="hi", voice="alloy").read()
    assert spoken.startswith(b"ID3") and spoken.endswith(b": hi"), spoken
    error = raises(
        openai.BadRequestError,
        lambda: client.audio.speech.create(
            model="chat", input="hi", voice="alloy", response_format="wav"
        ),
    )
    equal(error.param, "response_format")


@case("an app that neither hears nor speaks")
def _(user):
    raises(
        openai.BadRequestError,
        lambda: client.audio.speech.create(model="agent", input="hi", voice="alloy"),
    )
    raises(
        openai.BadRequestError,
        lambda: client.audio.transcriptions.create(model="agent", file=("a.mp3", b"12345")),
    )


@case("asyncio, many at once")
def _(user):
    async def one(number):
        stream = await others.chat.completions.create(
            model="chat", messages=[said(f"hello {number}")], user=f"{user}-{number}", stream=True
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    async def all_of_them():
        async with others:
            return await asyncio.gather(*(one(number) for number in range(20)))

    others = openai.AsyncOpenAI(base_url=f"{BASE_URL}/v1", api_key=KEY)
    answers = asyncio.run(all_of_them())
    equal(answers, [f"Echo: hello {number}" for number in range(20)])


if __name__ == "__main__":
    run_all(f"openai-python {openai.__version__}")
