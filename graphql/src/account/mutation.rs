//! Mutations of channel accounts, all for administrators.
//!
//! **Invariant:** a secret that letopis makes is derived from the command by the installation's keyed hash, so that a
//! mutation sent again shows the same secret and nobody else can compute it.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use events::account::Secret;
use events::ids::AccountId;
use models::account::{AccountCommand, AccountDecider};

use super::{Account, AccountSettingsInput, CredentialsInput};
use crate::command::{Answered, Mutating, key_reused, refusal};
use crate::context::{Reading, id};
use crate::error::{Failure, Outcome, RETRY_AFTER, UserError, UserErrorCode};
use crate::guard::ADMINISTRATOR;
use crate::payload::{Done, Mutation, Payload, Subject};
use crate::ports::{RegistrarError, WebhookAnswer};
use crate::scalars::Token;

/// Opens a channel account.
#[derive(InputObject)]
pub(crate) struct OpenAccountInput {
    /// What the tenant calls it, 1 to 100 characters.
    pub name: String,
    /// How it is set up; this also says which channel it speaks.
    pub settings: AccountSettingsInput,
    /// The same for the same wish: a mutation sent again with it changes nothing more.
    pub idempotency_key: String,
    /// The read position of what the caller saw when they acted.
    pub seen_at: Option<Token>,
}

/// Replaces name and settings of a channel account.
#[derive(InputObject)]
pub(crate) struct ChangeAccountSettingsInput {
    /// The account.
    pub account: ID,
    /// What the tenant calls it from here on.
    pub name: String,
    /// How it is set up from here on; of the same channel.
    pub settings: AccountSettingsInput,
    /// The same for the same wish: a mutation sent again with it changes nothing more.
    pub idempotency_key: String,
    /// The read position of what the caller saw when they acted.
    pub seen_at: Option<Token>,
}

/// Issues a secret that proves deliveries. Two may be live at a time, so that one can be exchanged without a gap.
#[derive(InputObject)]
pub(crate) struct IssueAccountSecretInput {
    /// The account.
    pub account: ID,
    /// The secret, 32 to 256 of `A-Z a-z 0-9 _ -`; letopis makes one when absent.
    pub secret: Option<String>,
    /// The same for the same wish: a mutation sent again with it changes nothing more.
    pub idempotency_key: String,
    /// The read position of what the caller saw when they acted.
    pub seen_at: Option<Token>,
}

/// Takes a secret out of use.
#[derive(InputObject)]
pub(crate) struct RevokeAccountSecretInput {
    /// The account.
    pub account: ID,
    /// The number of the secret.
    pub number: u32,
    /// The same for the same wish: a mutation sent again with it changes nothing more.
    pub idempotency_key: String,
    /// The read position of what the caller saw when they acted.
    pub seen_at: Option<Token>,
}

/// Replaces what letopis shows to the provider.
#[derive(InputObject)]
pub(crate) struct ReplaceAccountCredentialsInput {
    /// The account.
    pub account: ID,
    /// The credentials; of the channel of the account.
    pub credentials: CredentialsInput,
    /// The same for the same wish: a mutation sent again with it changes nothing more.
    pub idempotency_key: String,
    /// The read position of what the caller saw when they acted.
    pub seen_at: Option<Token>,
}

/// Asks the provider to deliver to us.
#[derive(InputObject)]
pub(crate) struct RegisterWebhookInput {
    /// The account.
    pub account: ID,
    /// The same for the same wish: a mutation sent again with it changes nothing more.
    pub idempotency_key: String,
    /// The read position of what the caller saw when they acted.
    pub seen_at: Option<Token>,
}

/// Stops an account: it takes no deliveries and sends nothing.
#[derive(InputObject)]
pub(crate) struct DisableAccountInput {
    /// The account.
    pub account: ID,
    /// Why, in the caller's words; kept for ever, so nothing personal.
    pub reason: String,
    /// The same for the same wish: a mutation sent again with it changes nothing more.
    pub idempotency_key: String,
    /// The read position of what the caller saw when they acted.
    pub seen_at: Option<Token>,
}

/// Lets a disabled account work again.
#[derive(InputObject)]
pub(crate) struct EnableAccountInput {
    /// The account.
    pub account: ID,
    /// The same for the same wish: a mutation sent again with it changes nothing more.
    pub idempotency_key: String,
    /// The read position of what the caller saw when they acted.
    pub seen_at: Option<Token>,
}

/// Accounts as what mutations change.
pub(crate) struct AccountSubject;

impl Subject for AccountSubject {
    type Object = Account;

    async fn load(reading: &Reading<'_>, id: uuid::Uuid) -> Outcome<Option<Account>> {
        let mut found = reading.views().accounts_by_ids(reading.viewer(), &[AccountId::new(id)]).await?;
        Ok(found.pop().map(Account::from))
    }
}

