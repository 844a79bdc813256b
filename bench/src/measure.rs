//! What a run shows: what clients noticed, and what the instances received.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dify_sim::{Dify, Fault, Served};
use tokio::time::Instant;

use crate::case::{Break, Case};
use crate::load::{Kind, Outcome, Sent, number_of};

/// A broken instance has to be out of rotation after this.
pub const OUT_AFTER: Duration = Duration::from_secs(2);
/// After so many broken answers an instance has to be out of rotation.
pub const ENOUGH: usize = 5;
/// A broken answer has come back this long after its request came in: a run's time, and a bit.
const COME_BACK: Duration = Duration::from_millis(100);
/// What takes so long has waited for an instance that does not answer; runs take 50 ms.
pub const DELAY: Duration = Duration::from_millis(800);
/// A request that was sent so shortly before healing may properly arrive after it.
const MARGIN: Duration = Duration::from_millis(100);

/// Which instances were broken, and when.
#[derive(Debug)]
pub struct Broken {
    /// Their indexes.
    which: Vec<usize>,
    /// Each change: when it began, when it was in force, and whether requests may die of it.
    changes: Vec<(Instant, Instant, bool)>,
}

impl Broken {
    /// These are going to be.
    #[must_use]
    pub fn of(which: Vec<usize>) -> Self {
        Self { which, changes: Vec::new() }
    }

    /// Breaks or heals them and notes when.
    ///
    /// # Errors
    /// An instance cannot listen again.
    pub async fn set(&mut self, instances: &[Dify], fault: Fault) -> anyhow::Result<()> {
        let began = Instant::now();
        let before = self.which.first().and_then(|i| instances.get(*i)).map(Dify::fault);
        for index in &self.which {
            if let Some(dify) = instances.get(*index) {
                dify.set_fault(fault).await?;
            }
        }
        // What wakes up closes connections that were silent for too long, with what was sent on them.
        let wakes =
            fault == Fault::None && matches!(before, Some(Fault::Frozen | Fault::BlackHole));
        self.changes.push((began, Instant::now(), fault != Fault::None || wakes));
        Ok(())
    }

    /// When the first fault was in force.
    fn broken_at(&self) -> Option<Instant> {
        self.changes.first().map(|(_, done, _)| *done)
    }

    /// When the last healing began.
    fn healed_at(&self) -> Option<Instant> {
        self.changes.last().map(|(began, ..)| *began)
    }

    /// Whether a request was under way when it may have died of a change.
    fn cut_into(&self, sent: &Sent) -> bool {
        self.changes
            .iter()
            .any(|(began, done, deadly)| *deadly && sent.started <= *done && sent.ended >= *began)
    }
}

/// The figures of one run.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    /// Requests sent.
    pub sent: usize,
    /// GETs whose client noticed something.
    pub gets_lost: usize,
    /// The same of POSTs that were under way when the instance broke, or that it received broken.
    pub posts_lost_there: usize,
    /// The same of all other POSTs.
    pub posts_lost_elsewhere: usize,
    /// Answers that look whole and are not.
    pub cut_unseen: usize,
    /// POSTs that were sent whole to two instances.
    pub posts_twice: usize,
    /// POSTs that one instance received whole twice.
    pub posts_repeated: usize,
    /// POSTs that were answered with 502 although no instance had received them whole and others were there:
    /// as far as could be told they may have been executed, and so were not repeated.
    pub posts_given_up: usize,
    /// Requests to which the broken instance gave its broken answer.
    pub broken_answers: usize,
    /// Requests sent to it when [`ENOUGH`] of them had come back.
    pub sent_after_enough: usize,
    /// Requests sent to it later than [`OUT_AFTER`] after it broke. `None` when it cannot be said.
    pub still_sent: Option<usize>,
    /// Requests sent later than [`OUT_AFTER`] after it broke that took longer than [`DELAY`]: what
    /// is tried at an instance that is not reached cannot be seen there.
    pub delayed: usize,
    /// From healing until the last of the broken ones has served a request that was sent since.
    /// `None`: not while it was watched.
    pub back_after: Option<Duration>,
    /// The longest that the client of a GET waited.
    pub worst_get: Duration,
    /// What clients noticed, in their words, and how often.
    pub noticed: BTreeMap<String, usize>,
}

