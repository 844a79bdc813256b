"""LangChain's `ChatOpenAI` against the OpenAI door."""

import importlib.metadata

import openai
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
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI


def model_of(user, model="chat", **more):
    return ChatOpenAI(
        model=model,
        base_url=f"{BASE_URL}/v1",
        api_key=KEY,
        model_kwargs={"user": user},
        **more,
    )


@for_each(MODELS, "invoke")
def _(user, model):
    answer = model_of(user, model).invoke("hello")
    equal(answer.content.strip(), "Echo: hello")
    equal(answer.response_metadata["finish_reason"], "stop")
    assert answer.usage_metadata["total_tokens"] > 0, answer
    only_run(user)


@for_each(MODELS, "stream")
def _(user, model):
    chunks = list(model_of(user, model, stream_usage=True).stream("hello"))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    equal(whole.content.strip(), "Echo: hello")
    assert whole.usage_metadata["total_tokens"] > 0, whole


@case("a chain with a prompt, batched")
def _(user):
    prompt = ChatPromptTemplate.from_messages([("human", "hello {name}")])
    chain = prompt | model_of(user) | StrOutputParser()
    equal(chain.batch([{"name": "a"}, {"name": "b"}]), ["Echo: hello a", "Echo: hello b"])


@case("a system message reaches the app")
def _(user):
    model_of(user).invoke([SystemMessage("You are kind."), HumanMessage("hello")])
    run = only_run(user)
    assert "You are kind." in run["query"] + str(run["inputs"]), run


@case("a picture")
def _(user):
    content = [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": PICTURE}},
    ]
    model_of(user).invoke([HumanMessage(content)])
    (seen,) = only_run(user)["files"]
    assert seen.startswith("image ") and seen.endswith(PICTURE_SEEN), seen


@for_each(CHATS, "two turns of a chat")
def _(user, model):
    chat = model_of(user, model)
    messages = [HumanMessage("blue")]
    messages += [chat.invoke(messages), HumanMessage("recall")]
    equal(chat.invoke(messages).content, "Recall: blue")
    equal(len({run["conversation"] for run in runs(user)}), 1)


@case("the Responses API")
def _(user):
    chat = model_of(user, use_responses_api=True, use_previous_response_id=True)
    first = chat.invoke("blue")
    equal(first.text, "Echo: blue")
    second = chat.invoke([HumanMessage("blue"), first, HumanMessage("recall")])
    equal(second.text, "Recall: blue")
    pieces = [chunk.text for chunk in chat.stream("hello")]
    equal("".join(pieces), "Echo: hello")


@case("an error in mid-stream")
def _(user):
    error = raises(openai.APIError, lambda: list(model_of(user).stream("errmid please")))
    assert "died in the middle" in str(error), error


@case("a wrong model and a wrong key")
def _(user):
    error = raises(openai.NotFoundError, lambda: model_of(user, "gpt-nothing").invoke("hello"))
    equal(error.code, "model_not_found")
    other = ChatOpenAI(model="chat", base_url=f"{BASE_URL}/v1", api_key="sk-wrong")
    raises(openai.AuthenticationError, lambda: other.invoke("hello"))


@case("cancellation in mid-stream")
def _(user):
    stream = model_of(user).stream("tokens 400 0.1")
    for chunk in stream:
        if "tok2" in chunk.content:
            break
    stream.close()
    await_end(user, "stopped")


if __name__ == "__main__":
    run_all(f"langchain-openai {importlib.metadata.version('langchain-openai')}")
