//! Mutations of cases.
//!
//! **Invariant:** what a case must know of a type, a conversation or another case is asked of their own streams and goes
//! into the command. A number is taken from the register only for a case that can be opened.

use std::collections::{BTreeMap, BTreeSet};

use async_graphql::{Context, ID, Object};
use events::case::{CaseEvent, FieldValue};
use events::case_type::CaseTypeRules;
use events::conversation::content::{MessageContent, MessageKind, NoteContent};
use events::ids::{CaseId, CaseTypeId, CommandId, ConversationId, MessageId};
use models::case::{
    Case as CaseState, CaseCommand, CaseDecider, CaseRegisterCommand, CaseRegisterDecider, CaseRejection, MergeTarget,
    Opening,
};
use models::case_type::CaseTypeDecider;
use models::command::Origin;
use models::conversation::{ConversationCommand, ConversationDecider, Outgoing};
use models::decider::Decider;
use uuid::Uuid;

use super::Case;
use super::input::{
    AddCaseNoteInput, AssignCaseInput, CaseFieldValueInput, ChangeCaseInput, LinkCaseConversationInput, LinkCasesInput,
    MergeCaseInput, OpenCaseInput, PrioritiseCaseInput, PromiseCaseInput, ReplyToCaseInput, SetCaseStatusInput,
    UnlinkCaseConversationInput, UnlinkCasesInput, UnmergeCaseInput,
};
use crate::command::{Answered, Mutating, refusal};
use crate::context::{Reading, id};
use crate::conversation::{ConversationSubject, checked_name, held_by_other, speaker_of};
use crate::error::{Explain, Failure, Outcome, UserErrorCode};
use crate::guard::OPERATOR;
use crate::payload::{Done, Mutation, Payload, Subject};

/// Cases as what mutations change.
pub(crate) struct CaseSubject;

impl Subject for CaseSubject {
    type Object = Case;

    async fn load(reading: &Reading<'_>, id: Uuid) -> Outcome<Option<Case>> {
        super::find(reading, CaseId::new(id)).await
    }
}

macro_rules! payloads {
    ($($marker:ident of $subject:ident = $name:literal;)*) => {$(
        #[doc = concat!("What came of a mutation: `", $name, "`.")]
        pub(crate) struct $marker;

        impl Mutation for $marker {
            type Subject = $subject;
            const PAYLOAD: &'static str = $name;
        }
    )*};
}

payloads! {
    OpenCase of CaseSubject = "OpenCasePayload";
    ChangeCase of CaseSubject = "ChangeCasePayload";
    PrioritiseCase of CaseSubject = "PrioritiseCasePayload";
    PromiseCase of CaseSubject = "PromiseCasePayload";
    SetCaseStatus of CaseSubject = "SetCaseStatusPayload";
    AssignCase of CaseSubject = "AssignCasePayload";
    LinkCaseConversation of CaseSubject = "LinkCaseConversationPayload";
    UnlinkCaseConversation of CaseSubject = "UnlinkCaseConversationPayload";
    LinkCases of CaseSubject = "LinkCasesPayload";
    UnlinkCases of CaseSubject = "UnlinkCasesPayload";
    MergeCase of CaseSubject = "MergeCasePayload";
    UnmergeCase of CaseSubject = "UnmergeCasePayload";
    AddCaseNote of CaseSubject = "AddCaseNotePayload";
    ReplyToCase of ConversationSubject = "ReplyToCasePayload";
}

/// Mutations of cases.
#[derive(Default)]
pub(crate) struct CaseMutation;

async fn run(mutating: &Mutating<'_>, case: &ID, command: CaseCommand) -> Outcome<Done> {
    let case: CaseId = id(case)?;
    let answered = mutating.run::<CaseDecider>(case.uuid(), command).await?;
    Ok(Done { id: case.uuid(), answered })
}

/// The rules of the type of a case; those of no type when there is no such case, which then refuses by itself.
async fn rules_of(mutating: &Mutating<'_>, case: CaseId) -> Outcome<CaseTypeRules> {
    let case_type = mutating.inspect::<CaseDecider, _>(case.uuid(), CaseState::case_type).await?;
    let Some(case_type) = case_type else { return Ok(CaseTypeRules::default()) };
    let rules = |state: &models::case_type::CaseType| state.rules().cloned();
    Ok(mutating.inspect::<CaseTypeDecider, _>(case_type.uuid(), rules).await?.unwrap_or_default())
}

async fn exists(mutating: &Mutating<'_>, case: CaseId) -> Outcome<bool> {
    mutating.inspect::<CaseDecider, _>(case.uuid(), |state| state.number().is_some()).await
}

