//! The past of a run, as `/workflow/{run}/events` tells it from the database.

use super::{human, nodes};
use crate::db::{Db, Run, Step};
use crate::pyjson;
use crate::release::Release;
use crate::state::AppState;
use uuid::Uuid;

/// A run and who it is for.
pub(crate) struct Past<'a> {
    pub(crate) app: &'a AppState,
    pub(crate) id: Uuid,
    pub(crate) row: &'a Run,
    pub(crate) release: Release,
}

impl Past<'_> {
    /// The one event of a run that has ended; Python's style, as recorded.
    pub(crate) fn finished(&self) -> String {
        let row = self.row;
        let error = row.error.as_deref().map_or("null".to_owned(), pyjson::quote);
        format!(
            "data: {{\"event\": \"workflow_finished\", \"task_id\": \"{0}\", \"workflow_run_id\": \"{0}\", \
             \"data\": {{\"id\": \"{0}\", \"workflow_id\": \"{1}\", \"status\": \"{2}\", \"outputs\": {3}, \
             \"error\": {error}, \"elapsed_time\": {4}, \"total_tokens\": {5}, \"total_steps\": {6}, \
             \"created_by\": {{\"id\": \"{7}\", \"user\": {8}}}, \"created_at\": {9}, \
             \"finished_at\": {10}, \"exceptions_count\": {11}, \"files\": []}}}}\n\n",
            self.id,
            row.workflow,
            row.status,
            row.outputs.as_deref().unwrap_or("{}"),
            nodes::seconds(row.elapsed),
            row.tokens,
            row.steps,
            row.user_id,
            pyjson::quote(&row.user),
            row.created_at,
            row.finished_at.unwrap_or(row.created_at),
            row.exceptions
        )
    }

    /// What has happened so far.
    pub(crate) fn events(&self, db: &Db) -> Vec<String> {
        let row = self.row;
        let started = format!(
            "{{\"id\": \"{}\", \"workflow_id\": \"{}\", \"inputs\": {}, \"created_at\": {}, \"reason\": \
             \"initial\"}}",
            self.id, row.workflow, row.inputs, row.created_at
        );
        let mut events = vec![self.event("workflow_started", &started)];
        if row.conversation.is_some() {
            events.push(self.written("message_replace", "\"answer\": \"\", \"reason\": \"\""));
        }
        for (at, step) in row.nodes.iter().enumerate() {
            events.push(self.event("node_started", &began(at, step)));
            if let Some(data) = ended(at, step) {
                events.push(self.event("node_finished", &data));
            }
        }
        if let Some(pause) = &row.pause
            && let Some(form) = db.forms.get(&pause.token)
        {
            let content = human::written(self.app.app.mode);
            let data = human::required(form, &pause.token, content, self.release);
            events.push(self.event("human_input_required", &data));
            let reason = human::reason(form, &pause.token, content, self.release);
            let data = human::paused(self.id, &reason, row.created_at, 0.0);
            events.push(self.event("workflow_paused", &data));
        }
        events
    }

    fn event(&self, name: &str, data: &str) -> String {
        self.written(name, &format!("\"workflow_run_id\": \"{}\", \"data\": {data}", self.id))
    }

    fn written(&self, name: &str, fields: &str) -> String {
        let row = self.row;
        // Only what a pause has stored knows the task.
        let paused = row.live.as_ref().filter(|_| row.pause.is_some());
        let task = paused.map_or(self.id, |live| live.task);
        let talk = row.conversation.map_or(String::new(), |(conversation, message)| {
            format!(
                ", \"conversation_id\": \"{conversation}\", \"message_id\": \"{message}\", \
                 \"created_at\": {}",
                row.created_at
            )
        });
        let text = format!("{{\"event\": \"{name}\", \"task_id\": \"{task}\", {fields}{talk}}}");
        format!("data: {}\n\n", pyjson::rewritten(&text, self.release.writes_events()))
    }
}

fn head(at: usize, step: &Step) -> String {
    let node = &step.node;
    format!(
        "{{\"id\": \"{}\", \"node_id\": \"{}\", \"node_type\": \"{}\", \"title\": \"{}\", \"index\": {}, \
         \"predecessor_node_id\": null, \"inputs\": null",
        node.id,
        node.node,
        node.kind,
        node.title,
        at + 1
    )
}

fn began(at: usize, step: &Step) -> String {
    format!(
        "{}, \"created_at\": {}, \"extras\": {{}}, \"iteration_id\": null, \"loop_id\": null}}",
        head(at, step),
        step.node.created_at
    )
}

fn ended(at: usize, step: &Step) -> Option<String> {
    let (status, elapsed, finished_at) = step.end?;
    Some(format!(
        "{}, \"process_data\": null, \"outputs\": null, \"status\": \"{status}\", \"error\": null, \
         \"elapsed_time\": {}, \"execution_metadata\": null, \"created_at\": {}, \"finished_at\": \
         {finished_at}, \"files\": [], \"iteration_id\": null, \"loop_id\": null}}",
        head(at, step),
        nodes::seconds(elapsed),
        step.node.created_at
    ))
}
