//! Whether probes can be sent as they are written.

use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, HeaderValue};

use super::health::{ProbeMethod, WrittenProbe};
use super::notes::{Draft, Notes};
use super::written::Written;
use super::yaml::{Places, Step};

/// What the gateway itself has to say.
const FRAMING: [HeaderName; 4] = [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE];

/// Checks every probe.
pub(super) fn check(written: &Written, places: &Places<'_>, notes: &mut Notes) {
    each(written, |path, probe| headers(path, probe, places, notes));
    let top = &written.probe;
    let method = |app: &WrittenProbe, own: &WrittenProbe| {
        own.method.or(app.method).or(top.method).unwrap_or_default()
    };
    for (name, app) in &written.apps {
        for (index, instance) in app.instances.iter().enumerate() {
            let probe = &instance.probe;
            let body = probe.expect_body.as_ref().or(app.probe.expect_body.as_ref());
            let body = body.or(top.expect_body.as_ref()).filter(|text| !text.is_empty());
            if body.is_some() && method(&app.probe, probe) == ProbeMethod::Head {
                let path =
                    [Step::Key("apps"), Step::Key(name), Step::Key("instances"), Step::Item(index)];
                let message = "its probe asks by `HEAD`, and no such answer has an `expect_body`";
                let hint = "ask by `GET`, or take `expect_body` out";
                notes.add(Draft::error(places.value(&path), message).hint(hint));
            }
        }
    }
}

/// Every probe that is written, with its path.
fn each<'w>(written: &'w Written, mut with: impl FnMut(&[Step<'w>], &'w WrittenProbe)) {
    let key = Step::Key("probe");
    with(&[key], &written.probe);
    for (name, app) in &written.apps {
        let (apps, app_key) = (Step::Key("apps"), Step::Key(name.as_str()));
        with(&[apps, app_key, key], &app.probe);
        for (index, instance) in app.instances.iter().enumerate() {
            let path = [apps, app_key, Step::Key("instances"), Step::Item(index), key];
            with(&path, &instance.probe);
        }
    }
}

fn headers(path: &[Step<'_>], probe: &WrittenProbe, places: &Places<'_>, notes: &mut Notes) {
    for (name, value) in probe.headers.iter().flatten() {
        let at = [path, &[Step::Key("headers"), Step::Key(name)]].concat();
        match name.parse::<HeaderName>() {
            Ok(parsed) if FRAMING.contains(&parsed) => {
                let message = "a probe cannot send this header: it is the connection's";
                notes.add(Draft::error(places.key(&at), message).hint("take it out"));
            }
            Ok(_) => {}
            Err(_) => {
                let message = "this is not the name of a header";
                let hint = "a name has letters, digits and `-`, such as `X-Probe`";
                notes.add(Draft::error(places.key(&at), message).hint(hint));
            }
        }
        if HeaderValue::from_str(value.expose()).is_err() {
            let message = "this cannot stand in a header";
            let hint = "a value is printable ASCII on one line";
            notes.add(Draft::error(places.value(&at), message).hint(hint));
        }
    }
}
