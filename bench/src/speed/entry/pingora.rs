//! A small program on Pingora, in `bench/pingora`, built only by `make bench`.

use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;

use anyhow::Context;
use rustix::process::Signal;
use serde_json::json;

use crate::contender::{Contender, Scene};
use crate::speed::entry::{Entry, proxies_only};
use crate::speed::scene::{Setup, key};

pub(super) const ENTRY: Entry = Entry { name: "Pingora", setup, leaves: proxies_only };

fn setup(setup: Setup) -> Contender {
    Contender {
        name: "Pingora",
        program,
        version: &["--version"],
        token: "",
        reload: Signal::HUP,
        configure: if setup == Setup::Plain { plain } else { full },
    }
}

fn program() -> anyhow::Result<PathBuf> {
    let path = env::var_os("BENCH_PINGORA").map(PathBuf::from);
    path.filter(|path| path.is_file()).context("`bench/pingora` was not built: see above")
}

fn plain(scene: &Scene) -> anyhow::Result<Vec<String>> {
    start(scene, &BTreeMap::new(), &[])
}

fn full(scene: &Scene) -> anyhow::Result<Vec<String>> {
    let tokens =
        Setup::Full.tokens().map(|(token, app)| (format!("Bearer {token}"), app)).collect();
    let instances = 0..scene.instances.len();
    let keys: Vec<Vec<_>> = (0..Setup::Full.size().0)
        .map(|app| instances.clone().map(|one| format!("Bearer {}", key(app, one))).collect())
        .collect();
    start(scene, &tokens, &keys)
}

fn start(
    scene: &Scene,
    tokens: &BTreeMap<String, usize>,
    keys: &[Vec<String>],
) -> anyhow::Result<Vec<String>> {
    let (listen, instances) = (scene.listen, &scene.instances);
    let text = json!({ "listen": listen, "instances": instances, "tokens": tokens, "keys": keys });
    Ok(vec![scene.write("pingora.json", &text.to_string())?])
}
