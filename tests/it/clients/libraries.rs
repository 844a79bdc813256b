//! The client libraries people use, against the OpenAI and Anthropic ai: every script in
//! `tests/clients` prints a line for each of its cases, as `make clients-test` shows.

use std::fmt::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use dify_sim::{App, Dify, Ending, Field, FieldKind, Flow, Mode, Pace, Setup};
use difygate::cli::serve::Gateway;
use difygate::config::{self, Environment};
use tokio::net::TcpListener;
use tokio::process::Command;

/// The key of all apps; on these doors the model names the app.
const KEY: &str = "sk-clients";
/// The apps; an app that its Difys do not know comes on top.
const APPS: [&str; 8] =
    ["chat", "agent", "newagent", "chatflow", "chatflow2026", "completion", "workflow", "narrow"];

#[tokio::test]
async fn the_openai_library_for_python() {
    run("bin/python", "openai_python.py").await;
}

#[tokio::test]
async fn the_openai_library_for_python_and_responses() {
    run("bin/python", "openai_python_responses.py").await;
}

#[tokio::test]
async fn the_openai_library_for_python_where_it_gets_difficult() {
    run("bin/python", "openai_python_edges.py").await;
}

#[tokio::test]
async fn the_openai_library_for_node() {
    run("node/bin/node", "openai_node.mjs").await;
}

#[tokio::test]
async fn the_anthropic_library_for_python() {
    run("bin/python", "anthropic_python.py").await;
}

#[tokio::test]
async fn langchain() {
    run("bin/python", "langchain_chat.py").await;
}

#[tokio::test]
async fn litellm() {
    run("litellm/bin/python", "litellm_library.py").await;
}

/// Runs a script of `tests/clients` with one of the programs of `target/clients`.
async fn run(program: &str, script: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = root.join("target/clients").join(program);
    assert!(program.exists(), "the client is missing: `make clients` installs it");
    let difys = difys().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("difygate.yaml");
    std::fs::write(&path, configuration(&difys)).unwrap();
    let loaded = config::load(&path, &Environment::default()).unwrap();
    let gateway = Gateway::start(loaded.config, path, None).await.unwrap();
    let control = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let control_url = format!("http://{}", control.local_addr().unwrap());
    let named = (1..).zip(difys).map(|(number, dify)| (format!("dify{number}"), dify));
    tokio::spawn(dify_sim::control(control, named.collect()));
    let status = Command::new(program)
        .arg(root.join("tests/clients").join(script))
        .args([&format!("http://{}", gateway.listen()), &control_url, KEY])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .status()
        .await
        .unwrap();
    assert!(status.success(), "{script}: {status}");
}

/// Two Difys with an app of every mode.
async fn difys() -> Vec<Dify> {
    let mut difys = Vec::new();
    for number in 1..=2 {
        let app = |mode, name: &str| App::new(mode, format!("app-{name}-{number}"));
        let flow = |name: &str| app(Mode::AdvancedChat, name).with_flow(Flow::Llm);
        let question = Field::new("question", FieldKind::Paragraph).required();
        let apps = [
            app(Mode::Chat, "chat").with_uploads(["image", "document"]).with_speech(),
            app(Mode::AgentChat, "agent").with_uploads(["image"]),
            app(Mode::Agent, "newagent"),
            flow("chatflow"),
            flow("chatflow2026").with_ending(Ending::WorkflowFinished),
            app(Mode::Completion, "completion"),
            app(Mode::Workflow, "workflow")
                .with_flow(Flow::Llm)
                .with_form([question, Field::new("tone", FieldKind::TextInput)])
                .with_outputs(["answer"]),
            app(Mode::Chat, "narrow").with_max_active_requests(1),
        ];
        let pace = Pace { ping_interval: Duration::from_millis(200), ..Pace::default() };
        let setup =
            Setup::default().with_release(crate::rig::release()).with_slots(1000).with_pace(pace);
        let setup = apps.into_iter().fold(setup, Setup::with_app);
        difys.push(Dify::start(setup).await.unwrap());
    }
    difys
}

fn configuration(difys: &[Dify]) -> String {
    let mut text = "listen: 127.0.0.1:0\nadmin: { listen: 127.0.0.1:0 }\nworkers: 2\n\
        access_log: off\napps:\n"
        .to_owned();
    for app in APPS.into_iter().chain(["misconfigured"]) {
        writeln!(text, "  {app}:\n    user_tokens: [{KEY}]\n    instances:").unwrap();
        for (number, dify) in (1..).zip(difys) {
            let url = dify.url();
            writeln!(
                text,
                "      - {{ name: dify{number}, url: \"{url}\", token: app-{app}-{number} }}"
            )
            .unwrap();
        }
    }
    text
}
