//! Where a gateway listens, by what is written alone: whoever asks whether it is alive may lack its secrets, and
//! a fault elsewhere in the file does not concern them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use super::admin::Admin;
use super::diagnostic::DiagnosticSink;
use super::files::bounded_read::read_file;
use super::listen::{Listen, Listener};
use super::load::{Environment, LARGEST, LISTEN};
use super::opendify::listen::endpoint;
use super::raw::RawConfig;
use super::secret::reason;
use super::source::Source;
use super::yaml::{Places, Step, build, read};
use crate::model::TlsMode;

/// Where a gateway listens, as somebody on the same machine reaches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// For clients.
    pub listen: SocketAddr,
    /// For operators.
    pub admin: SocketAddr,
    /// Whether clients are spoken to over TLS.
    pub has_tls: bool,
}

impl Source {
    /// Where a gateway of this configuration listens.
    ///
    /// # Errors
    /// Its file cannot be read; the text says which and why.
    pub fn listening(&self, env: &Environment) -> Result<Listening, String> {
        let env = self.environment(env);
        match self {
            Self::File(path) | Self::Filled { path, .. } => of_file(path, &env),
            Self::Environment { .. } => {
                let [listen, admin] = endpoint(&env.vars);
                Ok(Listening { listen: near(listen), admin: near(admin), has_tls: false })
            }
        }
    }
}

fn of_file(path: &Path, env: &Environment) -> Result<Listening, String> {
    let bytes = read_file(path, LARGEST)
        .map_err(|error| format!("{} cannot be read: {}", path.display(), reason(&error)))?;
    Ok(of_text(&String::from_utf8_lossy(&bytes), env))
}

/// Where nothing can be read of it, the defaults.
fn of_text(text: &str, env: &Environment) -> Listening {
    let mut sink = DiagnosticSink::default();
    let tree = build(text, env, &mut sink);
    let (written, has_listen) = match tree {
        Some(tree) => {
            // What is faulty is set aside.
            let (raw, dropped) = read::<RawConfig>(&tree, &mut sink);
            (raw, Places::new(&tree, dropped).has(&[Step::Key("listen")]))
        }
        None => (None, false),
    };
    let written = written.map(|raw| (raw.listen, raw.admin.listen, raw.tls.is_empty()));
    let default = (Listen::default(), Admin::default().listen, true);
    let (mut listen, admin, no_certificates) = written.unwrap_or(default);
    let by_variable = env.vars.get(LISTEN).and_then(|text| text.parse::<SocketAddr>().ok());
    if let Some(address) = by_variable.filter(|_| !has_listen) {
        listen = address.into();
    }
    let is_plain = |listener: &&Listener| match listener.tls {
        TlsMode::Auto => no_certificates,
        TlsMode::On => false,
        TlsMode::Off => true,
    };
    let plain = listen.listeners().iter().find(is_plain);
    let address = plain.map_or(listen.first(), |listener| listener.address);
    Listening { listen: near(address), admin: near(admin), has_tls: plain.is_none() }
}

/// What listens on all addresses of a machine is reached on its loopback.
fn near(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{Listening, of_text};
    use crate::config::{Environment, Source};

    fn shown(listening: Listening) -> String {
        let tls = if listening.has_tls { " tls" } else { "" };
        format!("{} {}{tls}", listening.listen, listening.admin)
    }

    #[test]
    fn a_file_says_it_whatever_else_is_wrong_with_it() {
        let vars = [("PORT".to_owned(), "81".to_owned())].into();
        let env = Environment { vars, ..Environment::default() };
        for (text, expected) in [
            ("", "127.0.0.1:8080 127.0.0.1:9090"),
            ("listen: 0.0.0.0:5000\napps: { a: ${SECRET} }", "127.0.0.1:5000 127.0.0.1:9090"),
            (
                "listen: \"[::]:80\"\nadmin: { listen: 0.0.0.0:1, token: ${X} }",
                "[::1]:80 127.0.0.1:1",
            ),
            ("listen: 10.0.0.1:${PORT}\nunknown: 1", "10.0.0.1:81 127.0.0.1:9090"),
            ("tls: [{ cert: a, key: b }]", "127.0.0.1:8080 127.0.0.1:9090 tls"),
            (
                "listen: [{ address: 0.0.0.0:443, tls: true }, 0.0.0.0:82]\ntls: [{ cert: a, key: b }]",
                "127.0.0.1:443 127.0.0.1:9090 tls",
            ),
            (
                "listen: [0.0.0.0:443, { address: 0.0.0.0:82, tls: false }]\ntls: [{ cert: a, key: b }]",
                "127.0.0.1:82 127.0.0.1:9090",
            ),
            ("listen: [", "127.0.0.1:8080 127.0.0.1:9090"),
            ("listen: nowhere", "127.0.0.1:8080 127.0.0.1:9090"),
        ] {
            assert_eq!(shown(of_text(text, &env)), expected, "{text}");
        }
    }

    #[test]
    fn where_a_file_says_nothing_a_variable_does() {
        let vars = [("DIFYGATE_LISTEN".to_owned(), "0.0.0.0:8000".to_owned())].into();
        let env = Environment { vars, ..Environment::default() };
        let expected = |listen: &str| format!("{listen} 127.0.0.1:9090");
        assert_eq!(shown(of_text("apps: {}", &env)), expected("127.0.0.1:8000"));
        assert_eq!(shown(of_text("listen: 127.0.0.1:1", &env)), expected("127.0.0.1:1"));
    }

    #[test]
    fn the_variables_say_it_and_each_port_has_its_own_admin_listener() {
        for (host, port, expected) in [
            ("", "", "127.0.0.1:5000 127.0.0.1:9090"),
            ("0.0.0.0", "5002", "127.0.0.1:5002 127.0.0.1:9092"),
            ("10.0.0.1", "8080", "10.0.0.1:8080 127.0.0.1:9090"),
        ] {
            let vars = [("SERVER_HOST", host), ("SERVER_PORT", port)];
            let vars = vars.map(|(name, value)| (name.to_owned(), value.to_owned()));
            let env = Environment { vars: vars.into(), ..Environment::default() };
            let listening = Source::Environment { file: None }.listening(&env).unwrap();
            assert_eq!(shown(listening), expected);
        }
        let nowhere = Source::File(PathBuf::from("/nowhere/difygate.yaml"));
        let fault = nowhere.listening(&Environment::default()).unwrap_err();
        assert_eq!(fault, "/nowhere/difygate.yaml cannot be read: no such file");
    }
}
