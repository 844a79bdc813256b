//! The judgement of an instance for one app, by the statuses of its answers: `max_fails` in a row that
//! count take it out for `fail_timeout`; then one request at a time finds out whether it is well again.
//!
//! A status may be the fault of whoever asked: of a user's data, of an id that Dify chokes on. So it
//! matters who got it. Of several callers, it takes the instance out for the app; of one alone, for
//! that one alone, and not at all where others have had good answers within `fail_timeout`. Runs and the rest
//! are judged apart, since one may work where the other fails.
//!
//! All state is in three atomics that stand together, so that asking costs a load, and a good answer a
//! load and twice a second a store. Times are milliseconds since a fixed point; the clock is the
//! caller's.

use std::sync::atomic::{AtomicU64, Ordering};

use super::breaker::{BreakerState, Permit, Thresholds};
use super::requester::{BITS, CallerId, MASK, Requester, WorkKind, second};

/// For whom an instance is taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EjectionScope {
    /// Everybody.
    All,
    /// The one caller who has had all the bad answers.
    Caller,
}

/// What an answer came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusOutcome {
    /// Nothing.
    Unchanged,
    /// Enough in a row: the caller may [open](StatusBreaker::open) the breaker.
    Due(EjectionScope),
    /// The trial failed: it is out for another term.
    StaysOut,
    /// The trial succeeded: it is in again.
    IsBack,
}

/// The judgement of one instance for one app.
#[derive(Debug, Default)]
pub struct StatusBreaker {
    state: AtomicU64,
    /// Of runs, and of the rest.
    rows: [Row; 2],
    /// When it was taken out for all or came back last; 0 if it was never out.
    since_ms: AtomicU64,
}

/// What is in [`StatusBreaker::state`] while it is open; 0 while it is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Open {
    until_ms: u64,
    /// For this one alone.
    alone: Option<u32>,
    /// What failed: only such work can be the trial.
    work: WorkKind,
    has_trial: bool,
}

const CLOSED: u64 = 0;
const TRIAL: u64 = 1;
const ALONE: u64 = 1 << 1;
const RUNS: u64 = 1 << 2;
const CALLER_SHIFT: u32 = 3;
const UNTIL_SHIFT: u32 = CALLER_SHIFT + BITS;
const MAX_UNTIL_MS: u64 = u64::MAX >> UNTIL_SHIFT;

impl Open {
    fn word(self) -> u64 {
        let flag = |is_set: bool, bit: u64| if is_set { bit } else { 0 };
        self.until_ms.clamp(1, MAX_UNTIL_MS) << UNTIL_SHIFT
            | u64::from(self.alone.unwrap_or(0)) << CALLER_SHIFT
            | flag(self.work == WorkKind::Run, RUNS)
            | flag(self.alone.is_some(), ALONE)
            | flag(self.has_trial, TRIAL)
    }

    /// None for a closed breaker.
    fn of(word: u64) -> Option<Self> {
        if word == CLOSED {
            return None;
        }
        let caller = (word >> CALLER_SHIFT & MASK) as u32;
        Some(Self {
            until_ms: word >> UNTIL_SHIFT,
            alone: (word & ALONE != 0).then_some(caller),
            work: if word & RUNS != 0 { WorkKind::Run } else { WorkKind::Other },
            has_trial: word & TRIAL != 0,
        })
    }

    fn concerns(self, caller: CallerId) -> bool {
        self.alone.is_none_or(|alone| alone == caller.user)
    }
}

impl StatusBreaker {
    /// Whether a request for this work may be sent now, and as what.
    pub fn admit(&self, now_ms: u64, sender: Requester) -> Option<Permit> {
        let word = self.state.load(Ordering::Acquire);
        let Some(open) = Open::of(word).filter(|open| open.concerns(sender.caller)) else {
            return Some(Permit::Normal);
        };
        if open.has_trial
            || now_ms < open.until_ms
            || (open.work == WorkKind::Run && sender.work != open.work)
        {
            return None;
        }
        let with_trial = word | TRIAL;
        self.state
            .compare_exchange(word, with_trial, Ordering::AcqRel, Ordering::Acquire)
            .ok()
            .map(|_| Permit::Trial)
    }