macro_rules! account_payloads {
    ($($marker:ident = $name:literal;)*) => {$(
        #[doc = concat!("What came of a mutation: `", $name, "`.")]
        pub(crate) struct $marker;

        impl Mutation for $marker {
            type Subject = AccountSubject;
            const PAYLOAD: &'static str = $name;
        }
    )*};
}

account_payloads! {
    OpenAccount = "OpenAccountPayload";
    ChangeAccountSettings = "ChangeAccountSettingsPayload";
    RevokeAccountSecret = "RevokeAccountSecretPayload";
    ReplaceAccountCredentials = "ReplaceAccountCredentialsPayload";
    RegisterWebhook = "RegisterWebhookPayload";
    DisableAccount = "DisableAccountPayload";
    EnableAccount = "EnableAccountPayload";
}

/// What came of `issueAccountSecret`.
#[derive(SimpleObject)]
pub(crate) struct IssueAccountSecretPayload {
    /// Give it as `after` to a query that is to see the change; absent when a rule refused the wish.
    pub token: Option<Token>,
    /// The secret, when letopis made it. It is shown here alone, and again to who sends the
    /// mutation again with its key.
    pub secret: Option<String>,
    /// Why a rule refused the wish; empty when it was carried out.
    pub user_errors: Vec<UserError>,
}

/// Longest reason of a disabling, in characters.
const MAX_REASON_CHARS: usize = 200;

/// Mutations of channel accounts.
#[derive(Default)]
pub(crate) struct AccountMutation;

async fn run(
    mutating: &Mutating<'_>,
    account: &ID,
    command: impl FnOnce(AccountId) -> AccountCommand + Send,
) -> Outcome<(uuid::Uuid, Answered<Token>)> {
    let account: AccountId = id(account)?;
    Ok((account.uuid(), mutating.run::<AccountDecider>(account.uuid(), command(account)).await?))
}

#[Object]
impl AccountMutation {
    /// Opens a channel account. For administrators.
    #[graphql(guard = "ADMINISTRATOR", complexity = "10 + child_complexity")]
    async fn open_account(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to open.")] input: OpenAccountInput,
    ) -> async_graphql::Result<Payload<OpenAccount>> {
        let mutating = Mutating::begin(ctx, "openAccount", &input.idempotency_key, input.seen_at.as_ref()).await?;
        let account = mutating.fresh("account");
        let answered = match input.settings.parse() {
            Ok(settings) => {
                let command = AccountCommand::Open { name: input.name, settings };
                mutating.run::<AccountDecider>(account, command).await?
            }
            Err(reason) => Err(refusal(UserErrorCode::InvalidValue, reason, "settings")),
        };
        Ok(Done { id: account, answered }.into())
    }

    /// Replaces name and settings of a channel account. For administrators.
    #[graphql(guard = "ADMINISTRATOR", complexity = "10 + child_complexity")]
    async fn change_account_settings(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to change.")] input: ChangeAccountSettingsInput,
    ) -> async_graphql::Result<Payload<ChangeAccountSettings>> {
        let mutating =
            Mutating::begin(ctx, "changeAccountSettings", &input.idempotency_key, input.seen_at.as_ref()).await?;
        let (id, answered) = match input.settings.parse() {
            Ok(settings) => {
                let name = input.name;
                run(&mutating, &input.account, |_| AccountCommand::ChangeSettings { name, settings }).await?
            }
            Err(reason) => {
                let account: AccountId = id(&input.account)?;
                (account.uuid(), Err(refusal(UserErrorCode::InvalidValue, reason, "settings")))
            }
        };
        Ok(Done { id, answered }.into())
    }

