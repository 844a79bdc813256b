//! Timeouts that Dify's own would come before.

use std::time::Duration;

use crate::config::diagnostic::{DiagnosticBuilder, DiagnosticSink};
use crate::config::raw::RawConfig;
use crate::config::yaml::{Places, Step};

/// When Dify's server, gunicorn with its default `keepalive`, closes an idle connection.
const DIFY_KEEP_ALIVE: Duration = Duration::from_secs(2);

/// A connection that the gateway keeps for longer than Dify does is closed under a request.
pub(super) fn check(raw: &RawConfig, places: &Places<'_>, sink: &mut DiagnosticSink) {
    if raw.timeouts.upstream_idle >= DIFY_KEEP_ALIVE {
        let place = places.value(&[Step::Key("timeouts"), Step::Key("upstream_idle")]);
        let message = "Dify closes idle connections after 2 s, so some requests will be sent on a \
                       connection that is being closed";
        let hint =
            "keep `upstream_idle` below `2s`, or raise `keepalive` of Dify's gunicorn above it";
        sink.add(DiagnosticBuilder::warning(place, message).hint(hint));
    }
}
