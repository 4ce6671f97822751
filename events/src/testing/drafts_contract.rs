//! What every adapter of [`Drafts`] must do, clause by clause.
//!
//! **Invariant:** a clause uses the port only, and lets drafts end by what the adapter's tests hand in: no clause waits for
//! time to pass.
#![expect(clippy::missing_panics_doc, reason = "a clause panics when the adapter breaks it: that is its use")]

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use uuid::Uuid;

use crate::drafts::Drafts;
use crate::ids::{ConversationId, TenantId};

/// Long enough for none to end by itself.
const LONG: Duration = Duration::from_secs(3600);

/// Makes every draft end.
type RunOut = Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// Drafts as two processes have them.
pub struct DraftsUnderTest {
    one: Arc<dyn Drafts>,
    other: Arc<dyn Drafts>,
    run_out: RunOut,
    /// A server: dropped last.
    _keep: Box<dyn Any + Send>,
}

impl DraftsUnderTest {
    /// Drafts of two processes on the same engine; `run_out` makes every draft end.
    #[must_use]
    pub fn new(
        one: Arc<dyn Drafts>,
        other: Arc<dyn Drafts>,
        keep: impl Any + Send,
        run_out: impl Fn() -> BoxFuture<'static, ()> + Send + Sync + 'static,
    ) -> Self {
        Self { one, other, run_out: Box::new(run_out), _keep: Box::new(keep) }
    }
}

fn tenant(name: &str) -> TenantId {
    name.parse().expect("a slug")
}

fn conversation(number: u128) -> ConversationId {
    ConversationId::new(Uuid::from_u128(number))
}

/// The first who replies keeps the others waiting, in every process and in that conversation only.
pub async fn one_replies_at_a_time(test: DraftsUnderTest) {
    let acme = tenant("acme");
    let hold = async |drafts: &Arc<dyn Drafts>, number, name| {
        drafts.hold((&acme, conversation(number)), name, LONG).await.expect("drafts can be asked").to_string()
    };
    assert_eq!(test.one.holder((&acme, conversation(1))).await, Ok(None));
    assert_eq!(hold(&test.one, 1, "anna").await, "anna");
    assert_eq!(hold(&test.other, 1, "boris").await, "anna");
    assert_eq!(hold(&test.other, 1, "anna").await, "anna");
    assert_eq!(hold(&test.other, 2, "boris").await, "boris");
    assert_eq!(test.other.holder((&acme, conversation(1))).await, Ok(Some("anna".into())));
}

/// Whoever lets go lets the next in; nobody lets go for another.
pub async fn a_release_is_of_ones_own_draft(test: DraftsUnderTest) {
    let acme = tenant("acme");
    test.one.hold((&acme, conversation(1)), "anna", LONG).await.expect("held");
    test.other.release((&acme, conversation(1)), "boris").await.expect("nothing to release");
    assert_eq!(test.one.holder((&acme, conversation(1))).await, Ok(Some("anna".into())));
    test.other.release((&acme, conversation(1)), "anna").await.expect("released");
    assert_eq!(test.one.holder((&acme, conversation(1))).await, Ok(None));
    assert_eq!(test.one.hold((&acme, conversation(1)), "boris", LONG).await, Ok("boris".into()));
}

/// A draft that nobody holds on to ends by itself.
pub async fn a_draft_ends_by_itself(test: DraftsUnderTest) {
    let acme = tenant("acme");
    test.one.hold((&acme, conversation(1)), "anna", LONG).await.expect("held");
    (test.run_out)().await;
    assert_eq!(test.other.holder((&acme, conversation(1))).await, Ok(None));
    assert_eq!(test.other.hold((&acme, conversation(1)), "boris", LONG).await, Ok("boris".into()));
    assert_eq!(test.one.hold((&acme, conversation(1)), "anna", LONG).await, Ok("boris".into()));
}

/// A draft is of one tenant: another that knows the conversation's id learns nothing of it and changes nothing.
pub async fn a_draft_is_of_one_tenant(test: DraftsUnderTest) {
    let (acme, other) = (tenant("acme"), tenant("other"));
    test.one.hold((&acme, conversation(1)), "anna", LONG).await.expect("held");
    assert_eq!(test.other.holder((&other, conversation(1))).await, Ok(None));
    assert_eq!(test.other.hold((&other, conversation(1)), "boris", LONG).await, Ok("boris".into()));
    test.other.release((&other, conversation(1)), "anna").await.expect("nothing to release");
    assert_eq!(test.one.holder((&acme, conversation(1))).await, Ok(Some("anna".into())));
}

/// Makes one test per clause of the contract of [`Drafts`]. Takes an expression of a future of a fresh
/// [`DraftsUnderTest`].
#[macro_export]
macro_rules! drafts_contract {
    ($fresh:expr) => {
        $crate::contract_tests! { drafts_contract, $fresh;
            one_replies_at_a_time
            a_release_is_of_ones_own_draft
            a_draft_ends_by_itself
            a_draft_is_of_one_tenant
        }
    };
}