    /// Takes an answer with a status that does not count.
    pub fn good(&self, pass: Permit, sender: Requester, now_ms: u64) -> StatusOutcome {
        let row = self.row(sender.work);
        row.good(sender.caller, now_ms);
        let word = self.state.load(Ordering::Acquire);
        let Some(open) = Open::of(word) else { return StatusOutcome::Unchanged };
        // Where another one succeeds, it is not the instance's fault.
        let others = !open.concerns(sender.caller) && open.work == sender.work;
        let ends = others || pass == Permit::Trial;
        if ends
            && self
                .state
                .compare_exchange(word, CLOSED, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
        {
            self.rows.iter().for_each(Row::clear);
            row.good(sender.caller, now_ms);
            if open.alone.is_none() {
                self.since_ms.store(now_ms.max(1), Ordering::Relaxed);
            }
            return StatusOutcome::IsBack;
        }
        StatusOutcome::Unchanged
    }

    /// Takes an answer with a status that counts.
    pub fn bad(
        &self,
        pass: Permit,
        sender: Requester,
        limits: &Thresholds,
        now_ms: u64,
    ) -> StatusOutcome {
        if pass == Permit::Trial {
            let until_ms = now_ms.saturating_add(limits.fail_timeout_ms);
            let stays = |word| {
                Open::of(word).map(|open| Open { until_ms, has_trial: false, ..open }.word())
            };
            self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, stays).ok();
            return StatusOutcome::StaysOut;
        }
        match self.row(sender.work).bad(sender.caller, limits, now_ms) {
            Some(whom) => StatusOutcome::Due(whom),
            None => StatusOutcome::Unchanged,
        }
    }

    /// A trial that says nothing: the next one may be sent.
    pub fn give_back(&self, pass: Permit) {
        if pass == Permit::Trial {
            self.state.fetch_and(!TRIAL, Ordering::AcqRel);
        }
    }

    /// Takes the instance out for its term. False if it was out for them already.
    pub fn open(
        &self,
        whom: EjectionScope,
        sender: Requester,
        limits: &Thresholds,
        now_ms: u64,
    ) -> bool {
        let alone = (whom == EjectionScope::Caller).then_some(sender.caller.user);
        let until_ms = now_ms.saturating_add(limits.fail_timeout_ms);
        let opened = Open { until_ms, alone, work: sender.work, has_trial: false };
        // Who is out alone is out with all others, too.
        let opens = |word| match Open::of(word) {
            Some(open) if open.alone.is_none() || open.alone == alone => None,
            _ => Some(opened.word()),
        };
        let opens = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, opens).is_ok();
        if opens && whom == EjectionScope::All {
            self.since_ms.store(now_ms.max(1), Ordering::Relaxed);
        }
        opens
    }

    /// What is there now is not what was judged: ends any ejection.
    pub fn begins_anew(&self, now_ms: u64) {
        let ended = Open::of(self.state.swap(CLOSED, Ordering::AcqRel));
        self.rows.iter().for_each(Row::clear);
        if ended.is_some_and(|open| open.alone.is_none()) {
            self.since_ms.store(now_ms.max(1), Ordering::Relaxed);
        }
    }

    /// Whether the instance is out for everybody, its trial included.
    pub fn is_open(&self) -> bool {
        Open::of(self.state.load(Ordering::Acquire)).is_some_and(|open| open.alone.is_none())
    }

    /// When the term of whoever is out ends, be it one caller alone.
    pub fn until_ms(&self) -> Option<u64> {
        Open::of(self.state.load(Ordering::Acquire)).map(|open| open.until_ms)
    }

    /// When the instance was taken out for all or came back last, in ms; 0 if it was never out.
    pub fn since_ms(&self) -> u64 {
        self.since_ms.load(Ordering::Relaxed)
    }

    /// Where it stands, and for whom.
    pub fn state(&self, now_ms: u64) -> (BreakerState, EjectionScope) {
        let Some(open) = Open::of(self.state.load(Ordering::Acquire)) else {
            return (BreakerState::Closed, EjectionScope::All);
        };
        let whom = if open.alone.is_some() { EjectionScope::Caller } else { EjectionScope::All };
        match now_ms < open.until_ms {
            true => (BreakerState::Open { until_ms: open.until_ms }, whom),
            false => (BreakerState::HalfOpen, whom),
        }
    }

    fn row(&self, work: WorkKind) -> &Row {
        let [of_runs, of_others] = &self.rows;
        match work {
            WorkKind::Run => of_runs,
            WorkKind::Other => of_others,
        }
    }
}

/// Answers in a row whose status counts, or the last good ones.
#[derive(Debug, Default)]
struct Row(AtomicU64);

/// What is in a [`Row`]; 0 before the first answer. From the low end of the word: which of both it is,
/// the second field, the third, who, and when; seconds are counted as [`second`] does.
#[derive(Clone, Copy, Debug)]
enum Answers {
    /// How many bad ones; whether of more than one caller; who got the first; when somebody else had a
    /// good one last, 0 for never.
    Bad { count: u64, mixed: bool, who: u64, good_s: u64 },
    /// Who had a good one last, and when; how many seconds before that somebody else had one, if ever.
    Good { who: u64, at_s: u64, other_ago_s: Option<u64> },
}

