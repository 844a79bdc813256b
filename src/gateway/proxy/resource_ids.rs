//! What a request names that exists in one instance only, and who has it.
//!
//! Dify makes its ids per installation: a conversation, message, file, task or run of one is unknown
//! to the others. So an id goes before the user's hash. An id that is not known here (the gateway is
//! new, or forgot) is asked around for, which `forward` does.

use std::ops::Range;

use http::Method;
use smallvec::SmallVec;
use uuid::Uuid;

use crate::affinity::{AppTag, Durability, Owners, Scope, now_s};
use crate::dify::path::{Call, CallKind, Id, Run};
use crate::dify::response_body::LearnedIds;
use crate::dify::scan::BodyInfo;
use crate::gateway::http::head::RequestHead;
use crate::gateway::http::query;
use crate::gateway::state::app::App;
use crate::gateway::state::member::Member;
use crate::gateway::state::policy::Storage;

/// The ids of a request, those first that say most.
#[derive(Clone, Debug, Default)]
pub(crate) struct ResourceIds {
    ids: SmallVec<[Uuid; 4]>,
    /// The one that Dify looks up for this call, and without which it refuses it.
    looked_up: Option<Uuid>,
    /// An id of some kind is named, be it one that is not remembered here.
    any: bool,
    pub files: bool,
    pub conversation: Option<Uuid>,
    /// Where it stands in the body.
    pub conversation_place: Option<Range<u64>>,
}

/// Where a request must go because of what it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OwnerLookup {
    None,
    /// To who has it, who is not known.
    Unknown,
    /// To this member, by its place in the pool.
    Owner(usize),
}

impl ResourceIds {
    /// What path, query and body name.
    pub(crate) fn of(head: &RequestHead, call: Call<'_>, facts: &BodyInfo) -> Self {
        if let Some(id @ Id::Dataset(_)) = call.id {
            let (ids, looked_up) = (id.key().into_iter().collect(), id.key());
            return Self { ids, looked_up, any: true, ..Self::default() };
        }
        let mut resource_ids = Self {
            conversation: facts.conversation_id,
            conversation_place: facts.conversation_place.clone(),
            ..Self::default()
        };
        resource_ids.add(facts.conversation_id);
        resource_ids.add(facts.message_id);
        if let Some(id) = call.id.filter(|id| leads(call.kind, *id, head)) {
            resource_ids.any = true;
            resource_ids.add(id.key());
            resource_ids.looked_up = id.key();
        }
        let query = head.uri.query().filter(|query| query::may_name_ids(query)).unwrap_or_default();
        let mut lookups = 0;
        for (name, value) in query::parameters(query) {
            if let "conversation_id" | "last_id" | "first_id" = name.as_ref() {
                let id = Uuid::try_parse(&value).ok();
                resource_ids.add(id);
                if is_looked_up(call.kind, &name) {
                    // Of several, nobody knows which one.
                    resource_ids.looked_up = if lookups == 0 { id } else { None };
                    lookups += 1;
                }
            }
        }
        resource_ids.files = !facts.files.is_empty();
        facts.files.iter().for_each(|file| resource_ids.add(Some(*file)));
        if call.kind == CallKind::Run(Run::Chat) {
            resource_ids.add(facts.workflow_id);
            resource_ids.looked_up = facts.workflow_id;
        }
        resource_ids
    }

    /// What a turn names: its conversation, and files.
    pub(crate) fn of_turn(conversation: Option<Uuid>, files: &[Uuid]) -> Self {
        let mut resource_ids = Self { conversation, ..Self::default() };
        resource_ids.add(conversation);
        files.iter().for_each(|id| resource_ids.add(Some(*id)));
        resource_ids
    }

    fn add(&mut self, id: Option<Uuid>) {
        self.ids.extend(id);
        self.any |= id.is_some();
    }

    pub(crate) fn ids(&self) -> &[Uuid] {
        &self.ids
    }

    /// Whether it names anything of one instance.
    pub(crate) fn is_any(&self) -> bool {
        self.any
    }

    /// Where that leads among the members of an app.
    pub(crate) fn owner_lookup(&self, app: &App, owners: &Owners) -> OwnerLookup {
        if !self.any || app.policy.storage == Storage::Shared {
            return OwnerLookup::None;
        }
        let now_s = now_s();
        let members = &app.pool.members;
        // A turn belongs where its conversation is, whatever else it names.
        let ids = match &self.conversation {
            Some(conversation) => std::slice::from_ref(conversation),
            None => &self.ids,
        };
        let owner = ids.iter().find_map(|id| {
            let name = owners.owner_of(*id, now_s)?;
            members.iter().position(|member| *member.name() == name)
        });
        owner.map_or(OwnerLookup::Unknown, OwnerLookup::Owner)
    }

