//! Whether an answer is the recorded one.

use super::mask::masked;
use super::recording::Recording;
use crate::client::Client;
use std::time::Duration;

/// Bytes that the times of one answer may be longer or shorter.
const TIMES_SLACK: usize = 40;

/// What is to be compared with a recording.
pub(crate) struct Played<'p> {
    pub(crate) method: &'p str,
    /// The body, with the recorded address in place of ours.
    pub(crate) body: &'p str,
    /// What became of the connection.
    pub(crate) after: Option<&'static str>,
}

pub(crate) async fn compare(
    recording: &Recording,
    client: &mut Client,
    played: &Played<'_>,
) -> Result<(), String> {
    answer(recording, client, played.body, played.method)?;
    if recording.left_by_client {
        return Ok(());
    }
    if client.header("Connection") == Some("close") && recording.name == "http10-stream" {
        // What ends with the connection cannot be told from a cut answer.
        return Ok(());
    }
    differ("complete", &recording.complete.to_string(), &client.complete.to_string())?;
    if recording.leftover.is_empty() {
        return played.after.map_or(Ok(()), |after| differ("after", &recording.after, after));
    }
    let end = recording.leftover.find("\r\n\r\n").unwrap() + 4;
    client.forget_answer();
    client.read_all("GET").await;
    differ("second head", &head(&recording.leftover[..end]), &head(&client.head))?;
    let body = String::from_utf8_lossy(&client.body).into_owned();
    let start = &recording.leftover[end..];
    differ("second body", start, &body[..start.len().min(body.len())])?;
    let after = kept(recording, client).await;
    after.map_or(Ok(()), |after| differ("after", &recording.after, after))
}

/// What becomes of the connection after the answer, if that was recorded.
pub(crate) async fn after(recording: &Recording, client: &mut Client) -> Option<&'static str> {
    if recording.left_by_client || !recording.leftover.is_empty() {
        return None;
    }
    kept(recording, client).await
}

async fn kept(recording: &Recording, client: &mut Client) -> Option<&'static str> {
    let closed = match recording.after.as_str() {
        "closed by server" => client.is_closed(Duration::from_secs(5)).await,
        "still open after 0.5 s" => client.is_closed(Duration::from_millis(2)).await,
        _ => return None,
    };
    Some(if closed { "closed by server" } else { "still open after 0.5 s" })
}

fn differ(what: &str, theirs: &str, ours: &str) -> Result<(), String> {
    if theirs == ours { Ok(()) } else { Err(difference(what, theirs, ours)) }
}

/// Whether head and body are as recorded.
fn answer(recording: &Recording, client: &Client, body: &str, method: &str) -> Result<(), String> {
    differ("head", &head(&recording.head), &head(&client.head))?;
    differ("interim", &recording.interim.concat(), &client.interim.concat())?;
    if let Some(length) = client.header("Content-Length")
        && method != "HEAD"
    {
        differ("length", length, &client.body.len().to_string())?;
    }
    if let Some((start, rest)) = recording.body.split_once("... [") {
        let length = rest.split(' ').next().unwrap_or_default();
        // In later recordings the times in what was cut have more and fewer digits.
        let slack = if recording.port > 5600 { TIMES_SLACK } else { 0 };
        if length.parse::<usize>().unwrap().abs_diff(body.len()) > slack {
            differ("whole length", length, &body.len().to_string())?;
        }
        let start = masked(start);
        return differ("start", &start, &masked(body)[..start.len()]);
    }
    if recording.chunks.is_empty() {
        let plain = |text: &str| masked(&in_order(text));
        differ("body", &plain(&recording.body), &plain(body))?;
    } else {
        let ours = body.to_owned();
        let cut = !recording.complete && !recording.left_by_client;
        differ("events", &events(&recording.body, cut), &events(&ours, cut))?;
        if !recording.name.contains("stop") && !cut {
            let (theirs, ours) = (recording.chunks.len(), client.chunks.len());
            differ("number of chunks", &theirs.to_string(), &ours.to_string())?;
        }
        let one = |chunk: &String| chunk.is_empty() || chunk.matches("\n\n").count() == 1;
        if !client.chunks.iter().all(one) {
            return Err("a chunk is not one event".to_owned());
        }
    }
    Ok(())
}

/// The text with keywords in order: they are a set in Dify.
fn in_order(text: &str) -> String {
    let start = "\"keywords\":[";
    let Some((before, rest)) = text.split_once(start) else { return text.to_owned() };
    let (list, rest) = rest.split_once(']').unwrap();
    let mut words: Vec<&str> = list.split(',').collect();
    words.sort_unstable();
    format!("{before}{start}{}]{rest}", words.join(","))
}

/// The events of a stream, masked; runs of tokens of a stopped or cut one are cut to the first.
///
/// Whether a run that its user stopped says so, or that it was aborted, is a matter of chance from
/// 1.13 on: both came for the same requests.
fn events(body: &str, cut: bool) -> String {
    let stopped =
        ["Stopped by user", "0E-7", "Aborted: User"].iter().any(|word| body.contains(word));
    let mut kept: Vec<&str> = Vec::new();
    for event in body.split_inclusive("\n\n") {
        let again = kept.iter().any(|seen| seen.contains("\"tok0 \"")) && event.contains("\"tok");
        if !((stopped || cut) && again) {
            kept.push(event);
        }
    }
    masked(&kept.concat())
        .replace("\"status\":\"failed\",\"outputs\"", "\"status\":\"stopped\",\"outputs\"")
        .replace("\"Aborted: User requested stop\"", "\"Stopped by user.\"")
}

/// The head without what differs; lengths are compared with the body instead.
fn head(text: &str) -> String {
    text.lines()
        .map(|line| match line.split_once(": ") {
            Some((name @ ("Date" | "Content-Length"), _)) => format!("{name}: <some>\n"),
            _ => format!("{line}\n"),
        })
        .collect()
}

fn difference(what: &str, theirs: &str, ours: &str) -> String {
    let same = theirs.bytes().zip(ours.bytes()).take_while(|(a, b)| a == b).count();
    let show = |text: &str| {
        let start = (0..=same.min(text.len()).saturating_sub(60))
            .rev()
            .find(|at| text.is_char_boundary(*at))
            .unwrap_or(0);
        text[start..].chars().take(400).collect::<String>()
    };
    format!(
        "{what} differs at {same}\n  recorded: {:?}\n  ours:     {:?}",
        show(theirs),
        show(ours)
    )
}