fn values(inputs: Vec<CaseFieldValueInput>, field: &'static str) -> Answered<BTreeMap<String, FieldValue>> {
    let mut values = BTreeMap::new();
    for input in inputs {
        let Some((key, value)) = input.parse() else {
            let message = "a value is given as one of text, integer, flag and date";
            return Err(refusal(UserErrorCode::InvalidValue, message, field));
        };
        if values.insert(key, value).is_some() {
            return Err(refusal(UserErrorCode::InvalidValue, "a field is given once", field));
        }
    }
    Ok(values)
}

/// The number of the case in the register of its tenant: the same when the mutation is sent again.
async fn number(mutating: &Mutating<'_>, case: CaseId) -> Outcome<u64> {
    let (handler, origin) = (&mutating.deps.handler, &mutating.origin);
    let register = mutating.deps.codec().hasher().case_register(&origin.tenant);
    let numbering = CommandId::new(mutating.fresh("case number"));
    let origin = Origin { id: numbering, wish: None, ..origin.clone() };
    let command = CaseRegisterCommand::Number { case };
    mutating.carry_out::<CaseRegisterDecider>(register.uuid(), &origin, command).await?;
    let event = handler.log().find(numbering.event(0)).await?;
    let event = event.ok_or_else(|| Failure::internal(std::io::Error::other("a number was given and is not there")))?;
    Ok(event.revision.0 + 1)
}

async fn open(mutating: &Mutating<'_>, input: OpenCaseInput) -> Outcome<Done> {
    let case = CaseId::new(mutating.fresh("case"));
    let refused = |error| Done { id: case.uuid(), answered: Err(error) };
    let (conversation, case_type): (ConversationId, CaseTypeId) = (id(&input.conversation)?, id(&input.case_type)?);
    let fields = match values(input.fields.unwrap_or_default(), "fields") {
        Ok(fields) => fields,
        Err(error) => return Ok(refused(error)),
    };
    let of_type = |state: &models::case_type::CaseType| state.rules().filter(|_| state.is_open()).cloned();
    let rules = mutating.inspect::<CaseTypeDecider, _>(case_type.uuid(), of_type).await?;
    let parties = |state: &models::conversation::Conversation| (state.kind().is_some(), state.addressee());
    let (is_there, customer) = mutating.inspect::<ConversationDecider, _>(conversation.uuid(), parties).await?;
    if !is_there {
        return Ok(refused(CaseRejection::NoSuchConversation.user_error()));
    }
    let opening = Opening {
        number: 0,
        case_type,
        rules,
        conversation,
        customer,
        priority: input.priority,
        title: input.title,
        fields,
    };
    // What cannot be opened takes no number.
    let known = mutating.inspect::<CaseDecider, _>(case.uuid(), |state| state.number()).await?;
    if known.is_none() {
        let tried: Result<Vec<CaseEvent>, _> =
            CaseDecider::decide(&CaseState::default(), CaseCommand::Open(opening.clone()));
        if let Err(rejection) = tried {
            return Ok(refused(rejection.user_error()));
        }
    }
    let number = number(mutating, case).await?;
    let command = CaseCommand::Open(Opening { number, ..opening });
    let answered = mutating.run::<CaseDecider>(case.uuid(), command).await?;
    Ok(Done { id: case.uuid(), answered })
}

#[Object]
impl CaseMutation {
    /// Opens a case from a conversation. It gets the next number of the tenant.
    #[graphql(complexity = "10 + child_complexity")]
    async fn open_case(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to open.")] input: OpenCaseInput,
    ) -> async_graphql::Result<Payload<OpenCase>> {
        let mutating = Mutating::begin(ctx, "openCase", &input.idempotency_key, input.seen_at.as_ref()).await?;
        Ok(open(&mutating, input).await?.into())
    }

    /// Changes title or fields of a case.
    #[graphql(complexity = "10 + child_complexity")]
    async fn change_case(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to change.")] input: ChangeCaseInput,
    ) -> async_graphql::Result<Payload<ChangeCase>> {
        let mutating = Mutating::begin(ctx, "changeCase", &input.idempotency_key, input.seen_at.as_ref()).await?;
        let case: CaseId = id(&input.case)?;
        let set = match values(input.set.unwrap_or_default(), "set") {
            Ok(set) => set,
            Err(error) => return Ok(Done { id: case.uuid(), answered: Err(error) }.into()),
        };
        let clear: BTreeSet<String> = input.clear.unwrap_or_default().into_iter().collect();
        let rules = rules_of(&mutating, case).await?;
        let command = CaseCommand::Change { rules, title: input.title, set, clear };
        Ok(run(&mutating, &input.case, command).await?.into())
    }

