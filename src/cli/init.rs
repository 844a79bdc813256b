//! `difygate init`: a first configuration, with comments, for its owner's eyes only.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::{self, BufRead, IsTerminal};
use std::path::PathBuf;

use clap::{Args, ValueHint};
use serde_json::Value;
use uuid::Uuid;

use crate::cli::check::summary;
use crate::cli::environment::environment;
use crate::cli::exit_status::ExitStatus;
use crate::cli::import::{create, replace};
use crate::cli::printer::Printer;
use crate::cli::printer::style;
use crate::config::{self, Config, Environment, Severity, Source};

/// Write a first configuration.
#[derive(Debug, Args)]
#[command(
    after_help = "On a terminal it asks for what is not given. The file holds keys: only its owner may read it.\n\
    Exit codes: 0 written, 2 the command line or a variable is wrong, 3 the file is there already or cannot be \
    written."
)]
pub(super) struct Arguments {
    /// The file to write
    #[arg(value_name = "FILE", default_value = "difygate.yaml", value_hint = ValueHint::FilePath)]
    output: PathBuf,
    /// An app on a Dify: its name, its key there and the address of that Dify's API. Once for each; the same
    /// name again is the same app on another Dify
    #[arg(long = "app", value_name = "NAME=KEY@URL", value_parser = parse_app)]
    apps: Vec<Place>,
    /// Make it of OpenDify's variables, such as MODEL_CONFIG and DIFY_API_BASE, of the environment or `.env`
    #[arg(long, conflicts_with = "apps")]
    from_env: bool,
    /// The file of variables, instead of `.env`
    #[arg(long, value_name = "FILE", requires = "from_env", value_hint = ValueHint::FilePath)]
    env_file: Option<PathBuf>,
    /// Replace the file if there is one
    #[arg(long)]
    force: bool,
}

/// An app on a Dify. It holds a key, and is not printed.
#[derive(Clone, PartialEq, Eq)]
struct Place {
    app: String,
    key: String,
    url: String,
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place").field("app", &self.app).field("url", &self.url).finish()
    }
}

fn parse_app(text: &str) -> Result<Place, String> {
    let parts = text.split_once('=').and_then(|(app, rest)| {
        let (key, url) = rest.split_once('@')?;
        Some((app.trim(), key.trim(), url.trim()))
    });
    match parts {
        Some((app, key, url)) if !app.is_empty() && !key.is_empty() && !url.is_empty() => {
            Ok(Place { app: app.to_owned(), key: key.to_owned(), url: api_url(url) })
        }
        _ => Err("write it as `shop=app-…@http://10.0.0.1:5001`".to_owned()),
    }
}

/// As it stands in a configuration: people copy it with `/v1` from Dify, or without `http://`.
fn api_url(text: &str) -> String {
    let url = text.trim_end_matches('/');
    let url = url.strip_suffix("/v1").unwrap_or(url).trim_end_matches('/');
    if url.contains("://") { url.to_owned() } else { format!("http://{url}") }
}

/// Writes the file.
pub(super) fn run(arguments: &Arguments, printer: &mut Printer) -> anyhow::Result<ExitStatus> {
    let output = &arguments.output;
    if output.exists() && !arguments.force {
        printer.error(&format!("{} exists already: `--force` replaces it", output.display()));
        return Ok(ExitStatus::CouldNotRun);
    }
    let text = if arguments.from_env {
        let beside = PathBuf::from(".env");
        let file = arguments.env_file.clone().or_else(|| beside.exists().then_some(beside));
        let source = Source::Environment { file };
        match source.load(&environment()) {
            Ok(loaded) => of_config(&loaded.config, &source),
            Err(findings) => {
                printer.findings(&findings.render(style(printer)));
                return Ok(ExitStatus::Misused);
            }
        }
    } else if !arguments.apps.is_empty() {
        of_places(&arguments.apps)
    } else if io::stdin().is_terminal() && io::stdout().is_terminal() {
        let places = ask(&mut io::stdin().lock(), &mut |question| printer.out(question))?;
        if places.is_empty() {
            printer.error("nothing was written: a configuration needs an app");
            return Ok(ExitStatus::Misused);
        }
        of_places(&places)
    } else {
        printer
            .error("name an app: `--app NAME=KEY@URL`, or `--from-env` for OpenDify's variables");
        return Ok(ExitStatus::Misused);
    };
    let config = match config::parse(&output.display().to_string(), &text, &Environment::default())
    {
        Ok(loaded) => loaded.config,
        Err(findings) => {
            printer.findings(&findings.render(style(printer)));
            printer.error("nothing was written");
            return Ok(ExitStatus::Misused);
        }
    };
    let written = if arguments.force { replace(output, &text) } else { create(output, &text) };
    written.map_err(|error| ExitStatus::CouldNotRun.error(&error))?;
    let shown = output.display();
    printer.line(&format!("{shown} written: {}. Only you can read it.", summary(&config)))?;
    for said in renamed(&config) {
        printer.line(&said)?;
    }
    if arguments.from_env {
        printer.line(&format!(
            "From now on {shown} counts: OpenDify's variables, and `.env`, have no effect on what it says."
        ))?;
    }
    printer.line(&format!(
        "Next: `difygate check --ask {shown}` asks every Dify, `difygate serve {shown}` serves. The tokens that \
         clients send are in the file."
    ))?;
    Ok(ExitStatus::Done)
}

