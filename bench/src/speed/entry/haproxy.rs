//! HAProxy from Debian: a map from token to app, the user by `json_query` from the body.
//!
//! It cannot set a header for each server, so all instances of an app get the same key: its work
//! costs the same and does a little less. Of a body it sees what fits into `tune.bufsize`.

use std::fmt::Write;

use rustix::process::Signal;

use crate::contender::{Contender, Scene, installed};
use crate::speed::entry::{Entry, proxies_only};
use crate::speed::scene::{Setup, key};

pub(super) const ENTRY: Entry = Entry { name: "HAProxy", setup, leaves: proxies_only };

fn setup(setup: Setup) -> Contender {
    Contender {
        name: "HAProxy",
        program: || installed("haproxy"),
        version: &["-v"],
        token: "",
        reload: Signal::USR2,
        configure: if setup == Setup::Plain { plain } else { full },
    }
}

const COMMON: &str = "global
    maxconn 9000
    nbthread 1
defaults
    mode http
    timeout connect 5s
    timeout client 300s
    timeout server 300s
    timeout http-keep-alive 300s
    option http-keep-alive
    http-reuse always
    # Passive accounting; active checks are off for all.
    default-server observe layer7 error-limit 3 on-error mark-down
    default-server pool-purge-delay 60s
";

fn start(scene: &Scene, text: &str) -> anyhow::Result<Vec<String>> {
    let path = scene.write("haproxy.cfg", text)?;
    Ok(["-db", "-q", "-f", &path].map(str::to_owned).to_vec())
}

fn plain(scene: &Scene) -> anyhow::Result<Vec<String>> {
    let servers = scene.lines(|number, addr, _| format!("    server dify{number} {addr}\n"));
    let listen = scene.listen;
    start(scene, &format!("{COMMON}listen clients\n    bind {listen} backlog 8192\n{servers}"))
}

fn full(scene: &Scene) -> anyhow::Result<Vec<String>> {
    let tokens: String =
        Setup::Full.tokens().map(|(token, app)| format!("Bearer {token} app{app}\n")).collect();
    // Keys of a map have no spaces, so the token stands alone.
    let tokens = scene.write("tokens.map", &tokens.replace("Bearer ", ""))?;
    let listen = scene.listen;
    let mut text = format!(
        "{COMMON}frontend clients
    bind {listen} backlog 8192
    http-request set-var(txn.app) req.hdr(Authorization),field(2,' '),map_str({tokens})
    http-request deny deny_status 401 unless {{ var(txn.app) -m found }}
    http-request wait-for-body time 10s
    http-request set-var(txn.user) req.body,json_query('$.user')
    use_backend %[var(txn.app)]
"
    );
    let servers = scene.lines(|number, addr, _| format!("    server dify{number} {addr}\n"));
    for app in 0..Setup::Full.size().0 {
        let key = key(app, 0);
        let _ = write!(
            text,
            "backend app{app}
    balance hash var(txn.user)
    hash-type consistent sdbm avalanche
    http-request set-header Authorization \"Bearer {key}\"
{servers}"
        );
    }
    start(scene, &text)
}
