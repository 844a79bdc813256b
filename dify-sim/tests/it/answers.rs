//! What answers hold beside text, files, forms, speech, and what the log of runs says.

use crate::client::Client;
use crate::{ask, dify, get, post, setup};
use dify_sim::{App, Dify, Ending, Field, FieldKind, Flow, Mode, Ran, RunEnd};
use serde_json::{Value, json};

fn query(key: &str, query: &str) -> Vec<u8> {
    body(key, json!({"query": query}))
}

fn body(key: &str, more: Value) -> Vec<u8> {
    let mut body = json!({"inputs": {}, "response_mode": "streaming", "user": "alice"});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    let path = match key {
        "workflow" => "/v1/workflows/run",
        "completion" => "/v1/completion-messages",
        _ => "/v1/chat-messages",
    };
    post(path, key, &body)
}

/// The events of a stream.
async fn events(dify: &Dify, request: &[u8]) -> Vec<Value> {
    let answer = ask(dify, request).await;
    assert!(answer.complete, "{}", answer.head);
    let lines = answer.chunks.iter().filter_map(|chunk| chunk.strip_prefix("data: "));
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn names(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["event"].as_str().unwrap()).collect()
}

/// The text of all pieces.
fn text(events: &[Value]) -> String {
    let pieces = events.iter().filter(|event| event["event"].as_str().unwrap().contains("message"));
    pieces.filter_map(|event| event["answer"].as_str()).collect()
}

fn json_of(answer: &Client) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

async fn with(app: App) -> Dify {
    let setup = dify_sim::Setup::default().with_release(dify_sim::Release::V1_5);
    Dify::start(setup.with_app(app)).await.unwrap()
}

#[tokio::test]
async fn a_model_thinks_in_tags_that_no_event_holds_whole() {
    let dify = dify().await;
    for key in ["chat", "agent-chat"] {
        let events = events(&dify, &query(key, "hello with-think")).await;
        let whole = "<think>\nThey want an echo.\n</think>\n\nEcho: hello with-think";
        assert_eq!(text(&events), whole);
        assert!(!events.iter().any(|event| event["answer"].as_str() == Some("<think>")));
    }
}

