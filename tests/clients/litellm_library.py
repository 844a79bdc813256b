"""LiteLLM's client library with both protocols."""

import importlib.metadata

from cases import (
    BASE_URL,
    CHATS,
    KEY,
    MODELS,
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

# Its map of prices would be fetched from the network.
import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm  # noqa: E402

litellm.telemetry = False
litellm.suppress_debug_info = True


def said(text):
    return {"role": "user", "content": text}


def answered(text):
    return {"role": "assistant", "content": text}


def ask(user, messages, model="chat", **more):
    if isinstance(messages, str):
        messages = [said(messages)]
    given = {"api_base": f"{BASE_URL}/v1", "api_key": KEY, "user": user, **more}
    # It would keep the user from models that it does not know.
    given["allowed_openai_params"] = ["user"]
    return litellm.completion(model=f"openai/{model}", messages=messages, **given)


def ask_anthropic(user, messages, **more):
    return litellm.completion(
        model="anthropic/chat",
        messages=messages,
        api_base=BASE_URL,
        api_key=KEY,
        max_tokens=1024,
        user=user,
        **more,
    )


def text_of(completion):
    return completion.choices[0].message.content


@for_each(MODELS, "blocking")
def _(user, model):
    answer = ask(user, "hello", model)
    equal(text_of(answer).strip(), "Echo: hello")
    assert answer.usage.total_tokens > 0, answer
    only_run(user)


@for_each(MODELS, "streaming with usage")
def _(user, model):
    chunks = list(ask(user, "hello", model, stream=True, stream_options={"include_usage": True}))
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    equal("".join(texts).strip(), "Echo: hello")
    assert chunks[-1].usage.total_tokens > 0, chunks[-1]


@case("through the Anthropic door")
def _(user):
    equal(text_of(ask_anthropic(user, [said("hello")])), "Echo: hello")
    chunks = ask_anthropic(user, [said("hello")], stream=True)
    equal("".join(chunk.choices[0].delta.content or "" for chunk in chunks), "Echo: hello")


@case("thoughts apart from the answer")
def _(user):
    message = ask(user, "hello with-think").choices[0].message
    equal(message.content, "Echo: hello with-think")
    equal(message.reasoning_content.strip(), "They want an echo.")


@case("a picture")
def _(user):
    content = [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": PICTURE}},
    ]
    ask(user, [said(content)])
    (seen,) = only_run(user)["files"]
    assert seen.startswith("image ") and seen.endswith(PICTURE_SEEN), seen


@for_each(CHATS, "two turns of a chat")
def _(user, model):
    messages = [said("blue")]
    messages += [answered(text_of(ask(user, messages, model))), said("recall")]
    equal(text_of(ask(user, messages, model)), "Recall: blue")
    equal(len({run["conversation"] for run in runs(user)}), 1)


@case("the Responses API")
def _(user):
    given = {"model": "openai/chat", "api_base": f"{BASE_URL}/v1", "api_key": KEY, "user": user}
    first = litellm.responses(input="blue", **given)
    equal(first.output[-1].content[0].text, "Echo: blue")


@case("an error in mid-stream")
def _(user):
    error = raises(Exception, lambda: list(ask(user, "errmid please", stream=True)))
    assert "died in the middle" in str(error), error


@case("a wrong model and a wrong key")
def _(user):
    raises(litellm.NotFoundError, lambda: ask(user, "hello", "gpt-nothing"))
    raises(litellm.AuthenticationError, lambda: ask(user, "hello", api_key="sk-wrong"))


@case("transcription and speech")
def _(user):
    given = {"model": "openai/chat", "api_base": f"{BASE_URL}/v1", "api_key": KEY}
    # Without a format it asks for `verbose_json`, which Dify cannot give.
    sound = ("a.mp3", b"12345", "audio/mpeg")
    heard = litellm.transcription(file=sound, response_format="json", **given)
    equal(heard.text, "Heard 5 bytes of audio/mp3 in a.mp3")
    spoken = litellm.speech(input="hi", voice="alloy", **given).content
    assert spoken.endswith(b": hi"), spoken


@case("cancellation in mid-stream")
def _(user):
    stream = ask(user, "tokens 400 0.1", stream=True)
    for chunk in stream:
        if "tok2" in (chunk.choices[0].delta.content or ""):
            break
    stream.completion_stream.close()
    await_end(user, "stopped")


if __name__ == "__main__":
    run_all(f"litellm {importlib.metadata.version('litellm')}")
