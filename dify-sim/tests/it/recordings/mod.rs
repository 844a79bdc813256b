//! Replays the recordings of a real Dify 1.5.0 in the order they were made and compares.
//!
//! `order-1.5.txt` says what is sent when; ids of the recordings are paired with those the simulation
//! gives, so that later requests use them. Compared: the status line, the headers with their case,
//! order and values, the body or the chunks with their text. Masked: the date, ids (each is
//! numbered by its first appearance, so that equal ids stay equal), times, process ids, signatures.

mod bodies;
mod mask;
mod player;
mod recording;

use player::Player;

/// Recordings that are not replayed, each with its reason.
const NOT_CLAIMED: &[(&str, &str)] = &[
    ("llm-chat-second", "the recorded model then gave only its first token to blocking requests"),
    ("llm-messages", "lists the cut answers of the conversation above"),
];

#[tokio::test]
async fn recordings_of_dify_are_answered_in_the_same_words() {
    let all = recording::names();
    let mut player = Player::start().await;
    for line in include_str!("order-1.5.txt").lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if !line.is_empty() {
            player.play(line).await;
        }
    }
    let mut missing = Vec::new();
    for name in &all {
        let excused = NOT_CLAIMED.iter().any(|(other, _)| other == name);
        let played = player.played.contains(name);
        assert!(!(excused && played), "{name} is both excused and played");
        if !excused && !played {
            missing.push(name.clone());
        }
    }
    println!("{} of {} recordings claimed and equal", player.equal, all.len());
    assert!(player.differences.is_empty(), "\n{}", player.differences.join("\n\n"));
    assert!(missing.is_empty(), "neither played nor excused: {missing:?}");
}
