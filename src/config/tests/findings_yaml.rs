//! Findings about the text itself, the environment and files, as an operator sees them.

use super::findings::{lines, shown, with};
use crate::config::{Environment, Style, parse};

#[test]
fn a_value_from_the_environment_is_not_repeated() {
    let text = with("listen: ${PORT}");
    let env = Environment {
        vars: [("PORT".into(), "4711".into())].into(),
        base: "/".into(),
        ..Environment::default()
    };
    let faults = parse("gateway.yaml", &text, &env).unwrap_err();
    assert!(!faults.render(Style::Plain).contains("4711"), "{faults}");
}

#[test]
fn both_spellings_of_apps() {
    let text = with("").replace("apps:", "apps: &a") + "applications: *a\n";
    insta::assert_snapshot!(shown(&text), @"
    error: `apps` is written twice, under two names
     --> gateway.yaml:6:1
      |
    6 | applications: *a
      | ^^^^^^^^^^^^
    ");
}

#[test]
fn a_key_twice() {
    insta::assert_snapshot!(shown(&with("workers: 1\nworkers: 2")), @"
    error: `workers` is written twice
     --> gateway.yaml:2:1
      |
    2 | workers: 2
      | ^^^^^^^
      |
     ::: gateway.yaml:1:1
      |
    1 | workers: 1
      | ------- first written here
      |
      = hint: remove one of them
    ");
}

#[test]
fn a_variable_that_is_not_set() {
    insta::assert_snapshot!(shown(&with("workers: ${WORKERS}")), @"
    error: the environment variable `WORKERS` is not set
     --> gateway.yaml:1:10
      |
    1 | workers: ${WORKERS}
      |          ^^^^^^^^^^
      |
      = hint: set it, or write `${WORKERS:-default}`
    ");
}

#[test]
fn a_reference_that_is_none() {
    insta::assert_snapshot!(shown(&with("workers: ${WORKERS:?needed}")), @"
    error: this `${…}` is not understood
     --> gateway.yaml:1:10
      |
    1 | workers: ${WORKERS:?needed}
      |          ^^^^^^^^^^^^^^^^^^
      |
      = hint: write `${NAME}` or `${NAME:-default}`, and `$${` for a plain `${`
    ");
}

#[test]
fn secrets_whose_files_are_not_good() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("empty"), "\n").unwrap();
    std::fs::write(folder.path().join("binary"), [0xff, 0xfe]).unwrap();
    std::fs::write(folder.path().join("large"), vec![b'a'; 70_000]).unwrap();
    let text = with("admin: { token: file:./none }")
        .replace("[user-1]", "[file:./empty, file:./binary, file:./large]")
        .replace("key-1", "file:.");
    let env =
        Environment { vars: [].into(), base: folder.path().to_owned(), ..Environment::default() };
    let faults = parse("gateway.yaml", &text, &env).unwrap_err();
    insta::assert_snapshot!(faults.to_string(), @"
    gateway.yaml:1:17: error: this secret's file cannot be read: no such file
    gateway.yaml:4:19: error: this secret's file is empty
    gateway.yaml:4:33: error: this secret's file is not text
    gateway.yaml:4:48: error: this secret's file is larger than 64KiB
    gateway.yaml:5:46: error: this secret's path is not a file
    ");
    insta::assert_snapshot!(faults.render(Style::Plain).split("\n\n").next().unwrap(), @"
    error: this secret's file cannot be read: no such file
     --> gateway.yaml:1:17
      |
    1 | admin: { token: file:./none }
      |                 ^^^^^^^^^^^
      |
      = hint: a relative path starts at the configuration's folder
    ");
}

#[test]
fn text_that_is_not_yaml() {
    insta::assert_snapshot!(shown("apps:\n  a: { token: key-1, user_tokens: [user-1\n"), @"
    error: this is not YAML: unclosed bracket '['
     --> gateway.yaml:2:35
      |
    2 |   a: { token: ***, user_tokens: [***
      |                                 ^
      |
      = hint: look at indentation, quotes and brackets here and just above
    ");
    insta::assert_snapshot!(shown("apps:\n\ta: b\n"), @"
    error: this is not YAML: tabs disallowed within this context (block indentation)
     --> gateway.yaml:2:2
      |
    2 |     a: ***
      |     ^
      |
      = hint: indent with spaces
    ");
    insta::assert_snapshot!(shown("name: a token: key-1\n"), @"
    error: this is not YAML: mapping values are not allowed in this context
     --> gateway.yaml:1:14
      |
    1 | name: a token: ***
      |              ^
      |
      = hint: a comma or a line break may be missing, or quotes around a text with `: `
    ");
    insta::assert_snapshot!(shown("apps: *none\n"), @"
    error: this is not YAML: there is no anchor of this name
     --> gateway.yaml:1:7
      |
    1 | apps: *none
      |       ^
      |
      = hint: an anchor `&name` must come before its `*name`
    ");
}

#[test]
fn yaml_that_has_no_meaning_here() {
    let texts = [
        "- a",
        "just text",
        "a: !custom b",
        "a: b\n---\nc: d",
        "[a]: b",
        "a: &a { b: *a }",
        "? { a: b }\n: c",
        "<<: text",
        "a: &a b\n*a : c",
    ];
    let all: Vec<_> =
        texts.iter().map(|text| lines(text).lines().next().unwrap().to_owned()).collect();
    insta::assert_snapshot!(all.join("\n"), @"
    gateway.yaml:1:1: error: the configuration must be a map of keys
    gateway.yaml:1:1: error: the configuration must be a map of keys
    gateway.yaml:1:12: error: tags such as `!name` are not supported
    gateway.yaml:2:1: error: a second document begins here
    gateway.yaml:1:1: error: a key must be a single word
    gateway.yaml:1:12: error: this alias is inside its own anchor
    gateway.yaml:1:3: error: a key must be a single word
    gateway.yaml:1:5: error: `<<` takes a map or a list of maps
    gateway.yaml:2:1: error: an alias cannot be a key
    ");
}

#[test]
fn a_text_too_large_for_a_configuration_is_not_read() {
    let text = "#".repeat((16 << 20) + 1);
    assert!(lines(&text).ends_with("error: the configuration is larger than 16MiB"));
}

#[test]
fn aliases_cannot_grow_without_end() {
    let mut text = "x-0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let items = vec![format!("*a{}", level - 1); 10].join(", ");
        text.push_str(&format!("x-{level}: &a{level} [{items}]\n"));
    }
    assert!(lines(&text).ends_with("error: this has too many values"), "{}", lines(&text));
    let deep = format!("x-a: {}{}", "[".repeat(100), "]".repeat(100));
    assert!(lines(&deep).ends_with("error: this is nested too deeply"), "{}", lines(&deep));
}

#[test]
fn what_is_shared_by_an_anchor_is_found_once() {
    let text = "x-i: &i [{ name: one, host: h, token: k-1, weight: 0 }]\napps:\n  \
                a: { user_tokens: [t], instances: *i }\n  b: { user_tokens: [t], instances: *i }\n";
    insta::assert_snapshot!(lines(text), @"gateway.yaml:1:52: error: `weight` must be a whole number from 1 to 10000");
}
