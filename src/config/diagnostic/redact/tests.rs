//! What of a line is shown.

use super::Masks;

/// A text with its masks, line by line.
fn masked(text: &str) -> String {
    let masks = Masks::new(text);
    let mut start = 0;
    let lines = text.split('\n').map(|line| {
        let range = start..start + line.len();
        start = range.end + 1;
        masks.line(text, range, 0..0).0
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn secrets_are_masked_in_every_style() {
    let text = r#"
# a comment
listen: 127.0.0.1:8080   # and another
x-shared: &shared
  token: app-1
admin: { listen: 0.0.0.0:9090, token: 'app-1', allow: [10.0.0.0/8, app-1] }
trusted_proxies:
  - 10.0.0.0/8
  - app-1
apps:
  customer_service:
    user_tokens:
      - user-1
      - "user 2"
    instances:
    - <<: *shared
      name: dify1
      token: |
        app-1
        name: app-2
      url: http://me:app-1@dify
    - { name: "dify 2", password: app-1, "token": app-1, host: h, weight: 1 }
  other: { user_tokens: [user-1, user-2], api_key: "app-1", tokn: app-1 }
limits: { max_body: 15MiB }
"#;
    insta::assert_snapshot!(masked(text), @r#"

    # ***
    listen: 127.0.0.1:8080   # ***
    x-shared: &shared
      token: ***
    admin: { listen: 0.0.0.0:9090, token: ***, allow: [10.0.0.0/8, ***] }
    trusted_proxies:
      - 10.0.0.0/8
      - ***
    apps:
      customer_service:
        user_tokens:
          - ***
          - ***
        instances:
        - <<: *shared
          name: dify1
          token: |
            ***
            ***
          url: ***
        - { name: ***, password: ***, "token": ***, host: h, weight: 1 }
      other: { user_tokens: [***, ***], api_key: ***, tokn: *** }
    limits: { max_body: 15MiB }
    "#);
}

#[test]
fn references_and_files_are_shown_and_defaults_are_not() {
    let text = "token: ${DIFY_KEY}\ntoken: \"${DIFY_KEY}\"\ntoken: ${DIFY_KEY:-app-1}\n\
                token: file:/run/secrets/key\ntoken: file:app-1\nport: ${PORT:-50 01}";
    insta::assert_snapshot!(masked(text), @r#"
    token: ${DIFY_KEY}
    token: "${DIFY_KEY}"
    token: ***
    token: file:/run/secrets/key
    token: ***
    port: ${PORT:-50 01}
    "#);
}

#[test]
fn broken_text_shows_no_more_than_good_text() {
    let text = r#"
token app-1
token:app-1
- app-1
name: dify1 app-1
  app-1
name: dify1 token: app-1
user_tokens: [app-1
  app-2
- app-3
allow: [10.0.0.0/8
user_tokens: app-1
- abc.def
- { name: a, app-1 }
"token: app-1
"token": "app-1
token: > # folded
  name: app-1
user_tokens:
  app-1: name
"#;
    insta::assert_snapshot!(masked(text), @r#"

    ***
    token:***
    - ***
    name: dify1 ***
      ***
    name: dify1 token: ***
    user_tokens: [***
      ***
    - ***
    allow: [***
    user_tokens: ***
    - ***
    - { name: ***, *** }
    ***
    "token": ***
    token: > # ***
      name: ***
    user_tokens:
      ***: ***
    "#);
}

#[test]
fn keys_punctuation_and_names_in_other_scripts_are_never_masked() {
    let text = "apps:\n  智能客服:\n    user_tokens: [a-1,b-2 , \"c 3\"]\n    instances:\n    \
                - {name: a,token：x-1,host: h}\n  \"文档-2\": { user_tokens: [ d-4 ] }\nсервис: app-1\n";
    insta::assert_snapshot!(masked(text), @r#"
    apps:
      智能客服:
        user_tokens: [***,*** , ***]
        instances:
        - {name: a,token：***,host: h}
      "文档-2": { user_tokens: [ *** ] }
    сервис: ***
    "#);
}

#[test]
fn a_mark_follows_its_text() {
    let text = "{ token: abcdefgh, name: d }";
    let masks = Masks::new(text);
    let marked = |from: usize, to: usize| {
        let (shown, marked) = masks.line(text, 0..text.len(), from..to);
        shown[marked].to_owned()
    };
    assert_eq!(marked(0, text.len()), "{ token: ***, name: d }");
    assert_eq!(marked(2, 7), "token");
    assert_eq!(marked(9, 17), "***");
    assert_eq!(marked(11, 12), "***", "a part of a secret is marked as a whole");
    assert_eq!(marked(2, 12), "token: ***");
    assert_eq!(marked(12, 23), "***, name");
    assert_eq!(marked(19, 23), "name");
    assert_eq!(marked(28, 28), "");
}

#[test]
fn a_key_of_dify_is_masked_in_the_place_of_a_name() {
    let text = "name: dataset-Abcdefgh12345678ijklmnop\nhost: 'app-Abcdefgh12345678ijklmnop'\n\
                name: dataset-search\ndataset_token: dataset-x\ndataset-x: 1\n";
    insta::assert_snapshot!(masked(text), @"
    name: ***
    host: ***
    name: dataset-search
    dataset_token: ***
    ***: ***
    ");
}
