//! One recorded exchange, as the files of a folder hold it.

use serde_json::Value;
use std::path::PathBuf;

#[derive(Clone)]
pub(crate) struct Recording {
    pub(crate) name: String,
    pub(crate) port: u64,
    pub(crate) request: String,
    pub(crate) interim: Vec<String>,
    /// Empty if nothing was answered.
    pub(crate) head: String,
    pub(crate) body: String,
    /// Only for chunked answers; the last, empty one is the terminal chunk.
    pub(crate) chunks: Vec<String>,
    pub(crate) complete: bool,
    pub(crate) after: String,
    /// What came after the answer.
    pub(crate) leftover: String,
    pub(crate) left_by_client: bool,
}

fn path(folder: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder)
}

/// All names, sorted.
pub(crate) fn names(folder: &str) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(path(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

pub(crate) fn load(folder: &str, name: &str) -> Recording {
    let text = std::fs::read_to_string(path(folder).join(format!("{name}.json")))
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    let file: Value = serde_json::from_str(&text).unwrap();
    let text = |key: &str| file[key].as_str().unwrap_or_default().to_owned();
    let second = |key: &str| -> Vec<String> {
        let list = file[key].as_array().into_iter().flatten();
        list.map(|pair| pair[1].as_str().unwrap_or_default().to_owned()).collect()
    };
    let chunked = file["framing"][0] == "chunked";
    Recording {
        name: name.to_owned(),
        port: file["port"].as_u64().unwrap(),
        request: text("request"),
        interim: second("interim"),
        head: text("head"),
        body: text("body"),
        chunks: if chunked { second("chunks") } else { Vec::new() },
        complete: file["complete"] == true,
        after: text("after"),
        leftover: text("leftover"),
        left_by_client: matches!(
            text("error").as_str(),
            "client closed on purpose" | "client timeout"
        ),
    }
}