#[tokio::test]
async fn an_agent_sends_the_thought_that_calls_a_tool_as_it_fills_up() {
    let dify = dify().await;
    let events = events(&dify, &query("agent-chat", "hello with-tool")).await;
    let thoughts: Vec<_> =
        events.iter().filter(|event| event["event"] == "agent_thought").collect();
    assert_eq!(thoughts.len(), 5);
    assert!(thoughts[..3].iter().all(|thought| thought["id"] == thoughts[0]["id"]));
    assert_eq!((&thoughts[0]["thought"], &thoughts[0]["tool"]), (&json!(""), &json!("")));
    assert_eq!(thoughts[1]["tool"], "search");
    assert_eq!(thoughts[1]["tool_input"], r#"{"search": {"query": "hello with-tool"}}"#);
    assert_eq!((&thoughts[1]["observation"], &thoughts[1]["position"]), (&json!(""), &json!(1)));
    assert_eq!(thoughts[2]["observation"], r#"{"search": "found"}"#);
    assert_eq!(thoughts[4]["position"], 2);
    assert_eq!(thoughts[4]["thought"], text(&events));
}

#[tokio::test]
async fn a_new_agent_sends_its_answer_twice_and_only_in_streams() {
    let dify = with(App::new(Mode::Agent, "agent")).await;
    let events = events(&dify, &query("agent", "hello")).await;
    let end = names(&events);
    let pieces: String = events
        .iter()
        .filter(|event| event["event"] == "agent_message")
        .filter_map(|event| event["answer"].as_str())
        .collect();
    assert_eq!(end[end.len() - 2..], ["message", "message_end"]);
    assert_eq!(events[events.len() - 2]["answer"], pieces);
    let blocking = body("agent", json!({"query": "hello", "response_mode": "blocking"}));
    assert!(ask(&dify, &blocking).await.head.starts_with("HTTP/1.1 400"));
    assert_eq!(json_of(&ask(&dify, &get("/v1/info", "agent")).await)["mode"], "agent");
}

#[tokio::test]
async fn pictures_replacements_and_sources_come_after_the_text() {
    let chatflow = App::new(Mode::AdvancedChat, "advanced-chat").with_flow(Flow::Llm);
    let dify = Dify::start(setup().with_app(chatflow)).await.unwrap();
    for key in ["chat", "agent-chat", "advanced-chat"] {
        let asked = query(key, "hello with-picture with-replacement with-sources");
        let events = events(&dify, &asked).await;
        let find = |name: &str| events.iter().find(|event| event["event"] == name).unwrap();
        assert_eq!(find("message_file")["type"], "image");
        assert_eq!(find("message_file")["belongs_to"], "assistant");
        assert_eq!(find("message_replace")["answer"], "This answer was withdrawn.");
        let sources = &find("message_end")["metadata"]["retriever_resources"];
        assert_eq!(sources[0]["document_name"], "returns.md");
        assert_eq!(sources.as_array().unwrap().len(), 2);
        let conversation = events[0]["conversation_id"].as_str().unwrap();
        let list = format!("/v1/messages?user=alice&conversation_id={conversation}");
        let list = json_of(&ask(&dify, &get(&list, key)).await);
        assert_eq!(list["data"][0]["answer"], "This answer was withdrawn.");
    }
}

#[tokio::test]
async fn a_chatflow_reasons_apart_and_ends_in_either_order() {
    for (ending, last) in [
        (Ending::MessageEnd, ["workflow_finished", "message_end"]),
        (Ending::WorkflowFinished, ["message_end", "workflow_finished"]),
    ] {
        let app = App::new(Mode::AdvancedChat, "flow").with_flow(Flow::Llm).with_ending(ending);
        let dify = with(app).await;
        let events = events(&dify, &query("flow", "hello with-reasoning")).await;
        let names = names(&events);
        assert_eq!(names[names.len() - 2..], last);
        let chunks: Vec<_> =
            events.iter().filter(|event| event["event"] == "reasoning_chunk").collect();
        assert_eq!(chunks[0]["data"]["reasoning"], "They want ");
        assert_eq!(chunks[0]["data"]["message_id"], events[0]["message_id"]);
        assert_eq!(chunks[2]["data"]["is_final"], true);
    }
}

#[tokio::test]
async fn a_conversation_recalls_its_turns() {
    let dify = dify().await;
    let first = events(&dify, &query("chat", "recall")).await;
    assert_eq!(text(&first), "Recall: nothing");
    let conversation = &first[0]["conversation_id"];
    let more = json!({"query": "blue", "conversation_id": conversation});
    ask(&dify, &body("chat", more)).await;
    let more = json!({"query": "a transcript\nUser: recall", "conversation_id": conversation});
    assert_eq!(text(&events(&dify, &body("chat", more)).await), "Recall: recall | blue");
}

#[tokio::test]
async fn files_are_named_in_the_answer_wherever_they_are() {
    let app = App::new(Mode::Workflow, "workflow").with_flow(Flow::Llm).with_form([
        Field::new("pictures", FieldKind::FileList),
        Field::new("question", FieldKind::Paragraph).required(),
    ]);
    let dify = Dify::start(setup().with_app(app)).await.unwrap();
    let form = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.png\"\r\n\
        Content-Type: image/png\r\n\r\nPNG\r\n--b\r\nContent-Disposition: form-data; \
        name=\"user\"\r\n\r\nalice\r\n--b--\r\n";
    let upload = |path: &str, key: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\nContent-Type: \
             multipart/form-data; boundary=b\r\nContent-Length: {}\r\n\r\n{form}",
            form.len()
        )
    };
    let id = json_of(&ask(&dify, upload("/v1/files/upload", "chat").as_bytes()).await);
    let file =
        json!({"type": "image", "transfer_method": "local_file", "upload_file_id": id["id"]});
    let far = json!({"type": "image", "transfer_method": "remote_url", "url": "https://a.b/c.png"});
    let named = " [image a.png image/png 3 bytes local_file] [image https://a.b/c.png remote_url]";
    for key in ["chat", "agent-chat"] {
        let asked = body(key, json!({"query": "look", "files": [file, far]}));
        assert_eq!(text(&events(&dify, &asked).await), format!("Echo: look{named}"));
    }
    let inputs = json!({"question": "look", "pictures": [file, far]});
    let events = events(&dify, &body("workflow", json!({"inputs": inputs}))).await;
    assert_eq!(events.last().unwrap()["data"]["outputs"]["out"], format!("Echo: look{named}"));
    let wrong =
        json!({"type": "audio", "transfer_method": "local_file", "upload_file_id": id["id"]});
    let wrong = ask(&dify, &body("chat", json!({"query": "look", "files": [wrong]}))).await;
    assert!(json_of(&wrong)["message"].as_str().unwrap().starts_with("Detected file type"));
}

