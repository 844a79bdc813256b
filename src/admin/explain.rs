//! `/explain`: where a request would go, and why.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::balance::{HashAlgorithm, HashKey};
use crate::gateway::proxy::explain::{Explanation, Question, Ranked, WhenFull, explain};
use crate::gateway::state::app::App;
use crate::gateway::state::snapshot::{LastResort, Snapshot};
use crate::gateway::{Shared, SkipReason};
use crate::model::{AppName, Token};

/// What is asked. The token stands in a body, because URLs are logged.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    token: Option<Token>,
    app: Option<AppName>,
    user: Option<String>,
    conversation: Option<String>,
    address: Option<IpAddr>,
}

/// The explanation.
///
/// # Errors
/// The question names no app, or too little of the client; the text says so.
pub(super) fn answer(shared: &Shared, asked: &Asked) -> Result<Value, String> {
    let snapshot = shared.snapshot();
    let app = app(&snapshot, asked)?;
    let keyed = app.pool.method.keyed();
    if keyed == HashKey::ByAddress && asked.address.is_none() {
        return Err(format!(
            "app `{}` goes by the client's address (`ip_hash`): give one",
            app.name
        ));
    }
    let user = asked.user.as_deref().filter(|user| !user.is_empty());
    let question = Question {
        app,
        user,
        // Only `ip_hash` looks at it.
        address: asked.address.unwrap_or(Ipv4Addr::UNSPECIFIED.into()),
        conversation: asked.conversation.as_deref(),
    };
    let explanation = explain(shared, &snapshot, question);
    let now_ms = shared.now_ms();
    let attempts = app.pool.retry.attempts as usize + 1;
    let instances: Vec<_> =
        explanation.ranking.iter().map(|ranked| instance(ranked, attempts, now_ms)).collect();
    let method = &app.pool.method;
    Ok(json!({
        "app": app.name,
        "user": user,
        "address": asked.address,
        "method": method.label(),
        "hash_algorithm": method.hash_algorithm().map(HashAlgorithm::label),
        "key": explanation.key,
        "conversation": asked.conversation,
        "owner": explanation.owner,
        "owner_out": explanation.owner_out,
        "on_owner_down": app.policy.on_owner_down.label(),
        "asked": asked_in_turn(&explanation, attempts),
        "last_resort": match snapshot.last_resort {
            LastResort::Try => "try",
            LastResort::Refuse => "refuse",
        },
        "when_full": match explanation.when_full {
            WhenFull::Waits => "waits",
            WhenFull::GoesOn => "goes_on",
        },
        "instances": instances,
    }))
}

/// The names of those that one request may ask, in turn.
fn asked_in_turn(explanation: &Explanation, attempts: usize) -> Vec<String> {
    let mut asked: Vec<_> = explanation
        .ranking
        .iter()
        .filter_map(|ranked| Some((ranked.turn?, ranked.member.name().to_string())))
        .collect();
    asked.sort_unstable();
    asked.into_iter().take(attempts).map(|(_, name)| name).collect()
}

fn instance(ranked: &Ranked, attempts: usize, now_ms: u64) -> Value {
    let Ranked { member, turn, passed_over, above_max_load } = ranked;
    let instance = &member.instance;
    let state = member.state(now_ms);
    json!({
        "name": member.name(),
        "address": instance.address().to_string(),
        "turn": turn.filter(|turn| *turn <= attempts),
        "passed_over": passed_over.map(SkipReason::label),
        "status": state.kind.status(),
        "state": state.kind.label(),
        "reason": state.reason,
        "above_max_load": above_max_load,
        "weight": member.weight,
        "in_flight": instance.in_flight().get(),
        "connections": instance.slots().used(),
        "max_concurrent": instance.slots().limit(),
        "waiting": instance.waiting(),
        "queue": member.queue.size,
    })
}

/// The app that is asked about, by token or by name.
fn app<'a>(snapshot: &'a Snapshot, asked: &Asked) -> Result<&'a Arc<App>, String> {
    let named = |app: &&Arc<App>| asked.app.as_ref().is_none_or(|name| app.name == *name);
    let Some(token) = &asked.token else {
        let Some(name) = &asked.app else { return Err("give a user token or an app".to_owned()) };
        return snapshot.apps.iter().find(named).ok_or_else(|| format!("there is no app `{name}`"));
    };
    let places = snapshot.tokens.apps(token.expose().as_bytes());
    let Some(places) = places else { return Err("no app has this user token".to_owned()) };
    let apps: Vec<_> = places.iter().filter_map(|place| snapshot.apps.get(*place)).collect();
    let names: Vec<_> = apps.iter().map(|app| app.name.as_str()).collect();
    let names = names.join(", ");
    let mut chosen = apps.into_iter().filter(named);
    match (chosen.next(), chosen.next()) {
        (Some(app), None) => Ok(app),
        (None, _) => Err(format!("this user token opens {names}, and not the app that is named")),
        (Some(_), Some(_)) => Err(format!("this user token opens {names}: name one of them")),
    }
}
