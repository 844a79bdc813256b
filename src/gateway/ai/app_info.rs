//! What the gateway knows of an app through its instances: its mode and its inputs.
//!
//! Each instance is asked once, and again after a while; meanwhile what is known is used.

use std::sync::Arc;

use crate::adapter::{AppInfo, non_dify};
use crate::dify::path::CallKind;
use crate::gateway::ai::dify_call::{Call, DifyCalls};
use crate::gateway::ai::errors;
use crate::gateway::ai::upstream;
use crate::gateway::ai::upstream_error::of_answer;
use crate::gateway::proxy::select::key_of;
use crate::gateway::state::app::App;
use crate::gateway::state::member::Member;
use crate::model::GatewayError;

/// The facts of the calls' app.
///
/// # Errors
/// No instance says them.
pub(super) async fn facts(calls: DifyCalls) -> (DifyCalls, Result<Arc<AppInfo>, GatewayError>) {
    let now_ms = calls.worker.shared().now_ms();
    let members = calls.app.pool.members.iter();
    let home = home(&calls);
    // Without a home any instance's word will do.
    let mut asked =
        members.filter(|member| home.as_ref().is_none_or(|home| Arc::ptr_eq(home, member)));
    if let Some(facts) = asked.find_map(|member| member.stats.facts.known(now_ms)) {
        return (calls, Ok(facts));
    }
    let old = any_known(&calls.app);
    // The user's own instance is out: what another one said will do, too.
    if let (Some(facts), false) = (&old, home.is_none_or(|member| member.is_in())) {
        return (calls, Ok(Arc::clone(facts)));
    }
    let (calls, asked) = ask(calls).await;
    match (asked, old) {
        (Ok(facts), _) | (Err(_), Some(facts)) => (calls, Ok(facts)),
        (Err(error), None) => (calls, Err(error)),
    }
}

/// The first instance in the user's order; none where users have no order of their own.
fn home(calls: &DifyCalls) -> Option<Arc<Member>> {
    let app = &calls.app;
    let key = key_of(&app.pool, Some(&calls.user), calls.address)?;
    let mut order = app.pool.order(Some(key.as_bytes()));
    app.pool.next(&mut order, None).cloned()
}

fn any_known(app: &App) -> Option<Arc<AppInfo>> {
    app.pool.members.iter().find_map(|member| member.stats.facts.at_any_age())
}

async fn ask(calls: DifyCalls) -> (DifyCalls, Result<Arc<AppInfo>, GatewayError>) {
    let (calls, info) = get(calls, "/v1/info", CallKind::Info).await;
    let (_, info) = match info {
        Ok(info) => info,
        Err(error) => return (calls, Err(error)),
    };
    let (calls, parameters) = get(calls, "/v1/parameters", CallKind::Parameters).await;
    let (member, parameters) = match parameters {
        Ok(parameters) => parameters,
        Err(error) => return (calls, Err(error)),
    };
    let facts = AppInfo::read(&info, &parameters)
        .map(Arc::new)
        .map_err(|what| errors::unknown_app(&member, what));
    if let Ok(facts) = &facts {
        member.stats.facts.learn(facts, calls.worker.shared().now_ms());
    }
    (calls, facts)
}

async fn get(
    calls: DifyCalls,
    path: &str,
    kind: CallKind,
) -> (DifyCalls, Result<(Arc<Member>, bytes::Bytes), GatewayError>) {
    let (calls, read) = calls.ask(Call::get(path.to_owned(), kind)).await;
    let answer = match read {
        Err(error) => Err(error),
        Ok(read) if read.status == 200 && upstream::is_json(&read.body) => {
            Ok((read.member, read.body))
        }
        Ok(read) if read.status == 200 => Err(non_dify::page()),
        Ok(read) => Err(of_answer(&read)),
    };
    (calls, answer)
}