#[tokio::test]
async fn a_workflow_has_the_inputs_and_outputs_it_is_given() {
    let size = FieldKind::Select(vec!["s".to_owned(), "m".to_owned()]);
    let app = App::new(Mode::Workflow, "workflow")
        .with_flow(Flow::Llm)
        .with_form([
            Field::new("question", FieldKind::TextInput).required().with_max_length(9),
            Field::new("size", size),
            Field::new("count", FieldKind::Number),
        ])
        .with_outputs(["answer", "summary"]);
    let dify = with(app).await;
    let form = json_of(&ask(&dify, &get("/v1/parameters", "workflow")).await);
    assert_eq!(form["user_input_form"][0]["text-input"]["variable"], "question");
    assert_eq!(form["user_input_form"][1]["select"]["options"], json!(["s", "m"]));
    let events = events(&dify, &body("workflow", json!({"inputs": {"question": "hi"}}))).await;
    let outputs = json!({"answer": "Echo: hi", "summary": "summary of Echo: hi"});
    assert_eq!(events.last().unwrap()["data"]["outputs"], outputs);
    let chunks = events.iter().filter(|event| event["event"] == "text_chunk");
    let chunks: Vec<_> = chunks.map(|chunk| &chunk["data"]["from_variable_selector"]).collect();
    let (answer, summary) = (json!(["llm", "text"]), json!(["summary", "text"]));
    assert_eq!(chunks, [&answer, &answer, &summary]);
    for (inputs, text) in [
        (json!({}), "question is required in input form"),
        (json!({"question": "much too long"}), "question in input form must be less than 9"),
        (json!({"question": "hi", "size": "xl"}), "size in input form must be one of"),
        (json!({"question": "hi", "count": "many"}), "count in input form must be a valid number"),
    ] {
        let refused = ask(&dify, &body("workflow", json!({"inputs": inputs}))).await;
        let message = json_of(&refused)["message"].as_str().unwrap().to_owned();
        assert!(message.starts_with(text), "{message}");
    }
}

#[tokio::test]
async fn an_app_says_what_it_takes_hears_and_speaks() {
    let app = App::new(Mode::Chat, "app").with_uploads(["image", "document"]).with_speech();
    let dify = with(app).await;
    let says = json_of(&ask(&dify, &get("/v1/parameters", "app")).await);
    assert_eq!(says["speech_to_text"]["enabled"], true);
    assert_eq!(says["text_to_speech"]["enabled"], true);
    assert_eq!(says["file_upload"]["image"]["enabled"], true);
    assert_eq!(says["file_upload"]["allowed_file_types"], json!(["image", "document"]));
    let hear = |kind: &str| {
        let form = format!(
            "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\n\
             Content-Type: {kind}\r\n\r\n12345\r\n--b--\r\n"
        );
        format!(
            "POST /v1/audio-to-text HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer app\r\n\
             Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {}\r\n\r\n{form}",
            form.len()
        )
    };
    let heard = ask(&dify, hear("audio/mp3").as_bytes()).await;
    assert_eq!(json_of(&heard), json!({"text": "Heard 5 bytes of audio/mp3 in a.mp3"}));
    let refused = ask(&dify, hear("audio/mpeg").as_bytes()).await;
    assert!(refused.head.starts_with("HTTP/1.1 415"));
    assert_eq!(json_of(&refused)["code"], "unsupported_audio_type");
    let asked = post("/v1/text-to-audio", "app", &json!({"text": "hi", "user": "alice"}));
    let spoken = ask(&dify, &asked).await;
    assert_eq!(spoken.header("Content-Type"), Some("audio/mpeg"));
    assert!(spoken.body.starts_with(b"ID3") && spoken.body.ends_with(b"voice default: hi"));
}

#[tokio::test]
async fn the_log_of_runs_says_what_came_and_how_it_ended() {
    let dify = dify().await;
    let asked = json!({"query": "hello", "inputs": {"tone": "kind"}, "auto_generate_name": false});
    ask(&dify, &body("chat", asked)).await;
    ask(&dify, &query("chat", "errmid")).await;
    let mut client = Client::send(dify.addr(), &query("agent-chat", "tokens 9 3600")).await;
    client.read_chunks(1).await;
    let running = dify.wait_for_run(|ran| ran.key == "agent-chat").await.unwrap();
    assert_eq!(running.end, RunEnd::Running);
    let stop = format!("/v1/chat-messages/{}/stop", running.task);
    ask(&dify, &post(&stop, "agent-chat", &json!({"user": "alice"}))).await;
    let stopped = |ran: &Ran| ran.end == RunEnd::Stopped;
    assert_eq!(dify.wait_for_run(stopped).await.unwrap().task, running.task);
    let mut left = Client::send(dify.addr(), &query("chat", "tokens 99 0.02")).await;
    left.read_chunks(1).await;
    drop(left);
    dify.wait_for_run(|ran| ran.end == RunEnd::Left).await.unwrap();
    let runs = dify.runs();
    let ends: Vec<_> = runs.iter().map(|ran| ran.end.name()).collect();
    assert_eq!(ends, ["succeeded", "failed", "stopped", "left"]);
    assert_eq!(runs[0].inputs, json!({"tone": "kind"}));
    assert!(!runs[0].auto_generate_name && runs[1].auto_generate_name);
    assert!(runs[0].streamed && !runs[0].continued && runs[0].conversation.is_some());
}
