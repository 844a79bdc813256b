//! No secret leaves through a finding, however a configuration is broken.

use std::collections::BTreeMap;

use proptest::prelude::{Strategy, any, prop, prop_oneof, proptest};
use proptest::{prop_assert, sample};

use crate::config::{Environment, Style, parse};

/// Everything that can be printed of what a text gives.
fn printed(text: &str) -> String {
    let vars = [("KEY", SECRET_OF_ENVIRONMENT), ("HOST", "dify")];
    let vars = vars.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let vars = BTreeMap::from(vars);
    let env = Environment { vars, base: "/nowhere".into(), ..Environment::default() };
    let (faults, config) = match parse("gateway.yaml", text, &env) {
        Ok(loaded) => (loaded.warnings, format!("{:?}", loaded.config)),
        Err(faults) => (faults, String::new()),
    };
    [
        faults.render(Style::Plain),
        anstream::adapter::strip_str(&faults.render(Style::Colour)).to_string(),
        faults.to_string(),
        faults.to_json().to_string(),
        format!("{faults:?}"),
        faults.first_place().unwrap_or_default(),
        config,
    ]
    .join("\n")
}

const SECRET_OF_ENVIRONMENT: &str = "env1ronment0secret";

/// Good, with a secret at every place where one belongs.
const TEXT: &str = "\
listen: 127.0.0.1:8080
# once it was SECRET
admin:
  listen: 0.0.0.0:9090
  token: SECRET
  allow: [10.0.0.0/8, 192.168.1.7]
