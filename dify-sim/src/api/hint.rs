//! The router's hint in 404 texts of later releases: routes whose paths resemble the one asked for.
//!
//! flask-restx takes the parameters out of every route of the application, from the first `<` to
//! the last `>`, and lists the three closest by Python's `difflib`, if they are close enough; so a
//! hint comes and goes with the length of an id.

use crate::release::Release;

/// How close a route must be, as `difflib` counts.
const CLOSE: f64 = 0.6;
/// Routes that are listed at most.
const MOST: usize = 3;

/// Routes of later releases that may resemble one of the service API.
const ROUTES: &[&str] = &[
    "/v1/app/feedbacks",
    "/v1/apps/annotation-reply/<string:action>",
    "/v1/apps/annotation-reply/<string:action>/status/<uuid:job_id>",
    "/v1/apps/annotations",
    "/v1/apps/annotations/<uuid:annotation_id>",
    "/v1/audio-to-text",
    "/v1/chat-messages",
    "/v1/chat-messages/<string:task_id>/stop",
    "/v1/completion-messages",
    "/v1/completion-messages/<string:task_id>/stop",
    "/v1/conversations",
    "/v1/conversations/<uuid:c_id>",
    "/v1/conversations/<uuid:c_id>/name",
    "/v1/conversations/<uuid:c_id>/variables",
    "/v1/conversations/<uuid:c_id>/variables/<uuid:variable_id>",
    "/v1/datasets",
    "/v1/datasets/<uuid:dataset_id>",
    "/v1/datasets/<uuid:dataset_id>/document/create-by-file",
    "/v1/datasets/<uuid:dataset_id>/document/create_by_file",
    "/v1/datasets/<uuid:dataset_id>/document/create-by-text",
    "/v1/datasets/<uuid:dataset_id>/document/create_by_text",
    "/v1/datasets/<uuid:dataset_id>/documents",
    "/v1/datasets/<uuid:dataset_id>/hit-testing",
    "/v1/datasets/<uuid:dataset_id>/metadata",
    "/v1/datasets/<uuid:dataset_id>/retrieve",
    "/v1/datasets/<uuid:dataset_id>/tags",
    "/v1/end-users/<uuid:end_user_id>",
    "/v1/files/<uuid:file_id>/preview",
    "/v1/files/upload",
    "/v1/info",
    "/v1/messages",
    "/v1/messages/<uuid:message_id>/feedbacks",
    "/v1/messages/<uuid:message_id>/suggested",
    "/v1/meta",
    "/v1/parameters",
    "/v1/site",
    "/v1/text-to-audio",
    "/v1/workflows/<string:workflow_id>/run",
    "/v1/workflows/logs",
    "/v1/workflows/run",
    "/v1/workflows/run/<string:workflow_run_id>",
    "/v1/workflows/tasks/<string:task_id>/stop",
    "/api/chat-messages",
    "/api/chat-messages/<string:task_id>/stop",
    "/api/completion-messages",
    "/api/conversations",
    "/api/messages",
    "/api/parameters",
    "/files/<uuid:file_id>/file-preview",
];

/// Routes for the forms of a pause.
const FORM_ROUTES: &[&str] = &[
    "/v1/form/human_input/<string:form_token>",
    "/v1/workflow/<string:task_id>/events",
    "/api/form/human_input/<string:form_token>",
    "/console/api/form/human_input/<string:form_token>",
];

const NEWEST_ROUTES: &[&str] = &["/api/form/human_input/<string:form_token>/upload-token"];

/// The message with the hint, if some route is close to this path.
pub(crate) fn hinted(message: &str, path: &str, release: Release) -> Option<String> {
    let mut scored: Vec<(f64, String, &str)> = routes(release)
        .map(|route| (bare(route), route))
        .map(|(bare, route)| (ratio(&bare, path), bare, route))
        .filter(|(score, ..)| *score >= CLOSE)
        .collect();
    if scored.is_empty() {
        return None;
    }
    scored.sort_by(|one, other| other.0.total_cmp(&one.0).then_with(|| other.1.cmp(&one.1)));
    // Of routes that are bare the same, the one declared last is meant.
    scored.reverse();
    scored.dedup_by(|later, kept| later.1 == kept.1);
    scored.reverse();
    let close: Vec<&str> = scored.iter().take(MOST).map(|(.., route)| *route).collect();
    let message = message.trim_end_matches('.');
    Some(format!(
        "{message}. You have requested this URI [{path}] but did you mean {} ?",
        close.join(" or ")
    ))
}

fn routes(release: Release) -> impl Iterator<Item = &'static str> {
    let forms = if release.has_forms() { FORM_ROUTES } else { &[] };
    let newest = if release >= Release::Main { NEWEST_ROUTES } else { &[] };
    ROUTES.iter().chain(forms).chain(newest).copied()
}

/// A route without what stands between its first `<` and its last `>`.
fn bare(route: &str) -> String {
    match (route.find('<'), route.rfind('>')) {
        (Some(start), Some(end)) => format!("{}{}", &route[..start], &route[end + 1..]),
        _ => route.to_owned(),
    }
}

/// `SequenceMatcher(None, a, b).ratio()` of Python's `difflib`, for texts under 200 characters.
fn ratio(a: &str, b: &str) -> f64 {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let total = a.len() + b.len();
    if total == 0 { 1.0 } else { 2.0 * matching(a, b) as f64 / total as f64 }
}

/// Bytes in the longest common block and, left and right of it, in theirs.
fn matching(a: &[u8], b: &[u8]) -> usize {
    let (mut best, mut at_a, mut at_b) = (0, 0, 0);
    let mut lengths = vec![0_usize; b.len() + 1];
    for (i, byte) in a.iter().enumerate() {
        let mut diagonal = 0;
        for (j, other) in b.iter().enumerate() {
            let above = lengths[j + 1];
            lengths[j + 1] = if byte == other { diagonal + 1 } else { 0 };
            diagonal = above;
            if lengths[j + 1] > best {
                best = lengths[j + 1];
                (at_a, at_b) = (i + 1 - best, j + 1 - best);
            }
        }
    }
    if best == 0 {
        return 0;
    }
    best + matching(&a[..at_a], &b[..at_b]) + matching(&a[at_a + best..], &b[at_b + best..])
}

#[cfg(test)]
mod tests {
    use super::hinted;
    use crate::release::Release;

    #[test]
    fn a_hint_comes_and_goes_with_the_length_of_an_id() {
        let path = "/v1/conversations/b59530f9-a53d-4a9d-aea9-f34b3f5d1b81";
        let hint = |end: &str| hinted("Gone.", &format!("{path}{end}"), Release::Main);
        assert_eq!(hint("/name"), None);
        let with = hint("/variables").unwrap();
        assert!(with.ends_with("mean /v1/conversations/<uuid:c_id>/variables ?"), "{with}");
        assert!(with.starts_with("Gone. You have requested this URI ["), "{with}");
    }
}