    /// Gives a case a priority.
    #[graphql(complexity = "10 + child_complexity")]
    async fn prioritise_case(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which one.")] input: PrioritiseCaseInput,
    ) -> async_graphql::Result<Payload<PrioritiseCase>> {
        let mutating = Mutating::begin(ctx, "prioritiseCase", &input.idempotency_key, input.seen_at.as_ref()).await?;
        let command = CaseCommand::Prioritise { priority: input.priority };
        Ok(run(&mutating, &input.case, command).await?.into())
    }

    /// Notes until when the customer was promised that the case is resolved.
    #[graphql(complexity = "10 + child_complexity")]
    async fn promise_case(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What was promised.")] input: PromiseCaseInput,
    ) -> async_graphql::Result<Payload<PromiseCase>> {
        let mutating = Mutating::begin(ctx, "promiseCase", &input.idempotency_key, input.seen_at.as_ref()).await?;
        let command = CaseCommand::Promise { until: input.until, now: mutating.origin.occurred_at };
        Ok(run(&mutating, &input.case, command).await?.into())
    }

    /// Gives a case a status. It is resolved or closed only once its required fields have values.
    #[graphql(complexity = "10 + child_complexity")]
    async fn set_case_status(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which one.")] input: SetCaseStatusInput,
    ) -> async_graphql::Result<Payload<SetCaseStatus>> {
        let mutating = Mutating::begin(ctx, "setCaseStatus", &input.idempotency_key, input.seen_at.as_ref()).await?;
        let rules = rules_of(&mutating, id(&input.case)?).await?;
        let command = CaseCommand::SetStatus { rules, status: input.status.into(), reason: input.reason };
        Ok(run(&mutating, &input.case, command).await?.into())
    }

    /// Makes a case somebody's work, or nobody's. For operators.
    #[graphql(guard = "OPERATOR", complexity = "10 + child_complexity")]
    async fn assign_case(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whose work.")] input: AssignCaseInput,
    ) -> async_graphql::Result<Payload<AssignCase>> {
        let mutating = Mutating::begin(ctx, "assignCase", &input.idempotency_key, input.seen_at.as_ref()).await?;
        let operator = match input.operator.map(|name| checked_name(&name, "operator")).transpose() {
            Ok(operator) => operator,
            Err(error) => return Ok(Done { id: id::<CaseId>(&input.case)?.uuid(), answered: Err(error) }.into()),
        };
        Ok(run(&mutating, &input.case, CaseCommand::Assign { operator }).await?.into())
    }

    /// Notes that a conversation is about a case.
    #[graphql(complexity = "10 + child_complexity")]
    async fn link_case_conversation(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which ones.")] input: LinkCaseConversationInput,
    ) -> async_graphql::Result<Payload<LinkCaseConversation>> {
        let mutating =
            Mutating::begin(ctx, "linkCaseConversation", &input.idempotency_key, input.seen_at.as_ref()).await?;
        let conversation: ConversationId = id(&input.conversation)?;
        let there = |state: &models::conversation::Conversation| state.kind().is_some();
        let exists = mutating.inspect::<ConversationDecider, _>(conversation.uuid(), there).await?;
        Ok(run(&mutating, &input.case, CaseCommand::LinkConversation { conversation, exists }).await?.into())
    }

    /// Notes that a conversation is not about a case after all.
    #[graphql(complexity = "10 + child_complexity")]
    async fn unlink_case_conversation(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which ones.")] input: UnlinkCaseConversationInput,
    ) -> async_graphql::Result<Payload<UnlinkCaseConversation>> {
        let mutating =
            Mutating::begin(ctx, "unlinkCaseConversation", &input.idempotency_key, input.seen_at.as_ref()).await?;
        let conversation = id(&input.conversation)?;
        Ok(run(&mutating, &input.case, CaseCommand::UnlinkConversation { conversation }).await?.into())
    }

    /// Notes that a case has to do with another.
    #[graphql(complexity = "10 + child_complexity")]
    async fn link_cases(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which ones.")] input: LinkCasesInput,
    ) -> async_graphql::Result<Payload<LinkCases>> {
        let mutating = Mutating::begin(ctx, "linkCases", &input.idempotency_key, input.seen_at.as_ref()).await?;
        let (case, other): (CaseId, CaseId) = (id(&input.case)?, id(&input.other)?);
        let exists = exists(&mutating, other).await?;
        let command = CaseCommand::Link { case, other, exists, relation: input.relation.into() };
        Ok(run(&mutating, &input.case, command).await?.into())
    }

