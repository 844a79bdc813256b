//! Where it listens, for clients and for operators.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use serde_json::Value;
use uuid::Uuid;

use super::reader::Reader;
use crate::config::diagnostic::DiagnosticSink;

/// Where OpenDify listens unless told otherwise.
const PORT: u16 = 5000;

/// Ports beside OpenDify's own, where people start more of it on one machine.
const PORTS_BESIDE: std::ops::RangeInclusive<u16> = 5001..=5099;

/// Where the admin listener is for [`PORT`], and so much further for each of [`PORTS_BESIDE`].
const ADMIN_PORT: u16 = 9090;

/// Where it listens for clients, whatever else is wrong.
pub(crate) fn endpoint(vars: &BTreeMap<String, String>) -> [SocketAddr; 2] {
    let mut sink = DiagnosticSink::default();
    let mut reader = Reader { vars, file: None, sink: &mut sink };
    let listen = reader.address();
    let admin = reader.admin_listen(listen.port()).parse();
    [listen, admin.unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, ADMIN_PORT)))]
}

impl Reader<'_> {
    /// Where it listens; beyond this machine only if it is said who may come in.
    pub(super) fn listen(&mut self, keys: &[Value]) -> SocketAddr {
        let address = self.address();
        let said = self.var("ALLOW_ANONYMOUS").is_some() && self.allows_anonymous();
        let anybody = !said && keys.iter().all(|key| key.get("secret").is_none());
        if anybody && !address.ip().is_loopback() {
            let hint = self.line_to_add();
            self.error("`SERVER_HOST` lets other machines in without any key", hint);
        }
        address
    }

    /// Where it listens: on this machine alone unless it is said otherwise.
    fn address(&mut self) -> SocketAddr {
        let host = self.var("SERVER_HOST").unwrap_or("127.0.0.1");
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let host = if host.eq_ignore_ascii_case("localhost") { "127.0.0.1" } else { host };
        let host = host.parse::<IpAddr>().ok();
        let port = self.var("SERVER_PORT").map_or(Some(PORT), |port| port.parse().ok());
        if host.is_none() {
            let hint = "write `127.0.0.1` for this machine alone, `0.0.0.0` for all";
            self.error("`SERVER_HOST` must be an IP address", hint);
        }
        if port.is_none() {
            let of_kubernetes = self.var("SERVER_PORT").is_some_and(|port| port.contains("://"));
            let hint = match of_kubernetes {
                true => {
                    "Kubernetes sets it for a Service called `server`: rename that, or write \
                     `enableServiceLinks: false` into the pod's `spec`"
                }
                false => "OpenDify's is `5000`",
            };
            self.error("`SERVER_PORT` must be a number from 0 to 65535", hint);
        }
        SocketAddr::new(host.unwrap_or(Ipv4Addr::LOCALHOST.into()), port.unwrap_or(PORT))
    }

    /// Where operators ask: the processes for several ports of one machine have one each.
    pub(super) fn admin_listen(&mut self, port: u16) -> String {
        const NAME: &str = "DIFYGATE_ADMIN_LISTEN";
        if let Some(written) = self.var(NAME).map(str::to_owned) {
            if written.parse::<SocketAddr>().is_err() {
                let message = format!("`{NAME}` must be an IP address with a port");
                self.error(message, "write `127.0.0.1:9090`");
            }
            return written;
        }
        format!("127.0.0.1:{}", ADMIN_PORT + port_beside(port).map_or(0, |port| port - PORT))
    }

    /// What the default folder of the store is called, where several processes run on one machine.
    pub(super) fn state_name(&mut self) -> Option<String> {
        let port = port_beside(self.address().port())?;
        Some(format!("difygate-data-{port}"))
    }

    pub(super) fn allows_anonymous(&mut self) -> bool {
        let said = self.var("ALLOW_ANONYMOUS").unwrap_or("false").to_ascii_lowercase();
        let is_true = matches!(&*said, "true" | "1" | "yes" | "on");
        if !is_true && !matches!(&*said, "false" | "0" | "no" | "off") {
            self.error("`ALLOW_ANONYMOUS` must be `true` or `false`", "leave it out for `false`");
        }
        is_true
    }

    /// The lines of which one is to be added before other machines are let in.
    fn line_to_add(&self) -> String {
        let place = self.file.map(Path::display).map(|file| format!(" to {file}"));
        let key = Uuid::new_v4().simple();
        format!(
            "add one line{}: `VALID_API_KEYS=sk-{key}` (a new key for clients to send; one of your \
             own will do, too), or `ALLOW_ANONYMOUS=true` to let anybody in",
            place.unwrap_or_default()
        )
    }
}

/// The port, if it is one of those beside OpenDify's own.
fn port_beside(port: u16) -> Option<u16> {
    Some(port).filter(|port| PORTS_BESIDE.contains(port))
}