impl Measured {
    /// What clients noticed, apart from POSTs that were at the broken instance.
    #[must_use]
    pub fn errors(&self) -> usize {
        self.gets_lost + self.posts_lost_elsewhere
    }

    /// POSTs that were run twice.
    #[must_use]
    pub fn run_twice(&self) -> usize {
        self.posts_twice + self.posts_repeated
    }

    /// What clients noticed.
    #[must_use]
    pub fn all_errors(&self) -> usize {
        self.errors() + self.posts_lost_there
    }
}

/// What one instance received, by the requests' numbers.
#[derive(Default)]
struct Received {
    /// When each number came that was answered with 200.
    served: BTreeMap<u64, std::time::Instant>,
    /// When each number came first: all of which at least the head was understood.
    numbers: BTreeMap<u64, std::time::Instant>,
    /// How often each POST came whole.
    whole: BTreeMap<u64, usize>,
}

impl Received {
    fn of(dify: &Dify) -> Self {
        let mut received = Self::default();
        for Served { method, path, status, body, at, .. } in dify.served() {
            let Some(number) = number_of(&path, &body) else { continue };
            received.numbers.entry(number).or_insert(at);
            if method == "POST" {
                *received.whole.entry(number).or_default() += 1;
            }
            if status == 200 {
                received.served.entry(number).or_insert(at);
            }
        }
        received
    }
}

/// The figures of a run that is over.
#[must_use]
pub fn measure(case: &Case, sent: &[Sent], instances: &[Dify], broken: &Broken) -> Measured {
    let received: Vec<_> = instances.iter().map(Received::of).collect();
    let there: Vec<_> = broken.which.iter().filter_map(|index| received.get(*index)).collect();
    let mut measured = Measured { sent: sent.len(), ..Measured::default() };
    for request in sent {
        let was_there = there.iter().any(|instance| instance.numbers.contains_key(&request.number));
        count(&mut measured, request, was_there || broken.cut_into(request));
    }
    measured.posts_twice = sent
        .iter()
        .filter(|sent| received.iter().filter(|r| r.whole.contains_key(&sent.number)).count() > 1)
        .count();
    measured.posts_repeated =
        received.iter().flat_map(|r| r.whole.values()).filter(|count| **count > 1).count();
    let given_up = |sent: &&Sent| {
        sent.kind != Kind::Get
            && matches!(&sent.outcome, Outcome::Lost(noticed) if noticed == "502")
            && !received.iter().any(|received| received.whole.contains_key(&sent.number))
    };
    if !matches!(case.how, Break::All(_)) {
        measured.posts_given_up = sent.iter().filter(given_up).count();
    }
    if let (Some(broken_at), Some(healed_at)) = (broken.broken_at(), broken.healed_at()) {
        let until = healed_at - MARGIN;
        let during =
            |from: Instant| sent.iter().filter(move |s| s.started > from && s.started < until);
        let between = |from: Instant| {
            during(from).filter(|s| {
                case.concerns(s.kind) && there.iter().any(|r| r.numbers.contains_key(&s.number))
            })
        };
        measured.broken_answers = between(broken_at).count();
        let enough = fifth_came_back(between(broken_at), &there);
        measured.sent_after_enough = enough.map_or(0, |at| between(at).count());
        // An instance that flaps is properly used in its good moments.
        measured.still_sent =
            matches!(case.how, Break::One(_)).then(|| between(broken_at + OUT_AFTER).count());
        measured.delayed =
            during(broken_at + OUT_AFTER).filter(|sent| sent.ended - sent.started > DELAY).count();
        measured.back_after = back_after(sent, &there, healed_at);
    }
    measured
}

fn count(measured: &mut Measured, request: &Sent, excused: bool) {
    if request.kind == Kind::Get {
        measured.worst_get = measured.worst_get.max(request.ended - request.started);
    }
    let noticed = match &request.outcome {
        Outcome::Good => return,
        Outcome::Lost(noticed) => noticed,
        Outcome::CutUnseen => {
            measured.cut_unseen += 1;
            "cut, unseen"
        }
    };
    *measured.noticed.entry(noticed.to_owned()).or_default() += 1;
    match request.kind {
        Kind::Get => measured.gets_lost += 1,
        _ if excused => measured.posts_lost_there += 1,
        _ => measured.posts_lost_elsewhere += 1,
    }
}