    /// Issues a secret that proves deliveries. For administrators.
    #[graphql(guard = "ADMINISTRATOR", complexity = "10 + child_complexity")]
    async fn issue_account_secret(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "For which account.")] input: IssueAccountSecretInput,
    ) -> async_graphql::Result<IssueAccountSecretPayload> {
        let mutating =
            Mutating::begin(ctx, "issueAccountSecret", &input.idempotency_key, input.seen_at.as_ref()).await?;
        let made = input.secret.is_none().then(|| made_secret(&mutating));
        let value = input.secret.or_else(|| made.clone()).unwrap_or_default();
        let issue = |account| AccountCommand::IssueSecret { account, secret: Secret { value } };
        let (_, answered) = run(&mutating, &input.account, issue).await?;
        Ok(match answered {
            Ok(token) => IssueAccountSecretPayload { token: Some(token), secret: made, user_errors: vec![] },
            Err(error) => IssueAccountSecretPayload { token: None, secret: None, user_errors: vec![error] },
        })
    }

    /// Takes a secret out of use. For administrators.
    #[graphql(guard = "ADMINISTRATOR", complexity = "10 + child_complexity")]
    async fn revoke_account_secret(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which secret.")] input: RevokeAccountSecretInput,
    ) -> async_graphql::Result<Payload<RevokeAccountSecret>> {
        let mutating =
            Mutating::begin(ctx, "revokeAccountSecret", &input.idempotency_key, input.seen_at.as_ref()).await?;
        let revoke = |_| AccountCommand::RevokeSecret { number: input.number };
        let (id, answered) = run(&mutating, &input.account, revoke).await?;
        Ok(Done { id, answered }.into())
    }

    /// Replaces what letopis shows to the provider: a bot's token, a mail server's login. For administrators.
    #[graphql(guard = "ADMINISTRATOR", complexity = "10 + child_complexity")]
    async fn replace_account_credentials(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which credentials.")] input: ReplaceAccountCredentialsInput,
    ) -> async_graphql::Result<Payload<ReplaceAccountCredentials>> {
        let mutating =
            Mutating::begin(ctx, "replaceAccountCredentials", &input.idempotency_key, input.seen_at.as_ref()).await?;
        let credentials = input.credentials.into();
        let replace = |account| AccountCommand::ReplaceCredentials { account, credentials };
        let (id, answered) = run(&mutating, &input.account, replace).await?;
        Ok(Done { id, answered }.into())
    }

    /// Asks the provider to deliver to our webhook address, with the newest live secret. A refusal by the provider is
    /// recorded too: see `webhookRefusal` of the account. For administrators.
    #[graphql(guard = "ADMINISTRATOR", complexity = "10 + child_complexity")]
    async fn register_webhook(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "For which account.")] input: RegisterWebhookInput,
    ) -> async_graphql::Result<Payload<RegisterWebhook>> {
        let mutating = Mutating::begin(ctx, "registerWebhook", &input.idempotency_key, input.seen_at.as_ref()).await?;
        let account: AccountId = id(&input.account)?;
        let answered = register(&mutating, account).await?;
        Ok(Done { id: account.uuid(), answered }.into())
    }

    /// Stops an account: it takes no deliveries and sends nothing. For administrators.
    #[graphql(guard = "ADMINISTRATOR", complexity = "10 + child_complexity")]
    async fn disable_account(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which account, and why.")] input: DisableAccountInput,
    ) -> async_graphql::Result<Payload<DisableAccount>> {
        let mutating = Mutating::begin(ctx, "disableAccount", &input.idempotency_key, input.seen_at.as_ref()).await?;
        let account: AccountId = id(&input.account)?;
        let length = input.reason.chars().count();
        let answered = if input.reason.trim().is_empty() || length > MAX_REASON_CHARS {
            let message = format!("reason must have 1 to {MAX_REASON_CHARS} characters");
            Err(refusal(UserErrorCode::InvalidValue, message, "reason"))
        } else {
            let command = AccountCommand::Disable { reason: input.reason };
            mutating.run::<AccountDecider>(account.uuid(), command).await?
        };
        Ok(Done { id: account.uuid(), answered }.into())
    }

    /// Lets a disabled account work again. For administrators.
    #[graphql(guard = "ADMINISTRATOR", complexity = "10 + child_complexity")]
    async fn enable_account(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which account.")] input: EnableAccountInput,
    ) -> async_graphql::Result<Payload<EnableAccount>> {
        let mutating = Mutating::begin(ctx, "enableAccount", &input.idempotency_key, input.seen_at.as_ref()).await?;
        let (id, answered) = run(&mutating, &input.account, |_| AccountCommand::Enable).await?;
        Ok(Done { id, answered }.into())
    }
}

/// 256 bits in hex.
fn made_secret(mutating: &Mutating<'_>) -> String {
    let hasher = mutating.deps.codec().hasher();
    let command = mutating.origin.id.uuid();
    let half = |part: &[u8]| hasher.digest("account secret", &[command.as_bytes(), part]);
    let bytes = [half(b"first"), half(b"second")].concat();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn register(mutating: &Mutating<'_>, account: AccountId) -> Outcome<Answered<Token>> {
    let (handler, origin) = (&mutating.deps.handler, &mutating.origin);
    if let Some(event) = handler.log().find(origin.id.event(0)).await? {
        if event.metadata.wish.is_some_and(|then| origin.wish.is_some_and(|now| now != then)) {
            return Ok(Err(key_reused()));
        }
        // The provider was asked already under this key.
        return Ok(Ok(Token { position: event.position, stream: Some(event.stream) }));
    }
    let command = match mutating.deps.webhooks.register(&origin.tenant, account).await {
        Ok(WebhookAnswer::Registered { url, secret }) => AccountCommand::RecordWebhook { url, secret },
        Ok(WebhookAnswer::Refused { url, reason }) => AccountCommand::RecordRefusal { url, reason },
        Err(RegistrarError::NotReady(reason)) => {
            return Ok(Err(UserError { code: UserErrorCode::NotReady, message: reason, field: None }));
        }
        Err(error @ RegistrarError::Unavailable(_)) => return Err(Failure::unavailable(error, RETRY_AFTER)),
    };
    mutating.run::<AccountDecider>(account.uuid(), command).await
}