/// What is wrong with a place, in the words of a check; it shows no key.
fn fault(place: &Place) -> Option<String> {
    let text = of_places(std::slice::from_ref(place));
    let findings = config::parse("the answer", &text, &Environment::default()).err()?;
    let finding = findings.findings().iter().find(|one| one.severity == Severity::Error)?;
    let hint = finding.hint.as_deref().map(|hint| format!(" ({hint})"));
    Some(format!("{}{}", finding.message, hint.unwrap_or_default()))
}

/// The apps whose names are those of models alone, and what they are called in the file.
fn renamed(config: &Config) -> impl Iterator<Item = String> {
    let of_app = |app: &config::App| app.aliases.first().cloned();
    let apps = config.apps.iter().filter_map(move |(name, app)| Some((name, of_app(app)?)));
    apps.map(|(name, alias)| {
        format!(
            "`{alias}` is app `{name}` in the file, as logs and metrics will call it; the model stays `{alias}`."
        )
    })
}

/// Asks a person for apps and their Difys; an empty line ends each list.
fn ask(
    answers: &mut impl BufRead,
    say: &mut dyn FnMut(&str) -> io::Result<()>,
) -> io::Result<Vec<Place>> {
    let mut places: Vec<Place> = Vec::new();
    // What is wrong with an answer is said at once, and it is asked for again.
    let mut answer = |question: &str, place: &dyn Fn(&str) -> Option<Place>| loop {
        say(&format!("{question}: "))?;
        let mut line = String::new();
        answers.read_line(&mut line)?;
        let line = line.trim().to_owned();
        let place = Some(&*line).filter(|line| !line.is_empty()).and_then(place);
        match place.and_then(|place| fault(&place)) {
            Some(fault) => say(&format!("  {fault}\n"))?,
            None => return io::Result::Ok(line),
        }
    };
    loop {
        let question = match places.is_empty() {
            true => "Name of an app, as OpenAI and Anthropic clients will call it",
            false => "Name of another app, or Enter",
        };
        let app = answer(question, &|_| None)?;
        if app.is_empty() {
            return Ok(places);
        }
        let mut question = "Address of a Dify API with this app, such as http://10.0.0.1:5001";
        loop {
            let at = |url: &str, key: &str| {
                Some(Place { app: app.clone(), key: key.to_owned(), url: api_url(url) })
            };
            let url = answer(question, &|url| at(url, "app-of-this-app"))?;
            if url.is_empty() {
                break;
            }
            let key = answer("The app's key in that Dify (app-…)", &|key| at(&url, key))?;
            if !key.is_empty() {
                places.extend(at(&url, &key));
            }
            question = "Address of another Dify with this app, or Enter";
        }
    }
}

const HEAD: &str = "\
# Made by `difygate init`. `difygate check` checks it, `difygate check --ask` asks every Dify with every
# key, `difygate serve` serves it; a change is taken in by itself. All keys that there are: `difygate schema
# --markdown`.
";

const LISTEN: &str = "
# Where clients connect: this machine alone. `0.0.0.0:8080` lets other machines in.
";

