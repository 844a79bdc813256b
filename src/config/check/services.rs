//! Whether services can be reached, and each request goes to one of them.

use std::collections::HashMap;
use std::ops::Range;

use http::Method as HttpMethod;

use super::tls::is_host;
use crate::config::address::{self, Unusable};
use crate::config::balancing::Method;
use crate::config::compose::Known;
use crate::config::diagnostic::{DiagnosticBuilder, DiagnosticSink};
use crate::config::key_table::is_name;
use crate::config::raw::{RawConfig, RawService, RawServiceInstance};
use crate::config::service_route::ServiceRoute;
use crate::config::yaml::{Places, Step};

const NAME_HINT: &str = "a name has 1 to 64 of the characters `A-Z a-z 0-9 . _ -`";
const PREFIX_HINT: &str =
    "write whole segments that begin with `/`, such as `/api`; `/` is everything";
const ADDRESS_HINT: &str =
    "write `host: 10.0.0.2` with `port: 3000`, or `url: http://10.0.0.2:3000`";

/// Checks every service, and that no two have the same route.
pub(super) fn check(raw: &RawConfig, places: &Places<'_>, sink: &mut DiagnosticSink) {
    let known = match raw.services.dify {
        Some(_) => &Known::NAMES[..],
        None => &[],
    };
    for (name, service) in &raw.services.named {
        let checker = ServiceCheck { name, service, places };
        checker.whole(known.contains(&name.as_str()), sink);
        checker.routes(sink);
        let instances = service.instances.iter().flatten();
        for (index, instance) in instances.enumerate() {
            checker.instance(index, instance, sink);
        }
        checker.names(sink);
    }
    equal_routes(raw, places, sink);
    let public_url = raw.ingress.public_url.as_deref().and_then(|url| url.split_once("://"));
    if public_url.is_some_and(|(_, rest)| rest.contains('/')) {
        let span = places.value(&[Step::Key("ingress"), Step::Key("public_url")]);
        let message = "`public_url` has a path, below which Dify's web app cannot be served";
        let hint = "write scheme and host, and a port if it is not the usual one";
        sink.add(DiagnosticBuilder::error(span, message).hint(hint));
    }
}

/// Two routes that would get the same requests.
fn equal_routes(raw: &RawConfig, places: &Places<'_>, sink: &mut DiagnosticSink) {
    let mut seen: HashMap<_, Range<usize>> = HashMap::new();
    for (name, service) in &raw.services.named {
        for (index, route) in service.routes.iter().flatten().enumerate() {
            let path = [
                Step::Key("services"),
                Step::Key(name),
                Step::Key("routes"),
                Step::Item(index),
                Step::Key("prefix"),
            ];
            let span = places.value(&path);
            let route = ServiceRoute::of(route);
            let Some(first) =
                seen.get(&(route.prefix.clone(), route.hosts.clone(), route.methods.clone()))
            else {
                seen.insert((route.prefix, route.hosts, route.methods), span);
                continue;
            };
            let message = "another route has the same `prefix`, `hosts` and `methods`";
            sink.add(
                DiagnosticBuilder::error(span, message)
                    .hint("remove one of them, or let them differ in `hosts` or `methods`")
                    .related(first.clone(), "the other route"),
            );
        }
    }
}

struct ServiceCheck<'a> {
    name: &'a str,
    service: &'a RawService,
    places: &'a Places<'a>,
}