    /// Notes that a case has nothing to do with another after all.
    #[graphql(complexity = "10 + child_complexity")]
    async fn unlink_cases(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which ones.")] input: UnlinkCasesInput,
    ) -> async_graphql::Result<Payload<UnlinkCases>> {
        let mutating = Mutating::begin(ctx, "unlinkCases", &input.idempotency_key, input.seen_at.as_ref()).await?;
        let command = CaseCommand::Unlink { other: id(&input.other)?, relation: input.relation.into() };
        Ok(run(&mutating, &input.case, command).await?.into())
    }

    /// Lets another case stand for this one, which is the same matter. Nothing is lost: `unmergeCase` undoes it. For
    /// operators.
    #[graphql(guard = "OPERATOR", complexity = "10 + child_complexity")]
    async fn merge_case(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which ones.")] input: MergeCaseInput,
    ) -> async_graphql::Result<Payload<MergeCase>> {
        let mutating = Mutating::begin(ctx, "mergeCase", &input.idempotency_key, input.seen_at.as_ref()).await?;
        let (case, into): (CaseId, CaseId) = (id(&input.case)?, id(&input.into)?);
        let standing = |state: &CaseState| {
            let of = |into: Option<CaseId>| into.map_or(MergeTarget::Whole, MergeTarget::Merged);
            state.number().map(|_| of(state.merged_into()))
        };
        let target = mutating.inspect::<CaseDecider, _>(into.uuid(), standing).await?;
        Ok(run(&mutating, &input.case, CaseCommand::Merge { case, into, target }).await?.into())
    }

    /// Undoes a merge: the case stands for itself again, as it was. For operators.
    #[graphql(guard = "OPERATOR", complexity = "10 + child_complexity")]
    async fn unmerge_case(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which one.")] input: UnmergeCaseInput,
    ) -> async_graphql::Result<Payload<UnmergeCase>> {
        let mutating = Mutating::begin(ctx, "unmergeCase", &input.idempotency_key, input.seen_at.as_ref()).await?;
        Ok(run(&mutating, &input.case, CaseCommand::Unmerge).await?.into())
    }

    /// Adds an internal note to a case: never sent, sealed under the customer it is about.
    #[graphql(complexity = "10 + child_complexity")]
    async fn add_case_note(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to note.")] input: AddCaseNoteInput,
    ) -> async_graphql::Result<Payload<AddCaseNote>> {
        let mutating = Mutating::begin(ctx, "addCaseNote", &input.idempotency_key, input.seen_at.as_ref()).await?;
        let command = CaseCommand::AddNote { note: mutating.fresh("note"), content: NoteContent { text: input.text } };
        Ok(run(&mutating, &input.case, command).await?.into())
    }

    /// Sends a message to the customer through a conversation about the case, as `sendMessage` does.
    #[graphql(complexity = "10 + child_complexity")]
    async fn reply_to_case(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to send.")] input: ReplyToCaseInput,
    ) -> async_graphql::Result<Payload<ReplyToCase>> {
        let mutating = Mutating::begin(ctx, "replyToCase", &input.idempotency_key, input.seen_at.as_ref()).await?;
        let case: CaseId = id(&input.case)?;
        let wanted: Option<ConversationId> = input.conversation.as_ref().map(id).transpose()?;
        let find = move |state: &CaseState| {
            let own = state.conversations();
            wanted.map_or_else(|| own.last().copied(), |wanted| own.contains(&wanted).then_some(wanted))
        };
        let Some(conversation) = mutating.inspect::<CaseDecider, _>(case.uuid(), find).await? else {
            let error = refusal(UserErrorCode::NotFound, "the case has no such conversation", "conversation");
            return Ok(Done { id: case.uuid(), answered: Err(error) }.into());
        };
        if !input.despite_draft.unwrap_or_default()
            && let Some(error) = held_by_other(&mutating, conversation).await?
        {
            return Ok(Done { id: conversation.uuid(), answered: Err(error) }.into());
        }
        let command = ConversationCommand::Queue(Outgoing {
            conversation,
            message: MessageId::new(mutating.fresh("message")),
            speaker: speaker_of(&mutating),
            kind: MessageKind::Text,
            reply_to: None,
            content: MessageContent { text: Some(input.text), ..MessageContent::default() },
        });
        let answered = mutating.run::<ConversationDecider>(conversation.uuid(), command).await?;
        Ok(Done { id: conversation.uuid(), answered }.into())
    }
}