const LISTEN_TO_ALL: &str = "
# Where clients connect, from other machines, too. `127.0.0.1:8080` lets this machine alone in.
";

const ADMIN: &str = "
# For operators: `difygate status`, metrics, reloads. On this machine alone, and so without a token.
";

const APPS: &str = "
# A secret may also be \"${NAME}\", a variable, or \"file:/run/secrets/name\".
apps:
";

const TOKENS: &str = "    \
    # What clients send: as `Authorization: Bearer …`, or as the API key of an OpenAI or Anthropic client,
    # whose `model` is then the name above.
";

const INSTANCES: &str = "    \
    # The Difys with this app. Each user stays on one of them, by its `name`: keep that when it moves.
";

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// A configuration of apps on Difys, with a new token for each app.
fn of_places(places: &[Place]) -> String {
    let mut text = format!(
        "{HEAD}{LISTEN}listen: 127.0.0.1:8080\n{ADMIN}admin: {{ listen: 127.0.0.1:9090 }}\n{APPS}"
    );
    let mut urls: Vec<&str> = Vec::new();
    for place in places {
        if !urls.contains(&&*place.url) {
            urls.push(&place.url);
        }
    }
    let mut seen = HashSet::new();
    let apps = places.iter().map(|place| &place.app).filter(|app| seen.insert(*app));
    // Writing to a string does not fail.
    for (number, app) in (1..).zip(apps) {
        let _ = match config::is_name(app) {
            true => writeln!(text, "  {}:", quoted(app)),
            // Names of apps stand in logs and metrics; those of models may be anything.
            false => writeln!(text, "  app{number}:\n    aliases: [{}]", quoted(app)),
        };
        let token = format!("usertoken-{}", Uuid::new_v4().simple());
        let _ = write!(text, "{TOKENS}    user_tokens: [{token}]\n{INSTANCES}    instances:\n");
        for place in places.iter().filter(|place| place.app == *app) {
            let number = urls.iter().position(|url| *url == place.url).unwrap_or_default() + 1;
            instance(&mut text, &format!("dify{number}"), &place.url, &place.key);
        }
    }
    text
}

fn instance(text: &mut String, name: &str, url: &str, key: &str) {
    let (name, url, key) = (quoted(name), quoted(url), quoted(key));
    let _ = write!(
        text,
        "      - name: {name}\n        url: {url}\n        token: {key}    # the app's key in this Dify\n        \
         max_concurrent: 10    # as many as a Dify API container serves (SERVER_WORKER_CONNECTIONS)\n"
    );
}

