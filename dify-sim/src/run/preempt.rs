//! Questions that no model and no node ever sees: moderated ones, and those an annotation answers.

use super::turn::Turn;
use crate::pyjson;

/// The answer instead.
pub(super) struct Reply {
    pub(super) answer: String,
    /// What `metadata.annotation_reply` says of the annotation, as JSON text.
    pub(super) annotation: Option<String>,
}

/// What answers the question of this run in the place of its app.
pub(super) fn reply(turn: &Turn) -> Option<Reply> {
    if let Some(moderation) = &turn.app.app.moderation
        && let Some(answer) = &moderation.input
        && moderation.finds(&turn.query)
    {
        return Some(Reply { answer: answer.clone(), annotation: None });
    }
    let mut db = turn.shared.db();
    if !db.annotation_replies.contains(&turn.app.id) {
        return None;
    }
    let found = |row: &crate::db::Annotation| {
        row.app == turn.app.id && row.question.trim() == turn.query.trim()
    };
    let id = db.annotations.iter().find(|(_, row)| found(row)).map(|(id, _)| id)?;
    let row = db.annotations.get_mut(id)?;
    row.hits += 1;
    let annotation = format!(
        "{{\"id\": \"{id}\", \"account\": {{\"id\": \"{}\", \"name\": {}}}}}",
        turn.shared.account,
        pyjson::quote(turn.app.app.author())
    );
    Some(Reply { answer: row.answer.clone(), annotation: Some(annotation) })
}

/// What is told instead of an answer that holds a forbidden word.
pub(super) fn replacement<'t>(turn: &'t Turn, answer: &str) -> Option<&'t str> {
    let moderation = turn.app.app.moderation.as_ref()?;
    moderation.output.as_deref().filter(|_| moderation.finds(answer))
}
