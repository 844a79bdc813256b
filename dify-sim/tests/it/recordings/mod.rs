//! Replays the recordings of real Dify instances in the order they were made and compares.
//!
//! `order-1.5.txt` and `order-1.14.txt` say what is sent when; ids of the recordings are paired with
//! those the simulation gives, so that later requests use them. Compared: the status line, the
//! headers with their case, order and values, the body or the chunks with their text. Masked: the
//! date, ids (each is numbered by its first appearance, so that equal ids stay equal), times,
//! process ids, signatures, and what one and the same Dify answers differently by chance.

mod bodies;
mod compare;
mod landscape;
mod mask;
mod player;
mod recording;

use player::Player;

/// Recordings of 1.5.0 that are not replayed, each with its reason.
const NOT_CLAIMED_EARLY: &[(&str, &str)] = &[
    ("llm-chat-second", "the recorded model then gave only its first token to blocking requests"),
    ("llm-messages", "lists the cut answers of the conversation above"),
];

/// Recordings of the later series that are not replayed, each with its reason.
const NOT_CLAIMED_LATER: &[(&str, &str)] = &[
    ("swagger", "the router's own description of its routes, 94 kB that nothing here reads"),
    ("llm-messages", "two turns of the same second came in the wrong order, by chance"),
    ("x-termall-connect-0.3s", "a stopped simulation closes its port at once, not 0.3 s later"),
];

#[tokio::test]
async fn recordings_of_dify_are_answered_in_the_same_words() {
    let player = Player::new("recordings", landscape::early().await);
    let replay = replay("1.5.0", player, include_str!("order-1.5.txt"), NOT_CLAIMED_EARLY).await;
    println!("{}", replay.report);
    replay.assert();
}

#[tokio::test]
async fn recordings_of_later_dify_are_answered_in_the_same_words() {
    let player = Player::new("recordings-1.14", landscape::later().await);
    let order = include_str!("order-1.14.txt");
    let replay = replay("1.12.1 to main", player, order, NOT_CLAIMED_LATER).await;
    println!("{}", replay.report);
    replay.assert();
}

/// What a replay came to.
struct Replay {
    report: String,
    differences: Vec<String>,
    /// Recordings that were neither played nor excused.
    missing: Vec<String>,
}

impl Replay {
    fn assert(&self) {
        assert!(self.differences.is_empty(), "\n{}", self.differences.join("\n\n"));
        assert!(self.missing.is_empty(), "neither played nor excused: {:?}", self.missing);
    }
}

async fn replay(
    set: &str,
    mut player: Player,
    order: &str,
    not_claimed: &[(&str, &str)],
) -> Replay {
    let all = recording::names(player.folder);
    for line in order.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if !line.is_empty() {
            player.play(line).await;
        }
    }
    let mut missing = Vec::new();
    for name in &all {
        let excused = not_claimed.iter().any(|(other, _)| other == name);
        let played = player.played.contains(name);
        assert!(!(excused && played), "{name} is both excused and played");
        if !excused && !played {
            missing.push(name.clone());
        }
    }
    let mut report =
        format!("Dify {set}: {} of {} recordings claimed and equal", player.equal, all.len());
    for (name, reason) in not_claimed {
        report += &format!("\n  not claimed: {name}: {reason}");
    }
    Replay { report, differences: player.differences, missing }
}
