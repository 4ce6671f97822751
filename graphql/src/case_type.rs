//! Types of cases: what a tenant keeps about each kind of matter.
//!
//! **Invariant:** a field's kind says which of the bounds beside it count.

use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};
use events::case_type::{CaseTypeRules, FieldKind, FieldRule};
use events::ids::CaseTypeId;
use models::case_type::{CaseTypeCommand, CaseTypeDecider, MAX_FIELD_CHARS};
use projections::case_type::CaseTypeView;

use crate::command::Mutating;
use crate::context::{Reading, id};
use crate::error::{Failure, Outcome};
use crate::guard::ADMINISTRATOR;
use crate::payload::{Done, Mutation, Payload, Subject};
use crate::scalars::Token;

/// What a field of a case holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(name = "CaseFieldKind")]
pub(crate) enum FieldKindName {
    /// Text of at most `maxChars` characters.
    Text,
    /// A whole number from `min` to `max`.
    Integer,
    /// Yes or no.
    Flag,
    /// A day.
    Date,
    /// One of `options`.
    Choice,
}

/// A field of a type of cases.
#[derive(Debug, Clone, SimpleObject, InputObject)]
#[graphql(name = "CaseField", input_name = "CaseFieldInput")]
pub(crate) struct CaseField {
    /// The name for programs: 1 to 64 of `a-z`, `0-9` and `_`, beginning with a letter.
    pub key: String,
    /// The name for people, 1 to 100 characters.
    pub name: String,
    /// What it holds.
    pub kind: FieldKindName,
    /// True when a case of the type cannot be resolved without it.
    pub required: Option<bool>,
    /// Of text: longest, in characters; 10,000 when absent.
    pub max_chars: Option<u32>,
    /// Of a whole number: the least.
    pub min: Option<i64>,
    /// Of a whole number: the greatest.
    pub max: Option<i64>,
    /// Of a choice: its words.
    pub options: Option<Vec<String>>,
}

impl From<FieldRule> for CaseField {
    fn from(rule: FieldRule) -> Self {
        let mut field = Self {
            key: rule.key,
            name: rule.name,
            kind: FieldKindName::Flag,
            required: Some(rule.required),
            max_chars: None,
            min: None,
            max: None,
            options: None,
        };
        match rule.kind {
            FieldKind::Text { max_chars } => (field.kind, field.max_chars) = (FieldKindName::Text, Some(max_chars)),
            FieldKind::Integer { min, max } => (field.kind, field.min, field.max) = (FieldKindName::Integer, min, max),
            FieldKind::Flag => {}
            FieldKind::Date => field.kind = FieldKindName::Date,
            FieldKind::Choice { options } => (field.kind, field.options) = (FieldKindName::Choice, Some(options)),
        }
        field
    }
}

impl From<CaseField> for FieldRule {
    fn from(field: CaseField) -> Self {
        let kind = match field.kind {
            FieldKindName::Text => FieldKind::Text { max_chars: field.max_chars.unwrap_or(MAX_FIELD_CHARS) },
            FieldKindName::Integer => FieldKind::Integer { min: field.min, max: field.max },
            FieldKindName::Flag => FieldKind::Flag,
            FieldKindName::Date => FieldKind::Date,
            FieldKindName::Choice => FieldKind::Choice { options: field.options.unwrap_or_default() },
        };
        Self { key: field.key, name: field.name, kind, required: field.required.unwrap_or_default() }
    }
}

/// A type of cases.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct CaseType {
    /// The id, as `casetype-<uuid>`.
    pub id: ID,
    /// What the tenant calls it.
    pub name: String,
    /// The priority that its cases have unless they have their own, 0 to 9.
    pub priority: u8,
    /// What is kept about each case beside its title.
    pub fields: Vec<CaseField>,
    /// True when no more cases of it are opened.
    pub closed: bool,
    /// When it was opened.
    pub opened_at: DateTime<Utc>,
}

impl From<CaseTypeView> for CaseType {
    fn from(view: CaseTypeView) -> Self {
        Self {
            id: view.case_type.to_string().into(),
            name: view.name,
            priority: view.rules.priority,
            fields: view.rules.fields.into_iter().map(CaseField::from).collect(),
            closed: view.closed,
            opened_at: view.opened_at,
        }
    }
}

/// The rules of a type of cases.
#[derive(InputObject)]
pub(crate) struct CaseTypeRulesInput {
    /// The priority that its cases have unless they have their own, 0 to 9; 0 when absent.
    pub priority: Option<u8>,
    /// What is kept about each case beside its title, 100 fields at most.
    pub fields: Vec<CaseField>,
}

impl From<CaseTypeRulesInput> for CaseTypeRules {
    fn from(input: CaseTypeRulesInput) -> Self {
        let fields = input.fields.into_iter().map(FieldRule::from).collect();
        Self { priority: input.priority.unwrap_or_default(), fields }
    }
}

/// Opens a type of cases.
#[derive(InputObject)]
pub(crate) struct OpenCaseTypeInput {
    /// What the tenant calls it, 1 to 100 characters.
    pub name: String,
    /// Its rules.
    pub rules: CaseTypeRulesInput,
    /// The same for the same wish: a mutation sent again with it changes nothing more.
    pub idempotency_key: String,
    /// The read position of what the caller saw when they acted.
    pub seen_at: Option<Token>,
}

