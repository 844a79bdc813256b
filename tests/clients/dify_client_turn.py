"""Dify's own Python client against a gateway: a conversation, a stream, a file.

Usage: dify_client_turn.py BASE_URL USER_TOKEN
"""

import io
import json
import sys

from dify_client import ChatClient


def main() -> None:
    base_url, token = sys.argv[1:]
    client = ChatClient(token)
    client.base_url = base_url

    first = client.create_chat_message({}, "hello", "alice", "blocking")
    first.raise_for_status()
    home = first.headers["x-difygate-instance"]
    conversation = first.json()["conversation_id"]

    second = client.create_chat_message({}, "again", "alice", "blocking", conversation)
    second.raise_for_status()
    assert second.json()["conversation_id"] == conversation, second.text

    stream = client.create_chat_message({}, "stream", "alice", "streaming", conversation)
    stream.raise_for_status()
    events = [
        json.loads(line.removeprefix(b"data: "))["event"]
        for line in stream.iter_lines()
        if line.startswith(b"data: ")
    ]
    assert events[-1] == "message_end", events

    upload = client.file_upload("alice", {"file": ("a.txt", io.BytesIO(b"hello"), "text/plain")})
    upload.raise_for_status()

    messages = client.get_conversation_messages("alice", conversation)
    messages.raise_for_status()
    assert len(messages.json()["data"]) == 3, messages.text

    conversations = client.get_conversations("alice")
    conversations.raise_for_status()
    client.rename_conversation(conversation, "renamed", "alice").raise_for_status()
    client.get_application_parameters("alice").raise_for_status()

    answers = (second, stream, upload, messages, conversations)
    homes = {answer.headers["x-difygate-instance"] for answer in answers}
    assert homes == {home}, homes
    print(f"dify-client: 9 calls of alice, all answered by {home}")


main()
