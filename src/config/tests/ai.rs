//! Ai: what is read, inherited, and wrong.

use super::findings::{lines, shown, with};
use crate::config::{Ai, Config, Environment, Setting, Style, flatten, mark, parse};
use crate::model::ai::{History, HumanInput, MadeFiles, Reasoning, System, Tasks, UserForm};

fn good(text: &str) -> Config {
    let loaded = parse("gateway.yaml", text, &Environment::default());
    loaded.unwrap_or_else(|faults| panic!("{faults}")).config
}

#[test]
fn an_app_takes_what_it_leaves_out_from_the_top() {
    let app = |name: &str, ai: &str| {
        format!(
            "  {name}: {{ {ai} user_tokens: [t], instances: [{{ name: i, host: h, token: k }}] }}\n"
        )
    };
    let text = format!(
        "ai:\n  system: ignore\n  tasks: refuse\n  reasoning: inline\n  chat_id_headers: [X-A, X-B]\n  \
         user_jwt: {{ secret: hush }}\napps:\n{}{}",
        app(
            "a",
            "ai: { query_input: question, answer_output: answer, system: \"input:instructions\", \
             reasoning: drop, files: drop, human_input: error, tasks: in_chat, history: stateless, users: open_webui, \
             chat_id_headers: [], user_headers: [X-User], user_jwt: { header: X-Jwt, secret: other } },",
        ),
        app("b", ""),
    );
    let config = good(&text);
    let a = &config.apps[0].ai;
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
    let b = config.apps[1].ai.clone();
    let jwt = b.user_jwt.as_ref().unwrap();
    assert_eq!((&*jwt.header, jwt.secret.expose()), ("X-OpenWebUI-User-Jwt", "hush"));
    let top = Ai {
        system: System::Ignore,
        tasks: Tasks::Refuse,
        reasoning: Reasoning::Inline,
        chat_id_headers: vec!["X-A".to_owned(), "X-B".to_owned()],
        user_jwt: b.user_jwt.clone(),
        ..Ai::default()
    };
    assert_eq!(b, top);
}

#[test]
fn without_ai_everything_has_its_default() {
    let ai = good(&with("")).apps[0].ai.clone();
    assert_eq!(ai, Ai::default());
    assert_eq!(ai.system, System::Auto);
    assert_eq!(ai.chat_id_headers, ["X-OpenWebUI-Chat-Id"]);
    assert_eq!(ai.user_headers, ["X-OpenWebUI-User-Id"]);
}

#[test]
fn the_former_name_still_works_and_the_new_one_is_named() {
    let text = with("doors: { tasks: refuse }").replace(
        "apps:\n",
        "apps:\n  old: { doors: { users: open_webui }, user_tokens: [t], instances: [{ name: i, host: h, token: k }] }\n",
    );
    let loaded = parse("gateway.yaml", &text, &Environment::default()).unwrap();
    let ai = &loaded.config.apps["old"].ai;
    assert_eq!((ai.tasks, ai.users), (Tasks::Refuse, UserForm::OpenWebUi));
    let warnings = loaded.warnings.to_string();
    assert_eq!(warnings.matches("warning: `doors` is now called `ai`").count(), 2, "{warnings}");
    assert!(warnings.starts_with("gateway.yaml:1:1: "), "{warnings}");
    assert!(loaded.warnings.render(Style::Plain).contains("rename it"));
    let changes = loaded.changes.to_string();
    assert!(changes.contains("gateway.yaml:1:1: note: 0.1 called this `doors`"), "{changes}");

    let wrong = lines(&with("doors: { history: never }"));
    assert!(wrong.contains("1:19: error: "), "{wrong}");
    let both = lines(&with("ai: { tasks: refuse }\ndoors: { tasks: aside }"));
    let message = "gateway.yaml:2:1: error: `ai` is written twice, under two names";
    assert_eq!(both, message);
    assert!(!lines(&with("doorz: {}")).contains("`doors`"));
}

#[test]
fn what_is_wrong_with_ai_is_said_with_its_place() {
    for (ai, finding) in [
        ("{ system: input }", "1:15: error: `system` must be `auto`, `ignore`, `prefix` or"),
        ("{ system: \"input:a b\" }", "1:15: error: `system` must be"),
        ("{ query_input: a-b }", "1:20: error: this is not the name of a variable"),
        ("{ answer_output: \"\" }", "1:22: error: this is not the name of a variable"),
        ("{ chat_id_headers: [X-A, \"X B\"] }", "1:30: error: this is not the name of a header"),
        ("{ task_words: [title, \" \"] }", "this word is empty"),
        ("{ user_jwt: { header: \"\", secret: s } }", "this is not the name of a header"),
        ("{ user_jwt: { secret: \"\" } }", "the secret of `user_jwt` is empty"),
        ("{ user_jwt: { header: X-A } }", "`secret` is missing"),
        ("{ history: never }", "1:16: error:"),
        ("{ user_jwt: { token: hush } }", "did you mean `secret`?"),
    ] {
        let text = with(&format!("ai: {ai}"));
        let both = format!("{}\n{}", lines(&text), shown(&text));
        assert!(both.contains(finding), "{ai}: {both}");
        assert!(!both.contains("hush"), "{both}");
    }
}

#[test]
fn a_plan_sees_the_settings_of_ai_and_not_what_users_are_signed_with() {
    let text = with("ai: { system: \"input:x\", user_jwt: { secret: hush } }");
    let shape = flatten(&good(&text), &|secret| Some(mark("salt", secret)));
    let (_, app) = shape.apps.first().unwrap();
    let open = |value: serde_json::Value| Some(Setting::Open(value));
    assert_eq!(app.settings.get("ai.system").cloned(), open("input:x".into()));
    assert_eq!(app.settings.get("ai.users").cloned(), open("keyed".into()));
    let headers = ["X-OpenWebUI-Chat-Id"];
    assert_eq!(app.settings.get("ai.chat_id_headers").cloned(), open(headers[..].into()));
    assert!(matches!(app.settings["ai.user_jwt.secret"], Setting::Secret(Some(_))));
    assert!(!serde_json::to_string(&shape).unwrap().contains("hush"));
}
