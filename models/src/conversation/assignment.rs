//! Whose work a conversation is: where it waits, who is given it, from whom it is taken.
//!
//! **Invariant:** the policy of a queue gives away only what waits in that queue and is nobody's; whoever is taken a
//! conversation from, or spoke in it without having it, does not speak in it any more, so that the next can answer.

use std::sync::Arc;

use events::conversation::{
    AssignedReason, ConversationAssigned, ConversationEnqueued, ConversationEvent, EnqueuedReason, Speaker,
    SpeakerChanged,
};
use events::ids::QueueId;

use super::command::{EnqueuedBy, Enqueueing};
use super::{Conversation, ConversationRejection, MAX_FALLBACKS, MAX_PRIORITY, Queued};
use crate::operator::is_language;

type Decision = Result<Vec<ConversationEvent>, ConversationRejection>;

pub(super) fn enqueue(state: &Conversation, enqueueing: Enqueueing) -> Decision {
    let Enqueueing { queue, is_open, priority, language, by } = enqueueing;
    if !state.is_open() {
        // What comes by itself has nothing to do there; whoever wishes it is told.
        return if by == EnqueuedBy::Hand { Err(closed(state)) } else { Ok(vec![]) };
    }
    let settled = match by {
        EnqueuedBy::Account => state.queued.is_some() || state.operator.is_some(),
        EnqueuedBy::Fallback { from } => {
            let here = state.queued.as_ref().filter(|queued| queued.queue == from && queued.fallbacks < MAX_FALLBACKS);
            here.is_none() || state.operator.is_some() || queue == from
        }
        EnqueuedBy::Hand => false,
    };
    if settled {
        return Ok(vec![]);
    }
    if !is_open {
        return Err(ConversationRejection::NoSuchQueue);
    }
    if priority > MAX_PRIORITY {
        return Err(ConversationRejection::BadPriority);
    }
    if language.as_deref().is_some_and(|language| !is_language(language)) {
        return Err(ConversationRejection::BadLanguage);
    }
    let here = state.queued.as_ref().filter(|queued| queued.queue == queue && state.operator.is_none());
    let (reason, fallbacks) = match (by, here, &state.queued) {
        (EnqueuedBy::Account, ..) => (EnqueuedReason::ByAccount, 0),
        (EnqueuedBy::Fallback { .. }, _, queued) => {
            (EnqueuedReason::Fallback, queued.as_ref().map_or(0, |queued| queued.fallbacks) + 1)
        }
        (EnqueuedBy::Hand, None, _) => (EnqueuedReason::ByHand, 0),
        (EnqueuedBy::Hand, Some(here), _) if here.priority == priority && here.language == language => {
            return Ok(vec![]);
        }
        (EnqueuedBy::Hand, Some(here), _) => (EnqueuedReason::Changed, here.fallbacks),
    };
    let mut events: Vec<ConversationEvent> = Vec::with_capacity(3);
    events.push(ConversationEnqueued { queue, priority, language, reason, fallbacks }.into());
    if by == EnqueuedBy::Hand {
        if state.speaker != Speaker::Nobody {
            events.push(SpeakerChanged { speaker: Speaker::Nobody, reason: "enqueued".to_owned() }.into());
        }
        if state.operator.is_some() {
            events.push(ConversationAssigned { operator: None, reason: Some(AssignedReason::Enqueued) }.into());
        }
    }
    Ok(events)
}

pub(super) fn assign(state: &Conversation, operator: Option<Arc<str>>) -> Decision {
    if state.opened.is_none() {
        return Err(ConversationRejection::NotOpen);
    }
    let same = state.operator == operator;
    Ok(if same { vec![] } else { vec![ConversationAssigned { operator, reason: None }.into()] })
}

pub(super) fn assign_from_queue(
    state: &Conversation,
    queue: QueueId,
    operator: Arc<str>,
    reason: AssignedReason,
) -> Decision {
    let waits = state.is_open() && !state.is_snoozed() && state.operator.is_none();
    if !waits || state.queued.as_ref().is_none_or(|queued| queued.queue != queue) {
        return Err(ConversationRejection::NotWaiting);
    }
    let mut events: Vec<ConversationEvent> = Vec::with_capacity(2);
    if matches!(&state.speaker, Speaker::Operator(speaker) if *speaker != operator) {
        events.push(SpeakerChanged { speaker: Speaker::Nobody, reason: "assigned".to_owned() }.into());
    }
    events.push(ConversationAssigned { operator: Some(operator), reason: Some(reason) }.into());
    Ok(events)
}

pub(super) fn unassign(state: &Conversation, from: &Arc<str>, reason: AssignedReason) -> Decision {
    if state.operator.as_ref() != Some(from) {
        return Ok(vec![]);
    }
    let mut events: Vec<ConversationEvent> = Vec::with_capacity(2);
    if matches!(&state.speaker, Speaker::Operator(speaker) if speaker == from) {
        events.push(SpeakerChanged { speaker: Speaker::Nobody, reason: "released".to_owned() }.into());
    }
    events.push(ConversationAssigned { operator: None, reason: Some(reason) }.into());
    Ok(events)
}

pub(super) fn evolve(state: &mut Conversation, enqueued: &ConversationEnqueued) {
    let ConversationEnqueued { queue, priority, language, reason: _, fallbacks } = enqueued;
    let (queue, priority, fallbacks) = (*queue, *priority, *fallbacks);
    state.was_queued = true;
    state.queued = Some(Queued { queue, priority, language: language.clone(), fallbacks });
}

fn closed(state: &Conversation) -> ConversationRejection {
    if state.opened.is_some() { ConversationRejection::Closed } else { ConversationRejection::NotOpen }
}
