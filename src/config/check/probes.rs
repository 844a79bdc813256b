//! Whether probes can be sent as they are written.

use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, HeaderValue};

use crate::config::diagnostic::{DiagnosticBuilder, DiagnosticSink};
use crate::config::probe::ProbeMethod;
use crate::config::raw::{RawConfig, RawProbe};
use crate::config::yaml::{Places, Step};
use crate::model::ProbeExpect;

/// What the gateway itself has to say.
const FRAMING: [HeaderName; 4] = [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE];

/// Checks every probe.
pub(super) fn check(raw: &RawConfig, places: &Places<'_>, sink: &mut DiagnosticSink) {
    each(raw, |path, probe, above| {
        headers(path, probe, places, sink);
        newer_dify(path, probe, above, places, sink);
    });
    for (name, service) in &raw.services.named {
        let path = [Step::Key("services"), Step::Key(name), Step::Key("probe")];
        headers(&path, &service.probe, places, sink);
    }
    let top = &raw.probe;
    let method = |app: &RawProbe, own: &RawProbe| {
        own.method.or(app.method).or(top.method).unwrap_or_default()
    };
    for (name, app) in &raw.apps {
        for (index, instance) in app.instances.iter().enumerate() {
            let probe = &instance.probe;
            let body = probe.expect_body.as_ref().or(app.probe.expect_body.as_ref());
            let body = body.or(top.expect_body.as_ref()).filter(|text| !text.is_empty());
            if body.is_some() && method(&app.probe, probe) == ProbeMethod::Head {
                let path =
                    [Step::Key("apps"), Step::Key(name), Step::Key("instances"), Step::Item(index)];
                let message = "its probe uses `HEAD`, whose response has no body for `expect_body`";
                let hint = "use `GET`, or remove `expect_body`";
                sink.add(DiagnosticBuilder::error(places.value(&path), message).hint(hint));
            }
        }
    }
}

/// Dify from 1.8 on answers 404 at the default path. `above` are the probes that fill this one.
fn newer_dify(
    path: &[Step<'_>],
    probe: &RawProbe,
    above: &[&RawProbe],
    places: &Places<'_>,
    sink: &mut DiagnosticSink,
) {
    let asked_for = [&[probe], above].concat().into_iter().find_map(|probe| probe.path.as_deref());
    let is_default = asked_for.is_none_or(|path| path == ProbeExpect::DIFY_PATH);
    let Some(ProbeExpect::Statuses(ranges)) = &probe.expect else { return };
    if is_default && !ranges.iter().any(|range| range.contains(&404)) {
        let at = [path, &[Step::Key("expect")]].concat();
        let message = "Dify 1.8 and later returns 404 at `/v1/`, which this counts as a failure";
        let hint = "remove `expect`, or write `dify`, which is right for every version";
        sink.add(DiagnosticBuilder::warning(places.value(&at), message).hint(hint));
    }
}

/// Every probe that is written, with its path and the probes that fill it, the nearest first.
fn each<'w>(raw: &'w RawConfig, mut with: impl FnMut(&[Step<'w>], &'w RawProbe, &[&'w RawProbe])) {
    let key = Step::Key("probe");
    let top = &raw.probe;
    with(&[key], top, &[]);
    for (name, app) in &raw.apps {
        let (apps, app_key) = (Step::Key("apps"), Step::Key(name.as_str()));
        with(&[apps, app_key, key], &app.probe, &[top]);
        for (index, instance) in app.instances.iter().enumerate() {
            let path = [apps, app_key, Step::Key("instances"), Step::Item(index), key];
            with(&path, &instance.probe, &[&app.probe, top]);
        }
    }
}

fn headers(path: &[Step<'_>], probe: &RawProbe, places: &Places<'_>, sink: &mut DiagnosticSink) {
    for (name, value) in probe.headers.iter().flatten() {
        let at = [path, &[Step::Key("headers"), Step::Key(name)]].concat();
        match name.parse::<HeaderName>() {
            Ok(parsed) if FRAMING.contains(&parsed) => {
                let message = "a probe cannot send this header: it belongs to the connection";
                sink.add(DiagnosticBuilder::error(places.key(&at), message).hint("take it out"));
            }
            Ok(_) => {}
            Err(_) => {
                let message = "this is not the name of a header";
                let hint = "a name has letters, digits and `-`, such as `X-Probe`";
                sink.add(DiagnosticBuilder::error(places.key(&at), message).hint(hint));
            }
        }
        if HeaderValue::from_str(value.expose()).is_err() {
            let message = "this is not a valid header value";
            let hint = "a value is printable ASCII on one line";
            sink.add(DiagnosticBuilder::error(places.value(&at), message).hint(hint));
        }
    }
}
