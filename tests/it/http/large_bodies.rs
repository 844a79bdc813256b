//! What a large body takes is not taken from those who share its worker.

use std::time::Duration;

use serde_json::{Value, json};

use super::bodies::{body_to, gateway, sink};
use crate::rig::process::Process;
use crate::rig::send;

const ANSWER: &str = concat!(
    "data: {\"event\":\"message\",\"task_id\":\"0f2a62e1-6a3b-4a80-b8a4-3c9c7a4a9d12\",",
    "\"message_id\":\"0f2a62e1-6a3b-4a80-b8a4-3c9c7a4a9d13\",",
    "\"conversation_id\":\"0f2a62e1-6a3b-4a80-b8a4-3c9c7a4a9d14\",\"answer\":\"yes\"}\n\n",
    "data: {\"event\":\"message_end\",\"task_id\":\"0f2a62e1-6a3b-4a80-b8a4-3c9c7a4a9d12\",",
    "\"message_id\":\"0f2a62e1-6a3b-4a80-b8a4-3c9c7a4a9d13\",",
    "\"conversation_id\":\"0f2a62e1-6a3b-4a80-b8a4-3c9c7a4a9d14\",\"metadata\":{}}\n\n",
);

/// CPU time so far: that of the workers' threads, and that of the process with the threads that ended.
fn spent(gateway: &Process) -> (Duration, Duration) {
    let folder = format!("/proc/{}", gateway.id());
    let threads = std::fs::read_dir(format!("{folder}/task")).unwrap().flatten();
    let read = |thread: &std::fs::DirEntry, file| std::fs::read_to_string(thread.path().join(file));
    let workers = threads.filter_map(|thread| {
        // One may have ended since.
        let name = read(&thread, "comm").ok()?;
        let spent = read(&thread, "schedstat").ok()?;
        let spent: u64 = spent.split_whitespace().next()?.parse().ok()?;
        name.starts_with("worker-").then_some(spent)
    });
    let workers = Duration::from_nanos(workers.sum());
    let stat = std::fs::read_to_string(format!("{folder}/stat")).unwrap();
    // proc_pid_stat(5): of what follows the name, the 12th and 13th are utime and stime.
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace().skip(11).take(2);
    let ticks: u64 = fields.map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    (workers, Duration::from_secs(ticks) / rustix::param::clock_ticks_per_second() as u32)
}

fn chat_of(messages: &Value) -> Value {
    json!({ "model": "shop", "messages": messages })
}

/// Counted in CPU time, which depends little on how busy the machine is. Where all but the parsing was
/// done by a worker, it had 42 to 96 % of it.
#[tokio::test]
async fn a_large_body_is_not_worked_on_by_the_workers() {
    let gateway = gateway(sink(("200 OK", ANSWER)).await).await;
    let small = chat_of(&json!([{"role": "user", "content": "hi"}]));
    let first = send(gateway.listen, body_to("/v1/chat/completions", small.to_string())).await;
    assert_eq!(first.status, 200, "{first:?}");

    let text = "two words\n".repeat(150_000);
    let url = format!("data:image/png;base64,{}", "iVBORw0KGgoA".repeat(400_000));
    let picture = json!([{"type": "image_url", "image_url": {"url": url}}]);
    let many: Vec<_> = (0..29_999)
        .map(|turn| (["user", "assistant"][turn % 2], "w".repeat(20)))
        .map(|(role, text)| json!({ "role": role, "content": text }))
        .collect();
    for (what, body) in [
        ("a question", chat_of(&json!([{"role": "user", "content": text}]))),
        (
            "a transcript",
            chat_of(&json!([
                {"role": "user", "content": "a"},
                {"role": "assistant", "content": text},
                {"role": "user", "content": "b"},
            ])),
        ),
        ("a picture", chat_of(&json!([{"role": "user", "content": picture}]))),
        (
            "an earlier picture",
            chat_of(&json!([
                {"role": "user", "content": picture},
                {"role": "assistant", "content": "a cat"},
                {"role": "user", "content": "which?"},
            ])),
        ),
        ("90,000 elements", chat_of(&many.into())),
    ] {
        let body = body.to_string();
        let size = body.len();
        let before = spent(&gateway);
        let answer = send(gateway.listen, body_to("/v1/chat/completions", body)).await;
        let after = spent(&gateway);
        assert_eq!(answer.json()["choices"][0]["message"]["content"], "yes", "{what}");
        let (workers, all) = (after.0 - before.0, after.1 - before.1);
        println!("{what}: {size} bytes, {workers:?} of {all:?} by workers");
        assert!(workers * 3 < all, "{what}: {workers:?} of {all:?} by workers");
    }
}
