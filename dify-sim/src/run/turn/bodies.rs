//! The bodies of blocking answers, and the `data` of a whole flow.

use super::Turn;
use crate::app::Mode;
use crate::pyjson;
use crate::run::nodes::{Finish, seconds};
use crate::run::{model, usage};

impl Turn {
    /// The body of a blocking answer of a chat or completion.
    pub(crate) fn body(&self, answer: &str, usage: &str, annotation: &str) -> String {
        let conversation = if self.app.app.mode.has_conversations() {
            format!("\"conversation_id\": \"{}\", ", self.conversation)
        } else {
            String::new()
        };
        format!(
            "{{\"event\": \"message\", \"task_id\": \"{}\", \"id\": \"{}\", \"message_id\": \
             \"{}\", {conversation}\"mode\": \"{}\", \"answer\": {}, \"metadata\": {}, \
             \"created_at\": {}}}",
            self.task,
            self.message,
            self.message,
            self.app.app.mode.name(),
            pyjson::quote(answer),
            usage::metadata(usage, model::sources(&self.query), annotation),
            self.created_at
        )
    }

    /// The body of a blocking answer of a flow that waits for a human. That of a chatflow is made
    /// after Dify's source; there is no recording of it.
    pub(crate) fn paused_body(&self) -> String {
        let db = self.shared.db();
        let Some(row) = db.runs.get(self.run) else { return "{}".to_owned() };
        let reason = row.pause.as_ref().map(|pause| pause.reason.as_str()).unwrap_or_default();
        let data = format!(
            "{{\"id\": \"{}\", \"workflow_id\": \"{}\", \"status\": \"paused\", \"outputs\": {{}}, \
             \"error\": null, \"elapsed_time\": {}, \"total_tokens\": 0, \"total_steps\": {}, \
             \"created_at\": {}, \"finished_at\": null, \"paused_nodes\": [\"human\"], \"reasons\": \
             [{reason}]}}",
            self.run,
            self.app.workflow_id,
            seconds(0.001),
            row.steps,
            self.created_at
        );
        if self.app.app.mode == Mode::Workflow {
            return format!(
                "{{\"task_id\": \"{}\", \"workflow_run_id\": \"{}\", \"data\": {data}}}",
                self.task, self.run
            );
        }
        format!(
            "{{\"event\": \"workflow_paused\", \"task_id\": \"{}\", \"id\": \"{}\", \"message_id\": \
             \"{}\", \"conversation_id\": \"{}\", \"mode\": \"advanced-chat\", \"answer\": \"\", \
             \"workflow_run_id\": \"{}\", \"data\": {data}, \"created_at\": {}}}",
            self.task, self.message, self.message, self.conversation, self.run, self.created_at
        )
    }

    /// `data` of `workflow_started`.
    pub(crate) fn flow_started(&self, inputs: &str, reason: &str) -> String {
        let reason = match reason {
            _ if !self.release().gives_reasons() => String::new(),
            reason => format!(", \"reason\": \"{reason}\""),
        };
        format!(
            "{{\"id\": \"{}\", \"workflow_id\": \"{}\", \"inputs\": {inputs}, \"created_at\": \
             {}{reason}}}",
            self.run, self.app.workflow_id, self.created_at
        )
    }

    /// `data` of `workflow_finished`.
    pub(crate) fn flow_finished(&self, finish: &Finish<'_>) -> String {
        let error = match finish.error {
            "" if self.release().is_restx() => "null".to_owned(),
            text => pyjson::quote(text),
        };
        format!(
            "{{\"id\": \"{}\", \"workflow_id\": \"{}\", \"status\": \"{}\", \"outputs\": {}, \
             \"error\": {error}, \"elapsed_time\": {}, \"total_tokens\": {}, \"total_steps\": {}, \
             \"created_by\": {{\"id\": \"{}\", \"user\": {}}}, \"created_at\": {}, \
             \"finished_at\": {}, \"exceptions_count\": {}, \"files\": {}}}",
            self.run,
            self.app.workflow_id,
            finish.status,
            finish.outputs,
            seconds(finish.elapsed),
            finish.tokens,
            finish.steps,
            self.user_id,
            pyjson::quote(&self.user),
            self.created_at,
            finish.finished_at,
            if self.release().is_restx() { finish.exceptions } else { 0 },
            finish.files
        )
    }
}
