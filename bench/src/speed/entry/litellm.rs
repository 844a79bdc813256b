//! LiteLLM's proxy from PyPI, for OpenAI's protocol alone: before an instance that speaks that
//! itself, as it has no way to Dify.

use std::env;
use std::fmt::Write;
use std::path::PathBuf;

use anyhow::Context;
use rustix::process::Signal;

use crate::contender::{Contender, Scene};
use crate::speed::entry::Entry;
use crate::speed::scene::{Setup, key};
use crate::speed::work::{Kind, Work};

pub(super) const ENTRY: Entry = Entry { name: "LiteLLM", setup, leaves };

fn leaves(work: &Work) -> Option<&'static str> {
    match work.kind {
        Kind::Answers(_) if work.speaks_openai() => None,
        _ => Some("measured with whole chat completions alone"),
    }
}

fn setup(_: Setup) -> Contender {
    Contender {
        name: "LiteLLM",
        program: || {
            let path = env::var_os("BENCH_LITELLM").map(PathBuf::from);
            path.filter(|path| path.is_file()).context("LiteLLM was not installed: see above")
        },
        version: &["--version"],
        token: "",
        reload: Signal::HUP,
        configure,
    }
}

fn configure(scene: &Scene) -> anyhow::Result<Vec<String>> {
    let mut text = String::from("model_list:\n");
    for app in 0..Setup::Full.size().0 {
        // Several with one name: the proxy spreads requests over them.
        for (number, addr) in scene.instances.iter().enumerate() {
            let key = key(app, number);
            let _ = write!(
                text,
                "  - model_name: app{app:04}\n    litellm_params: {{ model: openai/bench, api_base: \
                 \"http://{addr}/v1\", api_key: {key} }}\n"
            );
        }
    }
    // Clients here have tokens of their own, which are all let in.
    text.push_str(
        "litellm_settings: { telemetry: false, set_verbose: false }\n\
         general_settings: { dangerously_permit_weak_or_unset_master_key: true }\n",
    );
    let path = scene.write("litellm.yaml", &text)?;
    let (host, port) = (scene.listen.ip().to_string(), scene.listen.port().to_string());
    let words = ["--config", &path, "--host", &host, "--port", &port, "--num_workers", "1"];
    Ok(words.map(str::to_owned).to_vec())
}
