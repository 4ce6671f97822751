//! What mutations of conversations are told.
//!
//! **Invariant:** every input carries an idempotency key, and may carry what the caller saw.

use async_graphql::{ID, InputObject};
use chrono::{DateTime, Utc};

use crate::scalars::Token;
use crate::vocabulary::SpeakerKind;

/// Declares inputs: the conversation first, the key and what was seen last, the same for all.
macro_rules! inputs {
    ($($(#[doc = $doc:literal])+ $name:ident { $($(#[$attr:meta])+ $field:ident: $type:ty,)* })*) => {$(
        $(#[doc = $doc])+
        #[derive(InputObject)]
        pub(crate) struct $name {
            /// The conversation, as `conversation-<uuid>`.
            pub conversation: ID,
            $($(#[$attr])+ pub $field: $type,)*
            /// The same for the same wish: a mutation sent again with it changes nothing more.
            pub idempotency_key: String,
            /// The read position of what the caller saw when they acted.
            pub seen_at: Option<Token>,
        }
    )*};
}

/// A file to be sent.
#[derive(InputObject)]
pub(crate) struct OutgoingAttachmentInput {
    /// The reference that the upload was answered with.
    pub upload: String,
    /// The name under which it is sent; that of the upload when absent.
    pub file_name: Option<String>,
}

/// Who is to speak.
#[derive(InputObject)]
pub(crate) struct SpeakerInput {
    /// What kind of speaker it is.
    pub kind: SpeakerKind,
    /// The name of the agent or the id of the operator; absent for nobody.
    pub id: Option<String>,
}

inputs! {
    /// Sends a message to the customer.
    SendMessageInput {
        /// What it says, 100,000 characters at most: a channel that takes less gets it in parts. May be absent beside
        /// attachments.
        text: Option<String>,
        /// The subject of a mail; that of the thread when absent.
        subject: Option<String>,
        /// The message that it answers, as `message-<uuid>`.
        reply_to: Option<ID>,
        /// Files to send with it, 10 at most.
        attachments: Option<Vec<OutgoingAttachmentInput>>,
        /// Send it although another operator is replying; refused with `HELD_BY_OTHER` otherwise.
        despite_draft: Option<bool>,
    }

    /// Adds an internal note: never sent.
    AddNoteInput {
        /// What it says.
        text: String,
        /// Operators who are to see it, as in their tokens, 50 at most: their inbox finds it by `mentionsMe`.
        mentions: Option<Vec<String>>,
    }

    /// Adds and takes away tags.
    TagConversationInput {
        /// Tags to add, each of 1 to 64 characters.
        add: Option<Vec<String>>,
        /// Tags to take away.
        remove: Option<Vec<String>>,
    }

    /// Makes a conversation somebody's work, or nobody's.
    AssignConversationInput {
        /// The operator; nobody when null.
        operator: Option<String>,
    }

    /// Lets somebody else speak to the customer.
    HandOverInput {
        /// Who is to speak from here on.
        to: SpeakerInput,
        /// Why, as a short code, `handed_over` when absent; kept for ever, so nothing personal.
        reason: Option<String>,
    }

    /// Lets a conversation rest.
    SnoozeConversationInput {
        /// Until when; a message from the customer ends it earlier.
        until: DateTime<Utc>,
    }

    /// Ends a rest.
    WakeConversationInput {}

    /// Closes the episode.
    CloseConversationInput {
        /// Why, as a short code: `resolved`, `spam`, `no_answer` or one of the tenant's own; nothing personal.
        reason: String,
    }

    /// Begins a further episode.
    ReopenConversationInput {}

    /// Notes up to where the caller has read.
    MarkReadInput {
        /// The revision of the last entry read: `place.revision`.
        up_to: u64,
    }

    /// Sends a dead letter again, from the first part that was not delivered.
    RedriveMessageInput {
        /// The message, as `message-<uuid>`.
        message: ID,
    }
}