impl<'a> ServiceCheck<'a> {
    fn path(&self, below: &[Step<'a>]) -> Vec<Step<'a>> {
        [&[Step::Key("services"), Step::Key(self.name)], below].concat()
    }

    fn at(&self, below: &[Step<'a>]) -> Range<usize> {
        self.places.value(&self.path(below))
    }

    fn label(&self) -> String {
        match is_name(self.name) {
            true => format!("service `{}`", self.name),
            false => "this service".to_owned(),
        }
    }

    fn whole(&self, is_known: bool, sink: &mut DiagnosticSink) {
        let key = self.places.key(&self.path(&[]));
        if !is_name(self.name) {
            let message = "this is not a name for a service";
            sink.add(DiagnosticBuilder::error(key.clone(), message).hint(NAME_HINT));
        }
        let hints = [
            ("instances", "write `instances:` and below it `- { url: http://… }`"),
            ("routes", "write `routes:` and below it `- { prefix: /… }`"),
        ];
        for (part, hint) in hints {
            let is_empty = match part {
                "instances" => self.service.instances.as_ref().map(Vec::is_empty),
                _ => self.service.routes.as_ref().map(Vec::is_empty),
            };
            // A service of Dify's may be written without either; without any instance it cannot be.
            let is_missing = match is_empty {
                None => !is_known && !self.places.has(&self.path(&[Step::Key(part)])),
                Some(is_empty) => is_empty && part == "instances",
            };
            if is_missing {
                let message = format!("{} has no `{part}`", self.label());
                sink.add(DiagnosticBuilder::error(key.clone(), message).hint(hint));
            }
        }
        if let Some(Method::ConsistentHash | Method::Rendezvous) = self.service.method {
            let message = "a service knows no users, which this method hashes";
            let hint = "write `least_connections`, `weighted_round_robin` or `ip_hash`";
            sink.add(DiagnosticBuilder::error(self.at(&[Step::Key("method")]), message).hint(hint));
        }
        if self.service.probe.with_key == Some(true) {
            let at = self.at(&[Step::Key("probe"), Step::Key("with_key")]);
            let message = "a service has no key that a probe could send";
            sink.add(DiagnosticBuilder::error(at, message).hint("remove it, or write `headers`"));
        }
    }

    fn routes(&self, sink: &mut DiagnosticSink) {
        for (index, route) in self.service.routes.iter().flatten().enumerate() {
            let at = |below: &[Step<'a>]| {
                self.at(&[&[Step::Key("routes"), Step::Item(index)], below].concat())
            };
            if !is_prefix(&route.prefix) {
                let message = "this is not a beginning of a path";
                let span = at(&[Step::Key("prefix")]);
                sink.add(DiagnosticBuilder::error(span, message).hint(PREFIX_HINT));
            }
            for (place, host) in route.hosts.iter().enumerate() {
                if !is_host(host.strip_prefix("*.").unwrap_or(host)) {
                    let span = at(&[Step::Key("hosts"), Step::Item(place)]);
                    let hint = "write `dify.example.com`, or `*.example.com` for every name below \
                                it, without scheme and port";
                    let message = "this is not a valid host name";
                    sink.add(DiagnosticBuilder::error(span, message).hint(hint));
                }
            }
            for (place, method) in route.methods.iter().enumerate() {
                let is_upper = !method.bytes().any(|byte| byte.is_ascii_lowercase());
                if !is_upper || HttpMethod::from_bytes(method.as_bytes()).is_err() {
                    let span = at(&[Step::Key("methods"), Step::Item(place)]);
                    let message = "this is not an HTTP method";
                    let hint = "write it in capitals, such as `GET`";
                    sink.add(DiagnosticBuilder::error(span, message).hint(hint));
                }
            }
        }
    }

    fn instance(&self, index: usize, instance: &RawServiceInstance, sink: &mut DiagnosticSink) {
        let item = [Step::Key("instances"), Step::Item(index)];
        let at = |key| self.at(&[item[0], item[1], Step::Key(key)]);
        let mut note = |span: Range<usize>, message: &str, hint: &str| {
            sink.add(DiagnosticBuilder::error(span, message).hint(hint));
        };
        if instance.name.as_ref().is_some_and(|name| !is_name(name)) {
            note(at("name"), "this is not a name for an instance", NAME_HINT);
        }
        if instance.address().is_some() {
            return;
        }
        let has = |key| self.places.has(&self.path(&[item[0], item[1], Step::Key(key)]));
        match (&instance.host, &instance.url) {
            (Some(_), Some(_)) => {
                note(
                    at("url"),
                    "an instance cannot have both `host` and `url`",
                    "keep one of them",
                );
            }
            (Some(host), None) => match address::from_host(host, instance.port) {
                Err(Unusable { message, hint }) => note(at("host"), message, hint),
                Ok(_) if has("port") => {}
                Ok(_) => {
                    let message = "`host` needs a `port` in an instance of a service";
                    note(at("host"), message, ADDRESS_HINT);
                }
            },
            (None, Some(url)) => {
                if let Err(Unusable { message, hint }) = address::from_url(url) {
                    note(at("url"), message, hint);
                }
                if instance.port.is_some() {
                    let message = "`port` cannot be used with `url`, which has a port of its own";
                    note(at("port"), message, "write the port into `url`");
                }
            }
            (None, None) if has("host") || has("url") => {}
            (None, None) => {
                note(self.at(&item), "an instance needs `host` and `port`, or `url`", ADDRESS_HINT);
            }
        }
    }

    /// Two instances with one name; those without have numbers.
    fn names(&self, sink: &mut DiagnosticSink) {
        let mut seen: HashMap<&str, usize> = HashMap::new();
        for (index, instance) in self.service.instances.iter().flatten().enumerate() {
            let Some(name) = instance.name.as_deref() else { continue };
            let at =
                |index| self.at(&[Step::Key("instances"), Step::Item(index), Step::Key("name")]);
            let Some(first) = seen.get(name) else {
                seen.insert(name, index);
                continue;
            };
            let message = format!("{} has two instances with this name", self.label());
            sink.add(
                DiagnosticBuilder::error(at(index), message)
                    .hint("give each instance its own")
                    .related(at(*first), "the first of them"),
            );
        }
    }
}

/// Whether a text is a beginning of paths: whole segments, as they are after all escapes are undone.
fn is_prefix(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte);
    let is_segment =
        |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(plain);
    let Some(below) = text.strip_prefix('/') else { return false };
    let below = below.strip_suffix('/').unwrap_or(below);
    text == "/" || (text.len() <= 1024 && below.split('/').all(is_segment))
}

#[cfg(test)]
mod tests {
    use super::is_prefix;

    #[test]
    fn a_prefix_is_whole_segments() {
        for good in ["/", "/api", "/e/", "/console/api", "/socket.io/"] {
            assert!(is_prefix(good), "{good}");
        }
        for bad in
            ["", "api", "//", "/a//b", "/a/../b", "/.", "/a%20", "/a?b", "/a#b", "/a b", "/a//"]
        {
            assert!(!is_prefix(bad), "{bad}");
        }
    }
}
