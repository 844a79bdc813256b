//! Doors: what is read, inherited, and wrong.

use super::tests_findings::{lines, shown, with};
use super::{Config, Doors, Environment, Setting, mark, parse, shape};
use crate::model::doors::{History, HumanInput, MadeFiles, Reasoning, System, Tasks, UserForm};

fn good(text: &str) -> Config {
    let loaded = parse("gateway.yaml", text, &Environment::default());
    loaded.unwrap_or_else(|faults| panic!("{faults}")).config
}

#[test]
fn an_app_takes_what_it_leaves_out_from_the_top() {
    let app = |name: &str, doors: &str| {
        format!(
            "  {name}: {{ {doors} user_tokens: [t], instances: [{{ name: i, host: h, token: k }}] }}\n"
        )
    };
    let text = format!(
        "doors:\n  system: ignore\n  tasks: refuse\n  reasoning: inline\n  chat_id_headers: [X-A, X-B]\n  \
         user_jwt: {{ secret: hush }}\napps:\n{}{}",
        app(
            "a",
            "doors: { query_input: question, answer_output: answer, system: \"input:instructions\", \
             reasoning: drop, files: drop, human_input: error, tasks: in_chat, history: stateless, users: open_webui, \
             chat_id_headers: [], user_headers: [X-User], user_jwt: { header: X-Jwt, secret: other } },",
        ),
        app("b", ""),
    );
    let config = good(&text);
    let a = &config.apps[0].doors;
    assert_eq!(
        (a.query_input.as_deref(), a.answer_output.as_deref()),
        (Some("question"), Some("answer"))
    );
    assert_eq!(a.system, System::Input("instructions".to_owned()));
    assert_eq!((a.reasoning, a.files), (Reasoning::Drop, MadeFiles::Drop));
    assert_eq!(a.human_input, HumanInput::Error);
    assert_eq!(
        (a.tasks, a.history, a.users),
        (Tasks::InChat, History::Stateless, UserForm::OpenWebUi)
    );
    assert_eq!(
        (&a.chat_id_headers[..], &a.user_headers[..]),
        (&[][..], &["X-User".to_owned()][..])
    );
    let jwt = a.user_jwt.as_ref().unwrap();
    assert_eq!((&*jwt.header, jwt.secret.expose()), ("X-Jwt", "other"));
    let b = config.apps[1].doors.clone();
    let jwt = b.user_jwt.as_ref().unwrap();
    assert_eq!((&*jwt.header, jwt.secret.expose()), ("X-OpenWebUI-User-Jwt", "hush"));
    let top = Doors {
        system: System::Ignore,
        tasks: Tasks::Refuse,
        reasoning: Reasoning::Inline,
        chat_id_headers: vec!["X-A".to_owned(), "X-B".to_owned()],
        user_jwt: b.user_jwt.clone(),
        ..Doors::default()
    };
    assert_eq!(b, top);
}

#[test]
fn without_doors_everything_has_its_default() {
    let doors = good(&with("")).apps[0].doors.clone();
    assert_eq!(doors, Doors::default());
    assert_eq!(doors.system, System::Auto);
    assert_eq!(doors.chat_id_headers, ["X-OpenWebUI-Chat-Id"]);
    assert_eq!(doors.user_headers, ["X-OpenWebUI-User-Id"]);
}

#[test]
fn what_is_wrong_with_doors_is_said_with_its_place() {
    for (doors, finding) in [
        ("{ system: input }", "1:18: error: `system` must be `auto`, `ignore`, `prefix` or"),
        ("{ system: \"input:a b\" }", "1:18: error: `system` must be"),
        ("{ query_input: a-b }", "1:23: error: this is not the name of a variable"),
        ("{ answer_output: \"\" }", "1:25: error: this is not the name of a variable"),
        ("{ chat_id_headers: [X-A, \"X B\"] }", "1:33: error: this is not the name of a header"),
        ("{ task_words: [title, \" \"] }", "this word is empty"),
        ("{ user_jwt: { header: \"\", secret: s } }", "this is not the name of a header"),
        ("{ user_jwt: { secret: \"\" } }", "the secret of `user_jwt` is empty"),
        ("{ user_jwt: { header: X-A } }", "`secret` is missing"),
        ("{ history: never }", "1:19: error:"),
        ("{ user_jwt: { token: hush } }", "did you mean `secret`?"),
    ] {
        let text = with(&format!("doors: {doors}"));
        let both = format!("{}\n{}", lines(&text), shown(&text));
        assert!(both.contains(finding), "{doors}: {both}");
        assert!(!both.contains("hush"), "{both}");
    }
}

#[test]
fn a_plan_sees_the_doors_and_not_what_users_are_signed_with() {
    let text = with("doors: { system: \"input:x\", user_jwt: { secret: hush } }");
    let shape = shape(&good(&text), &|secret| Some(mark("salt", secret)));
    let (_, app) = shape.apps.first().unwrap();
    let open = |value: serde_json::Value| Some(Setting::Open(value));
    assert_eq!(app.settings.get("doors.system").cloned(), open("input:x".into()));
    assert_eq!(app.settings.get("doors.users").cloned(), open("keyed".into()));
    let headers = ["X-OpenWebUI-Chat-Id"];
    assert_eq!(app.settings.get("doors.chat_id_headers").cloned(), open(headers[..].into()));
    assert!(matches!(app.settings["doors.user_jwt.secret"], Setting::Secret(Some(_))));
    assert!(!serde_json::to_string(&shape).unwrap().contains("hush"));
}
