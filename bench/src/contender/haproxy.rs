//! HAProxy from Debian, with health checks, what requests tell it, and careful retries.

use rustix::process::Signal;

use crate::contender::{Contender, Scene, installed};

pub(super) const CONTENDER: Contender = Contender {
    name: "HAProxy",
    program: || installed("haproxy"),
    version: &["-v"],
    token: super::APP_KEY,
    reload: Signal::USR2,
    configure,
};

fn configure(scene: &Scene) -> anyhow::Result<Vec<String>> {
    let servers = scene.lines(|number, addr, weight| {
        format!("    server dify{number} {addr} weight {weight} check\n")
    });
    let text =
        TEMPLATE.replace("LISTEN", &scene.listen.to_string()).replace("    SERVERS\n", &servers);
    let path = scene.write("haproxy.cfg", &text)?;
    // A master, which can reload, in the foreground, without a word.
    Ok(["-W", "-db", "-q", "-f", &path].map(str::to_owned).to_vec())
}

const TEMPLATE: &str = r"global
    maxconn 8192
    nbthread 2
defaults
    mode http
    timeout connect 1s
    timeout client 1200s
    timeout queue 30s
    timeout check 500ms
    timeout http-request 10s
    option http-keep-alive
    # After a reload idle connections of clients end with an answer, not before a request.
    option idle-close-on-response
    # Dify closes idle connections after two seconds.
    default-server pool-purge-delay 1s
    # The user is not read from bodies; clients here send a header, too.
    balance hdr(X-User)
    hash-type consistent sdbm avalanche
    retries 2
    # Every repetition goes to another instance.
    option redispatch 1
    option httpchk GET /v1/
    http-check expect status 200,404
    # In transition checks come quicker; three bad answers to users are a reason to check, and a
    # bad check then takes the instance out at once.
    default-server inter 1s fastinter 250ms downinter 500ms fall 2 rise 1
    default-server observe layer7 error-limit 3 on-error mark-down
frontend clients
    bind LISTEN
    use_backend runs if METH_POST
    default_backend reads
# What changes nothing may be repeated.
backend reads
    timeout server 3s
    retry-on all-retryable-errors
    SERVERS
# A POST only if it was certainly not sent. Checked for itself, as what its own answers tell counts.
backend runs
    timeout server 1200s
    retry-on conn-failure
    SERVERS
";
