//! Whether the addresses of clients and the operators' can be bound side by side, and TLS be spoken there.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::config::diagnostic::{DiagnosticBuilder, DiagnosticSink};
use crate::config::raw::RawConfig;
use crate::config::yaml::{Places, Step};
use crate::model::TlsMode;

const LISTEN: Step<'static> = Step::Key("listen");
const ADMIN_LISTEN: [Step<'static>; 2] = [Step::Key("admin"), Step::Key("listen")];

/// Checks `listen`, and `admin.listen` beside it.
pub(super) fn check(raw: &RawConfig, places: &Places<'_>, sink: &mut DiagnosticSink) {
    let listeners = raw.listen.listeners();
    if listeners.is_empty() && !sink.has_errors() {
        let message = "`listen` has no address";
        let hint = "write one, such as `127.0.0.1:8080`, or remove `listen`";
        sink.add(DiagnosticBuilder::error(places.value(&[LISTEN]), message).hint(hint));
    }
    for (index, listener) in listeners.iter().enumerate() {
        let at = [LISTEN, Step::Item(index)];
        let at = if places.has(&at) { &at[..] } else { &at[..1] };
        let earlier = &listeners[..index];
        if let Some(other) = earlier.iter().position(|one| collide(one.address, listener.address)) {
            let message = "another address of `listen` uses the same port";
            let draft = DiagnosticBuilder::error(places.value(at), message);
            let other = places.value(&[LISTEN, Step::Item(other)]);
            sink.add(draft.hint("give one of them another port").related(other, "taken here"));
        }
        if collide(listener.address, raw.admin.listen) {
            beside_admin(at, places, sink);
        }
        if listener.tls == TlsMode::On && raw.tls.is_empty() {
            let message = "`listen` has an address with TLS, and there are no certificates";
            let hint =
                "add `tls: [{ cert: gateway.pem, key: gateway.key }]`, or remove `tls: true`";
            sink.add(DiagnosticBuilder::error(places.value(at), message).hint(hint));
        }
    }
    let off = |tls: TlsMode| tls == TlsMode::Off;
    if !raw.tls.is_empty() && listeners.iter().all(|listener| off(listener.tls)) {
        let message = "`tls` has no effect: no address of `listen` speaks TLS";
        let draft = DiagnosticBuilder::warning(places.value(&[Step::Key("tls")]), message);
        sink.add(draft.hint("remove it, or a `tls: false` of `listen`"));
    }
}

fn beside_admin(at: &[Step<'_>], places: &Places<'_>, sink: &mut DiagnosticSink) {
    let own = places.has(&ADMIN_LISTEN);
    let span = places.value(if own { &ADMIN_LISTEN } else { at });
    let draft = DiagnosticBuilder::error(span, "`listen` and `admin.listen` use the same port")
        .hint("give one of them another port");
    sink.add(if own && places.has(&[LISTEN]) {
        draft.related(places.value(at), "taken here")
    } else {
        draft
    });
}

/// Whether two listeners would take the same port of the same interface.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    // `[::]` takes IPv4 in too.
    let covers = |one: SocketAddr, other: SocketAddr| {
        one.ip() == Ipv6Addr::UNSPECIFIED || (one.ip() == Ipv4Addr::UNSPECIFIED && other.is_ipv4())
    };
    let same_place = one.ip() == other.ip() || covers(one, other) || covers(other, one);
    one.port() != 0 && one.port() == other.port() && same_place
}
