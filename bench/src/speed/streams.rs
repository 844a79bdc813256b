//! Clients that have a stream each at the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::speed::instance::{MARK, now_ns};
use crate::speed::line::Line;
use crate::speed::load::{Counts, Done, Going, Load};

/// Without an event for so long a stream has failed.
const LIMIT: Duration = Duration::from_secs(20);
/// Digits of a mark.
const DIGITS: usize = 16;

/// Opens a stream for each connection of this load; `open` counts those that have begun.
///
/// # Errors
/// No thread.
pub fn start(load: Load, core: usize, open: Arc<AtomicU64>) -> anyhow::Result<Going> {
    let counts = Arc::new(Counts::default());
    let theirs = Arc::clone(&counts);
    Going::start(core, counts, async move {
        let mut clients = JoinSet::new();
        for number in 0..load.connections {
            clients.spawn(client(load.clone(), number, Arc::clone(&theirs), Arc::clone(&open)));
        }
        let mut done = Done::default();
        clients.join_all().await.into_iter().for_each(|one| done.add(one));
        done
    })
}

async fn client(load: Load, number: usize, counts: Arc<Counts>, open: Arc<AtomicU64>) -> Done {
    // A thousand a second, so that events are spread over time.
    sleep(Duration::from_millis(number as u64)).await;
    let mut done = Done::default();
    if let Err(what) = stream(&load, number, (&counts, &open), &mut done).await {
        done.fail(what);
    }
    done
}

async fn stream(
    load: &Load,
    number: usize,
    (counts, open): (&Counts, &AtomicU64),
    done: &mut Done,
) -> Result<(), String> {
    let mut line = Line::open(load.target).await?;
    if let Some(request) = load.requests.get(number % load.requests.len().max(1)) {
        line.send(request).await?;
    }
    let head = timeout(LIMIT, line.head()).await.map_err(|_| "no head")??;
    if head.status != 200 {
        return Err(format!("status {}", head.status));
    }
    open.fetch_add(1, Ordering::Relaxed);
    let mut rest = Vec::new();
    loop {
        let piece = timeout(LIMIT, line.piece()).await.map_err(|_| "no event")??;
        rest.extend_from_slice(piece);
        let noting = counts.noting.load(Ordering::Relaxed);
        let now_ns = now_ns();
        let (events, used) = marks(&rest, |sent_ns| {
            if noting {
                let waited_ns = now_ns.saturating_sub(sent_ns);
                done.latencies_ns.push(u32::try_from(waited_ns).unwrap_or(u32::MAX));
            }
        });
        counts.done.fetch_add(events, Ordering::Relaxed);
        if rest.ends_with(b"0\r\n\r\n") {
            return Ok(());
        }
        rest.drain(..used);
    }
}

/// Calls `each` with the times in a text. Gives how many there are and how much of the text need
/// not be looked at again: a mark may be cut, and so may the end of the stream.
fn marks(text: &[u8], mut each: impl FnMut(u64)) -> (u64, usize) {
    let mut events = 0;
    let mut used = text.len().saturating_sub(4);
    for place in memchr::memchr_iter(MARK, text) {
        let Some(digits) = text.get(place + 1..place + 1 + DIGITS) else {
            return (events, place.min(used));
        };
        if let Some(sent_ns) = std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok()) {
            events += 1;
            each(sent_ns);
        }
        used = used.max(place + 1);
    }
    (events, used)
}

#[cfg(test)]
mod tests {
    use super::marks;

    #[test]
    fn each_mark_is_counted_once_wherever_a_piece_is_cut() {
        let text =
            b"data: {\"answer\": \"@0000000000000042...\"}\n\ndata: {\"a@0000000000000043\"}\n\n";
        for cut in 0..text.len() {
            let (mut seen, mut rest) = (Vec::new(), Vec::new());
            for piece in [&text[..cut], &text[cut..]] {
                rest.extend_from_slice(piece);
                let (_, used) = marks(&rest, |at| seen.push(at));
                rest.drain(..used);
            }
            assert_eq!(seen, [42, 43], "cut at {cut}");
        }
    }
}