const BAD: u64 = 1;
const MIXED: u64 = 1 << 1;
const COUNT_SHIFT: u32 = 2;
const COUNT_MASK: u64 = (1 << 14) - 1;
const WHO_SHIFT: u32 = 16;
const WHEN_SHIFT: u32 = WHO_SHIFT + BITS;
const WHEN_MASK: u64 = u64::MAX >> WHEN_SHIFT;

impl Answers {
    fn of(word: u64) -> Self {
        let (number, who) = (word >> COUNT_SHIFT & COUNT_MASK, word >> WHO_SHIFT & MASK);
        let at_s = word >> WHEN_SHIFT;
        match word & BAD {
            0 => {
                let other_ago_s = (number != COUNT_MASK && at_s != 0).then_some(number);
                Self::Good { who, at_s, other_ago_s }
            }
            _ => Self::Bad { count: number, mixed: word & MIXED != 0, who, good_s: at_s },
        }
    }

    fn word(self) -> u64 {
        match self {
            Self::Bad { count, mixed, who, good_s } => {
                let flags = if mixed { BAD | MIXED } else { BAD };
                let count = count.min(COUNT_MASK);
                flags | count << COUNT_SHIFT | who << WHO_SHIFT | (good_s & WHEN_MASK) << WHEN_SHIFT
            }
            Self::Good { who, at_s, other_ago_s } => {
                let ago = other_ago_s.map_or(COUNT_MASK, |ago| ago.min(COUNT_MASK));
                ago << COUNT_SHIFT | who << WHO_SHIFT | (at_s & WHEN_MASK) << WHEN_SHIFT
            }
        }
    }

    /// After a good one of `who`.
    fn with_good(self, who: u64, now_s: u64) -> Self {
        let other_ago_s = match self {
            Self::Good { at_s: 0, .. } => None,
            Self::Good { who: before, at_s, other_ago_s } if before == who => {
                other_ago_s.map(|ago| ago + ago_s(now_s, at_s))
            }
            Self::Good { at_s, .. } => Some(ago_s(now_s, at_s)),
            Self::Bad { who: before, good_s, .. } if before == who && good_s != 0 => {
                Some(ago_s(now_s, good_s))
            }
            Self::Bad { .. } => None,
        };
        Self::Good { who, at_s: now_s, other_ago_s }
    }

    /// After a bad one of `who`.
    fn with_bad(self, who: u64) -> Self {
        match self {
            Self::Bad { count, mixed, who: first, good_s } => {
                Self::Bad { count: count + 1, mixed: mixed || first != who, who: first, good_s }
            }
            Self::Good { who: before, at_s, other_ago_s } => {
                let other_s = other_ago_s.map_or(0, |ago| at_s.saturating_sub(ago));
                let good_s = if before == who { other_s } else { at_s };
                Self::Bad { count: 1, mixed: false, who, good_s }
            }
        }
    }
}

impl Row {
    fn good(&self, caller: CallerId, now_ms: u64) {
        let (who, now_s) = (u64::from(caller.user), second(now_ms) & WHEN_MASK);
        let answers = Answers::of(self.0.load(Ordering::Relaxed));
        // Nearly always so; a store would take the line from the other cores.
        if let Answers::Good { who: last, at_s, other_ago_s } = answers
            && at_s == now_s
            && (last == who || other_ago_s == Some(0))
        {
            return;
        }
        self.0.store(answers.with_good(who, now_s).word(), Ordering::Relaxed);
    }

    /// For whom the instance is to be taken out, if for anybody.
    fn bad(&self, caller: CallerId, limits: &Thresholds, now_ms: u64) -> Option<EjectionScope> {
        let next = |word| Some(Answers::of(word).with_bad(u64::from(caller.user)).word());
        let before = self.0.fetch_update(Ordering::AcqRel, Ordering::Relaxed, next).ok()?;
        let after = next(before).map(Answers::of)?;
        let Answers::Bad { count, mixed, good_s, .. } = after else { return None };
        if limits.max_fails == 0 || count < u64::from(limits.max_fails).min(COUNT_MASK) {
            return None;
        }
        let within_s = limits.fail_timeout_ms.div_ceil(1000);
        let others_succeed = good_s != 0 && ago_s(second(now_ms), good_s) <= within_s;
        match (mixed, others_succeed) {
            (true, _) => Some(EjectionScope::All),
            (false, false) => Some(EjectionScope::Caller),
            (false, true) => None,
        }
    }

    fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// How long ago that was, in seconds.
fn ago_s(now_s: u64, at_s: u64) -> u64 {
    now_s.wrapping_sub(at_s) & WHEN_MASK
}

#[cfg(test)]
mod tests;
