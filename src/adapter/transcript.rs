//! A transcript's parts: what was said before, and the question that it ends with.
//!
//! What stands between two messages of the assistant is one saying, as the question is, so that a
//! later request which repeats the transcript has the same sayings in it.

use super::completion_request::{CompletionRequest, Message, Role};
use super::json_object;
use crate::model::GatewayError;

/// What an app, which takes no empty question, is asked after a tool without a result.
const NO_RESULT: &str = "(no result)";

/// Adds what a message says.
pub fn add(said: &mut Vec<Message>, message: Message) {
    match said.last_mut() {
        Some(last) if last.role != Role::Assistant && message.role != Role::Assistant => {
            if message.role == Role::User {
                last.role = Role::User;
            }
            join(last, message);
        }
        _ => said.push(message),
    }
}

/// The transcript, whose last texts of the system are `trailing`. They are the question where nothing
/// else is: chat programs ask for the summary of a chat that way. Else they are system texts.
pub fn settle(
    request: &mut CompletionRequest,
    mut said: Vec<Message>,
    trailing: Vec<String>,
    (list, last): (&str, &str),
) -> Result<(), GatewayError> {
    let mut trailing = trailing;
    let is_asked = said.last().is_none_or(|last| last.role == Role::Assistant);
    // Of system texts alone the first ones say how to answer, and the last one what.
    let from = if said.is_empty() { trailing.len().saturating_sub(1) } else { 0 };
    let asked = if is_asked { trailing.split_off(from) } else { Vec::new() };
    for text in trailing {
        add_system(&mut request.system, &text);
    }
    request.is_asked_by_system = !asked.is_empty();
    for text in asked {
        add(&mut said, Message::new(Role::User, text));
    }
    (request.before, request.question) = split(said, list, last)?;
    Ok(())
}

/// What was said before, and the question: all that the user, or a tool of the client, says after
/// the assistant.
///
/// `list` is the field of the transcript, `last` the place of its last message.
pub fn split(
    mut said: Vec<Message>,
    list: &str,
    last: &str,
) -> Result<(Vec<Message>, Message), GatewayError> {
    let answered = said.iter().rposition(|message| message.role == Role::Assistant);
    let asked = said.split_off(answered.map_or(0, |at| at + 1));
    if asked.is_empty() && answered.is_some() {
        let why = "must be user: an app of Dify cannot go on with a message of the assistant";
        return Err(json_object::wrong_value(&format!("{last}.role"), why));
    }
    // A tool that gave nothing has answered all the same.
    let has_result = asked.iter().any(|message| message.role == Role::Tool);
    let mut question = Message::default();
    for message in asked {
        join(&mut question, message);
    }
    if question.text.trim().is_empty() && question.attachments.is_empty() && has_result {
        question.text = NO_RESULT.to_owned();
    }
    if question.text.trim().is_empty() && question.attachments.is_empty() {
        let why = "must end with a message of the user that is not empty";
        return Err(json_object::wrong_value(list, why));
    }
    Ok((said, question))
}

fn join(message: &mut Message, next: Message) {
    if message.text.is_empty() {
        // It may be large.
        message.text = next.text;
        message.attachments.extend(next.attachments);
        return;
    }
    if !next.text.is_empty() {
        message.text.push_str("\n\n");
    }
    message.text.push_str(&next.text);
    message.attachments.extend(next.attachments);
}

/// Adds a text on a line of its own.
pub fn add_line(text: &mut String, more: &str) {
    if !text.is_empty() && !more.is_empty() {
        text.push('\n');
    }
    text.push_str(more);
}

/// Adds a text of the system after a blank line.
pub fn add_system(system: &mut Option<String>, more: &str) {
    if more.is_empty() {
        return;
    }
    let system = system.get_or_insert_default();
    if !system.is_empty() {
        system.push_str("\n\n");
    }
    system.push_str(more);
}

#[cfg(test)]
mod tests {
    use super::*;

    use Role::{Assistant, Tool, User};

    fn said(list: &[(Role, &str)]) -> Vec<Message> {
        let mut all = Vec::new();
        for (role, text) in list {
            add(&mut all, Message::new(*role, *text));
        }
        all
    }

    #[test]
    fn the_question_is_all_that_the_user_says_last() {
        let all = [(User, "a"), (Assistant, "b"), (User, "c"), (User, ""), (User, "d")];
        let (before, question) = split(said(&all), "x", "y").unwrap();
        assert_eq!(before, said(&all[..2]));
        assert_eq!(question, Message::new(User, "c\n\nd"));
    }

    #[test]
    fn a_result_of_a_tool_is_part_of_the_question() {
        let all = [(User, "a"), (Assistant, ""), (Tool, "r1"), (Tool, "r2"), (User, "b")];
        let (before, question) = split(said(&all), "x", "y").unwrap();
        assert_eq!((before.len(), question), (2, Message::new(User, "r1\n\nr2\n\nb")));
    }

    #[test]
    fn a_transcript_repeated_later_has_the_same_sayings() {
        let first = [(User, "a"), (Tool, "r"), (User, "b")];
        let (_, question) = split(said(&first), "x", "y").unwrap();
        let later = [(User, "a"), (Tool, "r"), (User, "b"), (Assistant, "c"), (User, "d")];
        let (before, _) = split(said(&later), "x", "y").unwrap();
        assert_eq!(before, [question, Message::new(Assistant, "c")]);
    }

    #[test]
    fn texts_of_the_system_at_the_end_are_a_question_where_no_other_is() {
        let settled = |list: &[(Role, &str)], trailing: &[&str]| {
            let mut request = CompletionRequest::default();
            let trailing = trailing.iter().map(ToString::to_string).collect();
            settle(&mut request, said(list), trailing, ("m", "m[0]")).unwrap();
            (request.before.len(), request.question.text, request.system)
        };
        let chat = [(User, "a"), (Assistant, "b")];
        assert_eq!(settled(&chat, &["sum it up"]), (2, "sum it up".into(), None));
        assert_eq!(settled(&[], &["be kind", "ask"]), (0, "ask".into(), Some("be kind".into())));
        assert_eq!(settled(&chat[..1], &["be kind"]), (0, "a".into(), Some("be kind".into())));
    }

    #[test]
    fn a_tool_without_a_result_is_a_question() {
        let all = [(User, "a"), (Assistant, ""), (Tool, "")];
        let (before, question) = split(said(&all), "x", "y").unwrap();
        assert_eq!((before.len(), question.text.as_str()), (2, NO_RESULT));
    }

    #[test]
    fn without_a_question_there_is_nothing_to_answer() {
        for (all, place) in [
            (&[][..], "messages"),
            (&[(User, " ")], "messages"),
            (&[(User, "a"), (Assistant, "b")], "messages[1].role"),
        ] {
            let error = split(said(all), "messages", "messages[1]").unwrap_err();
            assert_eq!((error.status, error.param.as_deref()), (400, Some(place)), "{all:?}");
        }
    }

    #[test]
    fn texts_of_the_system_are_parted_by_a_blank_line() {
        let mut system = None;
        for text in ["", "a", "b", ""] {
            add_system(&mut system, text);
        }
        assert_eq!(system.as_deref(), Some("a\n\nb"));
    }
}