/// The same as OpenDify's variables say.
fn of_config(config: &Config, source: &Source) -> String {
    let is_own = config.listen.first().ip().is_loopback();
    let comment = if is_own { LISTEN } else { LISTEN_TO_ALL };
    let mut text =
        format!("{HEAD}# It says what {source} did.\n{comment}listen: {}\n", config.listen);
    // Writing to a string does not fail.
    let _ = writeln!(text, "{ADMIN}admin: {{ listen: {} }}", config.admin.listen);
    text += "\n# Dify sees users as it did through OpenDify.\nai: { users: open_webui }\n";
    text += "\n# What clients send, for all apps.\nkeys:\n";
    for key in &config.keys {
        let name = quoted(key.name.as_str());
        let secret = match &key.secret {
            Some(secret) => format!("secret: {}", quoted(secret.expose())),
            None => "anonymous: true".to_owned(),
        };
        let impersonate = if key.secret.is_some() { ", impersonate: false" } else { "" };
        let trusted = if key.trusted_proxy { ", trusted_proxy: true" } else { "" };
        let _ = writeln!(text, "  - {{ name: {name}, {secret}{trusted}{impersonate} }}");
    }
    text += APPS;
    for (name, app) in &config.apps {
        let _ = writeln!(text, "  {}:", quoted(name.as_str()));
        if !app.aliases.is_empty() {
            let aliases: Vec<_> = app.aliases.iter().map(|alias| quoted(alias)).collect();
            let _ = writeln!(text, "    aliases: [{}]", aliases.join(", "));
        }
        if app.storage == crate::model::Storage::Shared {
            text += "    storage: shared    # one database behind all of its instances\n";
        }
        let _ = writeln!(text, "{INSTANCES}    instances:");
        for one in &app.instances {
            let url = match one.address.to_string() {
                address if address.contains("://") => address,
                address => format!("http://{address}"),
            };
            instance(&mut text, one.name.as_str(), &url, one.token.expose());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Place, ask, of_places, parse_app};
    use crate::config::{Environment, parse};

    #[test]
    fn an_app_is_named_with_its_key_and_its_dify() {
        let place = parse_app("shop=app-1@http://10.0.0.1:5001/v1/").unwrap();
        assert_eq!(
            (&*place.app, &*place.key, &*place.url),
            ("shop", "app-1", "http://10.0.0.1:5001")
        );
        assert_eq!(parse_app("a=b@dify:5001").unwrap().url, "http://dify:5001");
        assert!(!format!("{place:?}").contains("app-1"));
        for wrong in ["", "shop", "shop=app-1", "=app-1@http://h", "shop=@http://h", "shop=app-1@"]
        {
            assert!(parse_app(wrong).unwrap_err().contains("shop=app-…@http"), "{wrong}");
        }
    }

    #[test]
    fn what_it_writes_is_valid_and_says_what_was_given() {
        let places = ["shop=app-1@h1:5001", "智能客服=app-2@h2:5001", "shop=app-3@h2:5001"];
        let places = places.map(|place| parse_app(place).unwrap());
        let text = of_places(&places);
        let loaded = parse("difygate.yaml", &text, &Environment::default());
        let loaded = loaded.unwrap_or_else(|findings| panic!("{findings}\n{text}"));
        assert!(loaded.warnings.is_empty() && loaded.changes.is_empty(), "{}", loaded.warnings);
        let apps: Vec<_> = loaded.config.apps.iter().collect();
        assert_eq!((apps[0].0.as_str(), apps[1].0.as_str()), ("shop", "app2"));
        assert_eq!(apps[1].1.aliases, ["智能客服"]);
        let named = |app: usize| {
            let instances = apps[app].1.instances.iter();
            instances.map(|one| format!("{}={}", one.name, one.address)).collect::<Vec<_>>()
        };
        // One Dify has one name, in whichever app.
        assert_eq!(named(0), ["dify1=h1:5001", "dify2=h2:5001"]);
        assert_eq!(named(1), ["dify2=h2:5001"]);
        assert_ne!(apps[0].1.user_tokens, apps[1].1.user_tokens);
        assert_eq!(apps[0].1.instances[1].token.expose(), "app-3");
    }

    #[test]
    fn a_person_is_asked_for_apps_and_for_the_difys_of_each() {
        let mut said = Vec::new();
        let mut say = |text: &str| {
            said.push(text.to_owned());
            Ok(())
        };
        let answers = "shop\nh1:5001\napp-1\nh2:5001\napp-2\n\nflow\nh1:5001\napp-3\n\n\n";
        let places = ask(&mut answers.as_bytes(), &mut say).unwrap();
        let place = |app: &str, key: &str, url: &str| Place {
            app: app.to_owned(),
            key: key.to_owned(),
            url: url.to_owned(),
        };
        assert_eq!(
            places,
            [
                place("shop", "app-1", "http://h1:5001"),
                place("shop", "app-2", "http://h2:5001"),
                place("flow", "app-3", "http://h1:5001"),
            ]
        );
        assert!(said[0].starts_with("Name of an app"), "{said:?}");
        // What is wrong is said at once, without a key, and asked for again.
        let mut said = Vec::new();
        let mut say = |text: &str| {
            said.push(text.to_owned());
            Ok(())
        };
        let answers = "shop\nhttp://h:99999\nh1:5001\napp hush\napp-1\n\n\n";
        let places = ask(&mut answers.as_bytes(), &mut say).unwrap();
        assert_eq!(places, [place("shop", "app-1", "http://h1:5001")]);
        let told: Vec<_> = said.iter().filter(|said| said.starts_with("  ")).collect();
        assert!(told.len() == 2 && told[0].contains("port"), "{told:?}");
        assert!(told[1].contains("token") && !told[1].contains("hush"), "{told:?}");
        // The end of what is typed is the end of the questions.
        assert!(ask(&mut "".as_bytes(), &mut |_| Ok(())).unwrap().is_empty());
    }
}
