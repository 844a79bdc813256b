//! The requests of later releases as pydantic knows them: names of classes, fields in their order.

use super::pydantic::Need::{May, Must};
use super::pydantic::Rule::{Any, Choice, Dict, Range, Uuid};
use super::pydantic::{Field, Model};

const MODES: Field = Field("response_mode", May, Choice(&["blocking", "streaming"]));

pub(crate) const CHAT: Model = Model {
    name: "ChatRequestPayload",
    fields: &[
        Field("inputs", Must, Dict),
        Field("query", Must, Any),
        MODES,
        Field("conversation_id", May, Uuid("conversation_id must be a valid UUID")),
    ],
};

pub(crate) const COMPLETION: Model =
    Model { name: "CompletionRequestPayload", fields: &[Field("inputs", Must, Dict), MODES] };

pub(crate) const WORKFLOW: Model =
    Model { name: "WorkflowRunPayload", fields: &[Field("inputs", Must, Dict), MODES] };

pub(crate) const WORKFLOW_LOGS: Model = Model {
    name: "WorkflowLogQuery",
    fields: &[Field("page", May, Range(1, 99_999)), Field("limit", May, Range(1, 100))],
};

pub(crate) const MESSAGES: Model = Model {
    name: "MessageListQuery",
    fields: &[
        Field("conversation_id", Must, Uuid("must be a valid UUID")),
        Field("first_id", May, Uuid("must be a valid UUID")),
        Field("limit", May, Range(1, 100)),
    ],
};

pub(crate) const FEEDBACK: Model = Model {
    name: "MessageFeedbackPayload",
    fields: &[Field("rating", May, Choice(&["like", "dislike"]))],
};

pub(crate) const CONVERSATIONS: Model = Model {
    name: "ConversationListQuery",
    fields: &[
        Field("last_id", May, Uuid("must be a valid UUID")),
        Field("limit", May, Range(1, 100)),
        Field("sort_by", May, Choice(&["created_at", "-created_at", "updated_at", "-updated_at"])),
    ],
};

pub(crate) const SIGNED_FILE: Model = Model {
    name: "FilePreviewQuery",
    fields: &[Field("timestamp", Must, Any), Field("nonce", Must, Any), Field("sign", Must, Any)],
};