/// Replaces name and rules of a type of cases.
#[derive(InputObject)]
pub(crate) struct ChangeCaseTypeInput {
    /// The type, as `casetype-<uuid>`.
    pub case_type: ID,
    /// What the tenant calls it from here on.
    pub name: String,
    /// Its rules from here on.
    pub rules: CaseTypeRulesInput,
    /// The same for the same wish: a mutation sent again with it changes nothing more.
    pub idempotency_key: String,
    /// The read position of what the caller saw when they acted.
    pub seen_at: Option<Token>,
}

/// Lets no more cases of a type be opened.
#[derive(InputObject)]
pub(crate) struct CloseCaseTypeInput {
    /// The type, as `casetype-<uuid>`.
    pub case_type: ID,
    /// The same for the same wish: a mutation sent again with it changes nothing more.
    pub idempotency_key: String,
    /// The read position of what the caller saw when they acted.
    pub seen_at: Option<Token>,
}

/// Types of cases as what mutations change.
pub(crate) struct CaseTypeSubject;

impl Subject for CaseTypeSubject {
    type Object = CaseType;

    async fn load(reading: &Reading<'_>, id: uuid::Uuid) -> Outcome<Option<CaseType>> {
        find(reading, CaseTypeId::new(id)).await
    }
}

macro_rules! case_type_payloads {
    ($($marker:ident = $name:literal;)*) => {$(
        #[doc = concat!("What came of a mutation: `", $name, "`.")]
        pub(crate) struct $marker;

        impl Mutation for $marker {
            type Subject = CaseTypeSubject;
            const PAYLOAD: &'static str = $name;
        }
    )*};
}

case_type_payloads! {
    OpenCaseType = "OpenCaseTypePayload";
    ChangeCaseType = "ChangeCaseTypePayload";
    CloseCaseType = "CloseCaseTypePayload";
}

/// Queries of types of cases.
#[derive(Default)]
pub(crate) struct CaseTypeQuery;

#[Object]
impl CaseTypeQuery {
    /// The types of cases of the tenant, by name.
    #[graphql(complexity = "20 * child_complexity + 1")]
    async fn case_types(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Wait until the read models have reached this token.")] after: Option<Token>,
    ) -> async_graphql::Result<Vec<CaseType>> {
        let reading = Reading::after(ctx, after.as_ref()).await?;
        let types = reading.views().case_types(reading.viewer()).await.map_err(Failure::from)?;
        Ok(types.into_iter().map(CaseType::from).collect())
    }
}

/// Mutations of types of cases, all for administrators.
#[derive(Default)]
pub(crate) struct CaseTypeMutation;

async fn run(mutating: &Mutating<'_>, case_type: CaseTypeId, command: CaseTypeCommand) -> Outcome<Done> {
    let answered = mutating.run::<CaseTypeDecider>(case_type.uuid(), command).await?;
    Ok(Done { id: case_type.uuid(), answered })
}

#[Object]
impl CaseTypeMutation {
    /// Opens a type of cases. For administrators.
    #[graphql(guard = "ADMINISTRATOR", complexity = "10 + child_complexity")]
    async fn open_case_type(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to open.")] input: OpenCaseTypeInput,
    ) -> async_graphql::Result<Payload<OpenCaseType>> {
        let mutating = Mutating::begin(ctx, "openCaseType", &input.idempotency_key, input.seen_at.as_ref()).await?;
        let case_type = CaseTypeId::new(mutating.fresh("case type"));
        let command = CaseTypeCommand::Open { name: input.name, rules: input.rules.into() };
        Ok(run(&mutating, case_type, command).await?.into())
    }

    /// Replaces name and rules of a type of cases; opens a closed one again. What cases hold stays as it is. For
    /// administrators.
    #[graphql(guard = "ADMINISTRATOR", complexity = "10 + child_complexity")]
    async fn change_case_type(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to change.")] input: ChangeCaseTypeInput,
    ) -> async_graphql::Result<Payload<ChangeCaseType>> {
        let mutating = Mutating::begin(ctx, "changeCaseType", &input.idempotency_key, input.seen_at.as_ref()).await?;
        let command = CaseTypeCommand::Change { name: input.name, rules: input.rules.into() };
        Ok(run(&mutating, id(&input.case_type)?, command).await?.into())
    }

    /// Lets no more cases of a type be opened; its cases go on. For administrators.
    #[graphql(guard = "ADMINISTRATOR", complexity = "10 + child_complexity")]
    async fn close_case_type(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which one.")] input: CloseCaseTypeInput,
    ) -> async_graphql::Result<Payload<CloseCaseType>> {
        let mutating = Mutating::begin(ctx, "closeCaseType", &input.idempotency_key, input.seen_at.as_ref()).await?;
        Ok(run(&mutating, id(&input.case_type)?, CaseTypeCommand::Close).await?.into())
    }
}

/// One type of cases of the viewer's tenant.
pub(crate) async fn find(reading: &Reading<'_>, case_type: CaseTypeId) -> Outcome<Option<CaseType>> {
    let mut found = reading.views().case_types_by_ids(reading.viewer(), &[case_type]).await?;
    Ok(found.pop().map(CaseType::from))
}
