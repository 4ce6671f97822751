//! Why a client gets nowhere: what librdkafka says only aside, while its answer is that nobody answered.
//!
//! **Invariant:** what is kept is about connections: it names addresses and mechanisms, no record and no password.

use parking_lot::Mutex;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::topics::TopicError;

/// The last trouble of a client with its brokers.
#[derive(Default)]
pub(crate) struct Trouble(Mutex<Troubles>);

#[derive(Default)]
struct Troubles {
    last: Option<Heard>,
    /// There is no connection to any broker.
    all_away: bool,
}

struct Heard {
    reason: String,
    /// Brokers do not let the client in, or it does not trust them: both stay so until somebody changes something.
    refused: bool,
}

impl Trouble {
    /// Takes down what librdkafka reports. Of a cluster of which one broker is away and one refuses, the refusal stays.
    pub(crate) fn hear(&self, error: &KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        let refused = matches!(code, Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL));
        let mut heard = self.0.lock();
        // That all are down follows from the others, and says nothing of why.
        if code == Some(RDKafkaErrorCode::AllBrokersDown) {
            heard.all_away = true;
        } else if refused || !heard.last.as_ref().is_some_and(|before| before.refused) {
            heard.last = Some(Heard { reason: reason.to_owned(), refused });
        }
    }

    /// Why no broker can be reached, once that is so: librdkafka tries for ever, and tells nobody but here.
    pub(crate) fn all_away(&self) -> Option<String> {
        let heard = self.0.lock();
        let why = heard.last.as_ref().map_or("no broker can be reached", |last| last.reason.as_str());
        heard.all_away.then(|| format!("all brokers are away: {why}"))
    }

    /// A broker answered.
    pub(crate) fn is_over(&self) {
        *self.0.lock() = Troubles::default();
    }

    /// True when asking again is of no use.
    pub(crate) fn is_refusal(&self) -> bool {
        self.0.lock().last.as_ref().is_some_and(|heard| heard.refused)
    }

    /// The error with the reason, where one was heard.
    pub(crate) fn explain(&self, error: TopicError) -> TopicError {
        match (error, &self.0.lock().last) {
            (TopicError::Unavailable(what), Some(heard)) => {
                TopicError::Unavailable(format!("{what}: {}", heard.reason))
            }
            (error, _) => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(heard: &[(RDKafkaErrorCode, &str)]) -> (String, bool) {
        let trouble = Trouble::default();
        for (code, reason) in heard {
            trouble.hear(&KafkaError::Global(*code), reason);
        }
        (trouble.explain(TopicError::Unavailable("timed out".to_owned())).to_string(), trouble.is_refusal())
    }

    #[test]
    fn a_refusal_is_told_whatever_else_goes_wrong() {
        let down = (RDKafkaErrorCode::AllBrokersDown, "2/2 brokers are down");
        let away = (RDKafkaErrorCode::BrokerTransportFailure, "one: connection refused");
        let refused = (RDKafkaErrorCode::Authentication, "two: invalid credentials");
        assert_eq!(told(&[]), ("kafka unavailable: timed out".to_owned(), false));
        assert_eq!(told(&[down]), ("kafka unavailable: timed out".to_owned(), false));
        let of_away = "kafka unavailable: timed out: one: connection refused".to_owned();
        assert_eq!(told(&[away, down]), (of_away, false));
        let of_refused = "kafka unavailable: timed out: two: invalid credentials".to_owned();
        assert_eq!(told(&[away, refused, down]), (of_refused.clone(), true));
        assert_eq!(told(&[refused, away, down]), (of_refused, true));
    }

    #[test]
    fn that_all_are_away_is_told_with_the_reason_until_one_answers() {
        let trouble = Trouble::default();
        let hear = |code, reason| trouble.hear(&KafkaError::Global(code), reason);
        hear(RDKafkaErrorCode::BrokerTransportFailure, "one: connection refused");
        assert_eq!(trouble.all_away(), None, "others may be there");
        hear(RDKafkaErrorCode::AllBrokersDown, "1/1 brokers are down");
        assert_eq!(trouble.all_away().as_deref(), Some("all brokers are away: one: connection refused"));
        trouble.is_over();
        assert_eq!(trouble.all_away(), None);
    }

    #[test]
    fn what_brokers_answer_is_not_explained() {
        let trouble = Trouble::default();
        trouble.hear(&KafkaError::Global(RDKafkaErrorCode::SSL), "certificate verify failed");
        let missing = TopicError::Missing("letopis.intake".to_owned());
        assert_eq!(trouble.explain(missing.clone()), missing);
    }
}