    /// A member has answered well what it would else have refused: it owns what it had to look up.
    /// Whatever else a request names may be made up. `kind` matters because some calls are answered kindly
    /// by those who know nothing.
    pub(crate) fn remember(&self, kind: CallKind, app: AppTag, member: &Member, owners: &Owners) {
        let kindly = matches!(kind, CallKind::Stop(_) | CallKind::TextToAudio);
        if let Some(id) = self.looked_up.filter(|_| !kindly) {
            owners.learn_all([(id, Durability::Durable)], member.name(), app, now_s());
        }
    }

    /// Takes the conversation out, if it is all that binds the request: its id, and where it
    /// stands in the body.
    pub(crate) fn leave_conversation(&mut self) -> Option<(Uuid, Range<u64>)> {
        if self.ids.len() != 1 {
            return None;
        }
        let left = (self.conversation?, self.conversation_place.clone()?);
        *self = Self::default();
        Some(left)
    }

    /// The owner itself says that it does not have it, or not for this user. It is forgotten where the
    /// user is known to have used it: Dify says the same to anybody else.
    pub(crate) fn forget(&self, scope: Scope, owners: &Owners) {
        let now_s = now_s();
        for id in &self.ids {
            let used = scope.of(*id);
            if owners.used.has(used, now_s) {
                owners.used.forget(used);
                owners.forget(*id, now_s);
            }
        }
    }
}

/// Whether it matters who has the id of a path. Every instance says 400 to a version of a workflow
/// that is no UUID and to a link without a signature, and 405 to all but a POST to a server of tools.
fn leads(kind: CallKind, id: Id<'_>, head: &RequestHead) -> bool {
    match kind {
        CallKind::Run(_) => id.key().is_some(),
        CallKind::McpServer => head.method == Method::POST,
        CallKind::SignedFile => head.uri.query().is_some_and(|query| query.contains("sign=")),
        _ => true,
    }
}

/// Whether Dify looks up what this parameter of a call names, and says 404 if it has none.
fn is_looked_up(kind: CallKind, parameter: &str) -> bool {
    match kind {
        CallKind::Messages => parameter == "conversation_id",
        CallKind::Conversations => parameter == "last_id",
        _ => false,
    }
}

/// Who asked, as far as it matters for what their answer names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IdScope {
    pub scope: Scope,
    /// The key, where it sees only what its own responses have named.
    pub key: Option<Scope>,
    /// Whether the app's instances share their database.
    pub storage: Storage,
}

/// Remembers whose ids a response named later on.
pub(crate) fn remember_more(ids: &[Uuid], id_scope: IdScope, member: &Member, owners: &Owners) {
    remember_for_key(ids.iter().copied(), id_scope, member, owners);
    if id_scope.storage == Storage::Independent {
        let ids = ids.iter().map(|id| (*id, Durability::Durable));
        owners.learn_all(ids, member.name(), id_scope.scope.app(), now_s());
    }
}

/// Remembers whose ids a response named, and for whom. Where instances share their database only the task
/// matters: nobody else may stop it.
pub(crate) fn remember(learned: &LearnedIds, id_scope: IdScope, member: &Member, owners: &Owners) {
    let (now_s, scope) = (now_s(), id_scope.scope);
    remember_for_key(learned.lasting(), id_scope, member, owners);
    if id_scope.storage == Storage::Shared {
        if let Some(task) = learned.task_id {
            owners.learn_all([(task, Durability::Transient)], member.name(), scope.app(), now_s);
            owners.used.note(scope.of(task), scope.app(), now_s);
        }
        return;
    }
    let lasting = learned.lasting().map(|id| (id, Durability::Durable));
    let ids = lasting.chain(learned.task_id.map(|id| (id, Durability::Transient)));
    owners.learn_all(ids, member.name(), scope.app(), now_s);
    for id in learned.conversation_id.into_iter().chain(learned.task_id) {
        owners.used.note(scope.of(id), scope.app(), now_s);
    }
}

/// Remembers which key a response named ids to, as owners are remembered: over a restart.
fn remember_for_key(
    ids: impl Iterator<Item = Uuid>,
    id_scope: IdScope,
    member: &Member,
    owners: &Owners,
) {
    if let Some(key) = id_scope.key {
        let ids = ids.map(|id| (key.of(id), Durability::Durable));
        owners.learn_all(ids, member.name(), id_scope.scope.app(), now_s());
    }
}