x-shared: &shared { max_fails: 5, token: \"SECRET\" }
limits: { max_body: 15MiB, memory_body: 1MiB }
apps:
  one:
    user_tokens: [SECRET, 'SECRET-b', \"SECRET-c\"]
    instances:
      - { name: dify1, host: 127.0.0.1, port: 5001, token: SECRET, weight: 1, dataset_token: SECRET }
      - { <<: *shared, name: dify2, url: \"http://127.0.0.1:5002\" }
      - name: dify3
        token: SECRET # SECRET
        host: ${HOST}
        port: 5003
  two:
    user_tokens:
      - SECRET
      - SECRET-b
    instances:
    - token: ${KEY}
      name: dify1
      host: dify
    - token: >-
        SECRET
      name: dify2
      host: dify
";

/// What slips from the keyboard.
#[derive(Clone, Debug)]
enum Slip {
    /// A line goes.
    Line(sample::Index),
    /// A character goes.
    Character(sample::Index),
    /// A piece of punctuation comes in.
    Insert(sample::Index, &'static str),
    /// A line moves to the right or to the left.
    Indent(sample::Index, bool),
    /// A word is replaced by another.
    Word(sample::Index, &'static str),
    /// The rest of the file goes.
    Cut(sample::Index),
    /// A secret stands where it does not belong.
    Stray(sample::Index, &'static str),
}

fn slips() -> impl Strategy<Value = Vec<Slip>> {
    let at = any::<sample::Index>;
    let pieces = [
        "\"", "'", "[", "]", "{", "}", ",", ":", ": ", "- ", "#", "\t", "\n", "&", "*", "\u{feff}",
    ];
    let words = ["x", "0", "-1", "~", "[]", "{}", "many", "tokn", "true", "${NONE}", "|"];
    // Not where a harmless value is due: `name: SECRET` is shown, which is a stated limit.
    let strays = [
        "SECRET\n",
        "- SECRET\n",
        "      - SECRET\n",
        "token SECRET\n",
        "tokn: SECRET\n",
        "  key: SECRET\n",
        "? SECRET\n",
        "!SECRET x\n",
        "\"SECRET\"\n",
        "{ SECRET }\n",
    ];
    let one = prop_oneof![
        at().prop_map(Slip::Line),
        at().prop_map(Slip::Character),
        (at(), sample::select(pieces.to_vec())).prop_map(|(at, piece)| Slip::Insert(at, piece)),
        (at(), any::<bool>()).prop_map(|(at, right)| Slip::Indent(at, right)),
        (at(), sample::select(words.to_vec())).prop_map(|(at, word)| Slip::Word(at, word)),
        at().prop_map(Slip::Cut),
        (at(), sample::select(strays.to_vec())).prop_map(|(at, stray)| Slip::Stray(at, stray)),
    ];
    prop::collection::vec(one, 1..6)
}

/// Where slips may happen: never inside a secret, whose halves would be other texts.
fn borders(text: &str) -> Vec<usize> {
    let inside = |at: usize| {
        (1..6).any(|back| at >= back && text.as_bytes()[at - back..].starts_with(b"SECRET"))
    };
    (0..text.len()).filter(|at| text.is_char_boundary(*at) && !inside(*at)).collect()
}

fn slip(text: &str, slip: &Slip) -> String {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let borders = borders(text);
    if borders.is_empty() {
        return text.to_owned();
    }
    let change_line = |at: &sample::Index, change: &dyn Fn(&str) -> String| {
        let at = at.index(lines.len());
        let changed = |(number, line): (usize, &&str)| {
            if number == at { change(line) } else { (*line).to_owned() }
        };
        lines.iter().enumerate().map(changed).collect::<String>()
    };
    match slip {
        Slip::Line(at) => change_line(at, &|_| String::new()),
        Slip::Indent(at, true) => change_line(at, &|line| format!("  {line}")),
        Slip::Indent(at, false) => {
            change_line(at, &|line| line.strip_prefix("  ").unwrap_or(line).to_owned())
        }
        Slip::Stray(at, stray) => change_line(at, &|line| format!("{stray}{line}")),
        Slip::Character(at) => {
            let at = borders[at.index(borders.len())];
            let end = text[at..].chars().next().map_or(at, |c| at + c.len_utf8());
            if text[at..].starts_with("SECRET") {
                return text.to_owned();
            }
            format!("{}{}", &text[..at], &text[end..])
        }
        Slip::Insert(at, piece) => {
            let at = borders[at.index(borders.len())];
            format!("{}{piece}{}", &text[..at], &text[at..])
        }
        Slip::Cut(at) => text[..borders[at.index(borders.len())]].to_owned(),
        Slip::Word(at, word) => {
            let words: Vec<_> = text.split(' ').collect();
            let at = at.index(words.len());
            let changed = |(number, old): (usize, &&str)| {
                let whole = old.contains('\n') || old.contains("SECRET");
                if number == at && !whole { (*word).to_owned() } else { (*old).to_owned() }
            };
            words.iter().enumerate().map(changed).collect::<Vec<_>>().join(" ")
        }
    }
}

/// Whether a harmless key has come to own a secret: that is shown, and cannot be told from a value.
fn is_owned_by_a_harmless_key(text: &str) -> bool {
    let mut before = String::new();
    for piece in text.split_inclusive("SECRET") {
        let Some(piece) = piece.strip_suffix("SECRET") else { break };
        before.push_str(piece);
        let line = before.rsplit('\n').next().unwrap_or_default();
        // Below `apps`, an explicit key is the name of an app.
        if line.starts_with(' ') && line.trim_start().starts_with("? ") {
            return true;
        }
        // What is glued to the secret's front makes one word with it.
        let bare = line.trim_end_matches(|c: char| !c.is_whitespace() && !"[{,".contains(c));
        let bare = bare.trim_end_matches([' ', '\t', '-']);
        let key = bare.strip_suffix(':').unwrap_or_default();
        let key = key.rsplit([' ', ',', '{', '[', '"', '\'', '\t', ':']).next().unwrap_or_default();
        if crate::config::key_table::kind(key) == crate::config::key_table::Kind::Open {
            return true;
        }
        before.push_str("SECRET");
    }
    false
}

#[test]
fn a_good_text_prints_no_secret() {
    let printed = printed(&TEXT.replace("SECRET", "app-s3cr3t"));
    assert!(!printed.contains("s3cr3t"), "{printed}");
    assert!(!printed.contains(SECRET_OF_ENVIRONMENT), "{printed}");
}

proptest! {
    #![proptest_config(proptest::test_runner::Config {
        cases: 1500,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn no_slip_makes_a_finding_show_a_secret(
        slips in slips(),
        prefix in "(app-|usertoken--|)",
        secret in "[a-zA-Z]{3}[0-9][a-zA-Z0-9]{8,20}",
    ) {
        let text = slips.iter().fold(TEXT.to_owned(), |text, one| slip(&text, one));
        if !is_owned_by_a_harmless_key(&text) {
            let printed = printed(&text.replace("SECRET", &format!("{prefix}{secret}")));
            prop_assert!(!printed.contains(&secret), "{slips:?}\n{text}\n{printed}");
            prop_assert!(!printed.contains(SECRET_OF_ENVIRONMENT), "{text}\n{printed}");
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "[ \\n:\\[\\]{},#&*!|>'\"%@`a-e0\\-$é\t]{0,80}") {
        let _ = printed(&text);
    }
}
