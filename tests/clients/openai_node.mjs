// The official `openai` library for Node.js against the OpenAI door.
//
// Started as the scripts in Python are; see `cases.py`. The library is below target/clients/node.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import process from "node:process";

const require = createRequire(new URL("../../target/clients/node/", import.meta.url));
const OpenAI = require("openai");
const { VERSION: version } = require("openai/version.js");

const [baseUrl, controlUrl, key] = process.argv.slice(2);
const CHATS = ["chat", "agent", "newagent", "chatflow", "chatflow2026"];
const MODELS = [...CHATS, "completion", "workflow"];
const PICTURE =
  "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

const client = new OpenAI({ baseURL: `${baseUrl}/v1`, apiKey: key });
const cases = [];

function forEach(models, name, run) {
  for (const model of models) {
    cases.push([`${name}, ${model}`, (user) => run(user, model)]);
  }
}

/** The runs of a user at all instances, oldest first. */
async function runs(user) {
  const get = async (where) => (await fetch(controlUrl + where)).json();
  const found = [];
  for (const { name } of await get("/instances")) {
    found.push(...(await get(`/instances/${name}/runs`)).filter((run) => run.user.endsWith(user)));
  }
  return found;
}

/** Waits until the only run of the user has ended so. */
async function awaitEnd(user, end) {
  for (const deadline = Date.now() + 20_000; ; ) {
    const [run, ...others] = await runs(user);
    assert.equal(others.length, 0);
    if (run?.end === end) return;
    assert.ok(run?.end === "running" && Date.now() < deadline, JSON.stringify(run));
    await new Promise((wake) => setTimeout(wake, 50));
  }
}

const said = (content) => ({ role: "user", content });
const answered = (content) => ({ role: "assistant", content });

function ask(user, messages, model = "chat", more = {}) {
  if (typeof messages === "string") messages = [said(messages)];
  return client.chat.completions.create({ model, messages, user, ...more });
}

const textOf = (completion) => completion.choices[0].message.content;

cases.push(["list models", async () => {
  const models = [];
  for await (const model of client.models.list()) models.push(model.id);
  for (const model of MODELS) assert.ok(models.includes(model), models);
  assert.equal((await client.models.retrieve("chat")).id, "chat");
}]);

forEach(MODELS, "blocking", async (user, model) => {
  const answer = await ask(user, "hello", model);
  assert.equal(textOf(answer).trim(), "Echo: hello");
  assert.equal(answer.choices[0].finish_reason, "stop");
  assert.ok(answer.usage.total_tokens > 0);
});

forEach(MODELS, "streaming with usage", async (user, model) => {
  const stream = await ask(user, "hello", model, {
    stream: true,
    stream_options: { include_usage: true },
  });
  let text = "";
  let last;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta.content ?? "";
    last = chunk;
  }
  assert.equal(text.trim(), "Echo: hello");
  assert.deepEqual(last.choices, []);
  assert.ok(last.usage.total_tokens > 0);
});

cases.push(["a picture", async (user) => {
  const content = [
    { type: "text", text: "look" },
    { type: "image_url", image_url: { url: PICTURE } },
  ];
  await ask(user, [said(content)]);
  const [run] = await runs(user);
  assert.match(run.files[0], /^image .* image\/png \d+ bytes local_file$/);
}]);

forEach(["chat", "chatflow"], "an error in mid-stream", async (user, model) => {
  const stream = await ask(user, "errmid please", model, { stream: true });
  let text = "";
  await assert.rejects(async () => {
    for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? "";
  }, (error) => error instanceof OpenAI.APIError && /died in the middle/.test(error.message));
  assert.equal(text, "Echo: errmid ");
});

cases.push(["an error of the model, blocking", async (user) => {
  await assert.rejects(() => ask(user, "errmid please"), OpenAI.InternalServerError);
  assert.equal((await runs(user)).length, 1);
}]);

cases.push(["a wrong model", async (user) => {
  await assert.rejects(
    () => ask(user, "hello", "gpt-nothing"),
    (error) => error instanceof OpenAI.NotFoundError && error.code === "model_not_found",
  );
}]);

cases.push(["a wrong key", async (user) => {
  const other = new OpenAI({ baseURL: `${baseUrl}/v1`, apiKey: "sk-wrong" });
  await assert.rejects(
    () => other.chat.completions.create({ model: "chat", messages: [said("hello")], user }),
    (error) => error instanceof OpenAI.AuthenticationError && error.code === "invalid_api_key",
  );
}]);

forEach(["chat", "chatflow", "workflow"], "cancellation in mid-stream", async (user, model) => {
  const stream = await ask(user, "tokens 400 0.1", model, { stream: true });
  for await (const chunk of stream) {
    if (chunk.choices[0]?.delta.content?.includes("tok2")) break;
  }
  await awaitEnd(user, "stopped");
});

forEach(CHATS, "two turns of a chat", async (user, model) => {
  const messages = [said("blue")];
  messages.push(answered(textOf(await ask(user, messages, model))), said("recall"));
  assert.equal(textOf(await ask(user, messages, model)), "Recall: blue");
});

cases.push(["edited and regenerated turns leave the conversation alone", async (user) => {
  const messages = [said("blue")];
  messages.push(answered(textOf(await ask(user, messages))), said("green"));
  const second = textOf(await ask(user, messages));
  await ask(user, messages);
  assert.equal(textOf(await ask(user, [...messages.slice(0, 2), said("recall")])), "Recall: nothing");
  messages.push(answered(second), said("recall"));
  assert.equal(textOf(await ask(user, messages)), "Recall: blue | green");
}]);

cases.push(["responses that go on, streaming", async (user) => {
  const first = await client.responses.create({ model: "chat", input: "blue", user });
  assert.equal(first.output_text, "Echo: blue");
  const kinds = [];
  let text = "";
  const given = { model: "chat", input: "recall", user, previous_response_id: first.id };
  for await (const event of await client.responses.create({ ...given, stream: true })) {
    kinds.push(event.type);
    if (event.type === "response.output_text.delta") text += event.delta;
  }
  assert.equal(text, "Recall: blue");
  assert.equal(kinds[0], "response.created");
  assert.equal(kinds.at(-1), "response.completed");
}]);

cases.push(["transcription and speech", async () => {
  const file = await OpenAI.toFile(Buffer.from("12345"), "a.mp3", { type: "audio/mpeg" });
  const heard = await client.audio.transcriptions.create({ model: "chat", file });
  assert.equal(heard.text, "Heard 5 bytes of audio/mp3 in a.mp3");
  const spoken = await client.audio.speech.create({ model: "chat", input: "hi", voice: "alloy" });
  const sound = Buffer.from(await spoken.arrayBuffer());
  assert.ok(sound.toString("latin1").endsWith(": hi"));
}]);

cases.push(["legacy completions", async (user) => {
  const answer = await client.completions.create({ model: "completion", prompt: "hello", user });
  assert.equal(answer.choices[0].text.trim(), "Echo: hello");
}]);

let failed = 0;
for (const [number, [name, run]] of cases.entries()) {
  const start = performance.now();
  try {
    await run(`openai-node-${number}`);
    const seconds = ((performance.now() - start) / 1000).toFixed(2);
    console.log(`openai-node ${version}: ${name}: ok, ${seconds} s`);
  } catch (error) {
    failed += 1;
    console.log(`openai-node ${version}: ${name}: FAILED\n${error.stack}`);
  }
}
console.log(`openai-node ${version}: ${cases.length - failed} of ${cases.length} cases passed`);
process.exit(failed === 0 ? 0 : 1);
