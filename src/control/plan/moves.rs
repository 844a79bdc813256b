//! Which users would go to another instance, counted with made-up users.

use std::collections::BTreeMap;
use std::iter;
use std::net::Ipv4Addr;
use std::sync::Arc;

use serde::Serialize;

use crate::balance::HashKey;
use crate::gateway::key;
use crate::gateway::state::app::App;
use crate::gateway::state::member::{Drain, Member};
use crate::gateway::state::pool::Pool;
use crate::model::InstanceName;

/// How the users of an app move.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "what")]
pub enum Moves {
    /// No user has an instance of their own, neither now nor then.
    NoHomes,
    /// No user has an instance of their own now; then each has.
    HomesGained,
    /// No user will have an instance of their own any more, so all lose theirs.
    HomesLost,
    /// Each has one, now and then.
    Counted {
        /// Made-up users (with `ip_hash`: client addresses) that were asked for their instance.
        sample: u32,
        /// Those whose instance would be another.
        moved: u32,
        /// From where to where, the most first.
        between: Vec<Move>,
    },
}

/// Users that would go from one instance to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Move {
    /// Where they are now.
    pub from: InstanceName,
    /// Where they would be.
    pub to: InstanceName,
    /// How many of the sample.
    pub users: u32,
}

impl Moves {
    /// The share of users that move, from 0 to 1.
    pub fn share(&self) -> f64 {
        match self {
            Self::NoHomes | Self::HomesGained => 0.0,
            Self::HomesLost => 1.0,
            Self::Counted { sample, moved, .. } => f64::from(*moved) / f64::from((*sample).max(1)),
        }
    }
}

/// How many of `sample` made-up users of an app would have another instance.
pub(super) fn moves(before: &App, after: &App, sample: u32) -> Moves {
    let keyed = |app: &App| app.pool.method.keyed();
    match (keyed(before), keyed(after)) {
        (HashKey::ByNothing, HashKey::ByNothing) => return Moves::NoHomes,
        (HashKey::ByNothing, _) => return Moves::HomesGained,
        (_, HashKey::ByNothing) => return Moves::HomesLost,
        (HashKey::ByUser | HashKey::ByAddress, HashKey::ByUser | HashKey::ByAddress) => {}
    }
    let mut between = BTreeMap::new();
    let mut moved = 0;
    for number in 0..sample {
        let home = |app: &App| home(&app.pool, &made_up(app, number));
        let (Some(from), Some(to)) = (home(before), home(after)) else { continue };
        if from != to {
            moved += 1;
            *between.entry((from, to)).or_insert(0) += 1;
        }
    }
    let mut between: Vec<_> =
        between.into_iter().map(|((from, to), users)| Move { from, to, users }).collect();
    between.sort_by_key(|way| std::cmp::Reverse(way.users));
    Moves::Counted { sample, moved, between }
}

/// The key of a made-up user, or of their address.
pub(super) fn made_up(app: &App, number: u32) -> String {
    match app.pool.method.keyed() {
        // Spread over all addresses: an odd factor gives each number another one.
        HashKey::ByAddress => {
            key(app.name.as_str(), &Ipv4Addr::from(number.wrapping_mul(0x9E37_79B1)).to_string())
        }
        HashKey::ByUser | HashKey::ByNothing => key(app.name.as_str(), &format!("user-{number}")),
    }
}

/// The first choice of a key that takes new users.
pub(super) fn home(pool: &Pool, key: &str) -> Option<InstanceName> {
    let mut order = pool.order(Some(key.as_bytes()));
    let mut members = iter::from_fn(|| pool.next(&mut order, None));
    let first = members.next()?;
    let takes = |member: &&Arc<Member>| member.drain == Drain::No;
    let home = iter::once(first).chain(members).find(takes).unwrap_or(first);
    Some(home.name().clone())
}
