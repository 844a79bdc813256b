//! Why a request would go where it would go, for an operator who asks.
//!
//! The ranking comes from what requests themselves go by: `Candidates` and [`Pool::order`]. Asking is
//! a request that is never sent: it takes a turn where turns are taken, and an instance that is being
//! tried again is let go at once.
//!
//! [`Pool::order`]: crate::gateway::state::pool::Pool::order

use std::net::IpAddr;
use std::sync::Arc;

use uuid::Uuid;

use crate::balance::WorkKind;
use crate::gateway::proxy::resource_ids::{OwnerLookup, ResourceIds};
use crate::gateway::proxy::select::{Binding, Candidates, Next, SelectContext, key_of};
use crate::gateway::state::admission::SkipReason;
use crate::gateway::state::app::App;
use crate::gateway::state::member::Member;
use crate::gateway::state::shared::Shared;
use crate::gateway::state::snapshot::Snapshot;
use crate::model::InstanceName;

/// A request as far as it decides where it goes.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The app that its token opens.
    pub app: &'a Arc<App>,
    /// Its user.
    pub user: Option<&'a str>,
    /// The client's address.
    pub address: IpAddr,
    /// The conversation that it continues.
    pub conversation: Option<&'a str>,
}

/// Where it would go.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What is hashed; none if the request is keyed by nothing.
    pub key: Option<String>,
    /// Every instance in the request's own order, those that are out too.
    pub ranking: Vec<Ranked>,
    /// What happens while the first that is asked is full.
    pub when_full: WhenFull,
    /// Who has the conversation, where that is known: nobody else is asked.
    pub owner: Option<InstanceName>,
    /// That one is out.
    pub owner_out: bool,
}

/// An instance in a request's order.
#[derive(Clone, Debug)]
pub struct Ranked {
    /// The instance as the app sees it.
    pub member: Arc<Member>,
    /// The how manieth it would be to be asked, from 1; none if it is passed over.
    pub turn: Option<usize>,
    /// Why it is passed over, if it is.
    pub passed_over: Option<SkipReason>,
    /// It has more to do than `max_load` allows, so that free requests pass it over.
    pub above_max_load: bool,
}

/// What happens to a request while the first that is asked has no free slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// It waits there: its data is there.
    Waits,
    /// It goes on to the next.
    GoesOn,
}

/// Explains a request to an app of `snapshot`.
pub fn explain(shared: &Shared, snapshot: &Snapshot, question: Question<'_>) -> Explanation {
    let Question { app, user, address, conversation } = question;
    let now_ms = shared.now_ms();
    let owner = {
        let id = conversation.and_then(|id| Uuid::try_parse(id).ok());
        ResourceIds::of_turn(id, &[]).owner_lookup(app, shared.owners())
    };
    // A run, streamed if the app is known for flows: those need a worker. Asking must not use up the
    // trial of an instance where they do not start, so the next one is due at once.
    let run_span_ms = app.stats.kind.is_flow().then_some(0);
    let (work, storage) = (WorkKind::Run, app.policy.storage);
    let context = SelectContext { user, address, owner, work, storage, run_span_ms };
    let mut candidates = Candidates::new(&app.pool, context, snapshot.last_resort);
    let mut asked = Vec::new();
    let owner_out = loop {
        match candidates.next(now_ms) {
            Next::Ask(candidate) => asked.push(candidate.member),
            Next::OwnerOut(member) if member.is_down() => break Some((member, SkipReason::Down)),
            Next::OwnerOut(member) => {
                let is_ejected = member.is_ejected_for_somebody();
                let why = if is_ejected { SkipReason::Ejected } else { SkipReason::NoWorker };
                break Some((member, why));
            }
            Next::Nobody => break None,
        }
    };
    let is_owner_out = owner_out.is_some();
    let skipped: Vec<_> = candidates.skipped().iter().cloned().chain(owner_out).collect();
    let key = key_of(&app.pool, user, address);
    let pool = &app.pool;
    // Without a key the order is another one for each request: that of this one is shown.
    let mut order: Vec<_> = match &key {
        None => asked.iter().chain(skipped.iter().map(|(member, _)| member)).cloned().collect(),
        Some(key) => {
            let mut order = pool.order(Some(key.as_bytes()));
            std::iter::from_fn(|| pool.next(&mut order, None).cloned()).collect()
        }
    };
    // With the owner known nobody else was looked at.
    let unnamed = |member: &&Arc<Member>| !order.iter().any(|other| Arc::ptr_eq(other, member));
    let unnamed: Vec<_> = pool.members.iter().filter(unnamed).cloned().collect();
    order.extend(unnamed);
    let max_load = pool.max_load.filter(|_| key.is_some() && owner == OwnerLookup::None);
    let bound = max_load.map(|max_load| pool.bound(max_load));
    let ranked = |member: Arc<Member>| Ranked {
        turn: asked.iter().position(|other| Arc::ptr_eq(other, &member)).map(|place| place + 1),
        passed_over: skipped
            .iter()
            .find(|(other, _)| Arc::ptr_eq(other, &member))
            .map(|(_, why)| *why),
        above_max_load: bound.is_some_and(|bound| !bound.admits(member.load())),
        member,
    };
    Explanation {
        key,
        ranking: order.into_iter().map(ranked).collect(),
        when_full: match candidates.binding() {
            Binding::Owner | Binding::Key => WhenFull::Waits,
            Binding::Free => WhenFull::GoesOn,
        },
        owner: match owner {
            OwnerLookup::Owner(place) => {
                pool.members.get(place).map(|member| member.name().clone())
            }
            OwnerLookup::None | OwnerLookup::Unknown => None,
        },
        owner_out: is_owner_out,
    }
}