fn back_after(sent: &[Sent], there: &[&Received], healed_at: Instant) -> Option<Duration> {
    let healed = healed_at.into_std();
    let later: BTreeSet<_> =
        sent.iter().filter(|sent| sent.started > healed_at).map(|sent| sent.number).collect();
    let back = there.iter().map(|received| {
        let served = received.served.iter().filter(|(number, _)| later.contains(number));
        served.map(|(_, at)| at.saturating_duration_since(healed)).min()
    });
    // The slowest counts; one that did not come back is none at all.
    back.collect::<Option<Vec<_>>>()?.into_iter().max()
}

/// When [`ENOUGH`] of these had been answered.
fn fifth_came_back<'a>(
    broken: impl Iterator<Item = &'a Sent>,
    there: &[&Received],
) -> Option<Instant> {
    let mut came: Vec<_> = broken
        .filter_map(|sent| there.iter().find_map(|received| received.numbers.get(&sent.number)))
        .collect();
    came.sort();
    came.get(ENOUGH - 1).map(|at| Instant::from_std(**at) + COME_BACK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{ALL, setup};
    use crate::client::{Clients, Via};
    use crate::contender::APP_KEY;
    use crate::load::{LIMIT, judge, request};

    /// Sends a request straight to an instance.
    async fn send(dify: &Dify, number: u64) -> Sent {
        let (kind, started) = (Kind::of(number), Instant::now());
        let request = request(APP_KEY, number).unwrap();
        let answer = Clients::new(dify.addr()).send(request, Via::Fresh, LIMIT).await;
        let outcome = answer.map_or_else(Outcome::Lost, |answer| judge(kind, number, &answer));
        Sent { number, kind, started, ended: Instant::now(), outcome }
    }

    async fn instances() -> Vec<Dify> {
        vec![Dify::start(setup()).await.unwrap(), Dify::start(setup()).await.unwrap()]
    }

    fn case(name: &str) -> &'static Case {
        ALL.iter().find(|case| case.name == name).unwrap()
    }

    #[tokio::test]
    async fn what_two_instances_received_is_counted_and_what_one_lost() {
        let instances = instances().await;
        let mut broken = Broken::of(vec![1]);
        let mut sent = vec![send(&instances[1], 0).await];
        broken.set(&instances, Fault::Killed).await.unwrap();
        for number in [2, 3] {
            sent.push(send(&instances[1], number).await);
        }
        broken.set(&instances, Fault::None).await.unwrap();
        send(&instances[0], 5).await;
        sent.push(send(&instances[1], 5).await);
        let measured = measure(case("killed"), &sent, &instances, &broken);
        // Nobody received them, and the instance was dead before: they are not excused.
        assert_eq!((measured.gets_lost, measured.posts_lost_elsewhere), (1, 1), "{measured:?}");
        assert_eq!((measured.posts_twice, measured.posts_repeated), (1, 0), "{measured:?}");
        assert_eq!((measured.run_twice(), measured.posts_given_up), (1, 0), "{measured:?}");
        assert!(measured.back_after.is_some(), "{measured:?}");
        assert_eq!(measured.sent, 4);
        for request in &mut sent {
            request.outcome = Outcome::Lost("502".to_owned());
        }
        let measured = measure(case("killed"), &sent, &instances, &broken);
        // Number 3; 2 is a GET, 0 and 5 were received.
        assert_eq!(measured.posts_given_up, 1, "{measured:?}");
    }

    #[tokio::test]
    async fn a_post_that_was_there_is_told_from_others() {
        let instances = instances().await;
        let mut broken = Broken::of(vec![1]);
        broken.set(&instances, Fault::Reset).await.unwrap();
        let mut sent = Vec::new();
        for number in [1, 3, 5, 7, 11, 13, 15, 17] {
            sent.push(send(&instances[1], number).await);
        }
        // Healing comes later than what was sent just before.
        tokio::time::sleep(MARGIN).await;
        broken.set(&instances, Fault::None).await.unwrap();
        let measured = measure(case("reset"), &sent, &instances, &broken);
        assert_eq!((measured.posts_lost_there, measured.errors()), (8, 0), "{measured:?}");
        assert_eq!((measured.broken_answers, measured.posts_given_up), (8, 0), "{measured:?}");
        assert_eq!((measured.still_sent, measured.back_after), (Some(0), None), "{measured:?}");
    }
}
