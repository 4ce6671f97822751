//! How each event changes what is known of a case.
//!
//! **Invariant:** total: any history folds, also one that today's rules would not write.

use events::case::{CaseEvent, CaseOpened};
use events::seal::KeySubject;

use super::{Case, Facts};

pub(super) fn evolve(state: &mut Case, event: &CaseEvent) {
    use CaseEvent as E;
    match event {
        E::Opened(opened) => open(state, opened),
        E::Changed(changed) => {
            for key in &changed.cleared {
                state.set.remove(key);
            }
            state.set.extend(changed.set.iter().cloned());
        }
        E::Prioritised(prioritised) => state.priority = prioritised.priority,
        E::Promised(promised) => state.promised = promised.until,
        E::StatusChanged(changed) => state.status = changed.status,
        E::Assigned(assigned) => state.operator.clone_from(&assigned.operator),
        E::ConversationLinked(linked) => {
            if !state.conversations.contains(&linked.conversation) {
                state.conversations.push(linked.conversation);
            }
        }
        E::ConversationUnlinked(unlinked) => state.conversations.retain(|known| *known != unlinked.conversation),
        E::Linked(linked) => {
            state.links.insert((linked.other, linked.relation));
        }
        E::Unlinked(unlinked) => {
            state.links.remove(&(unlinked.other, unlinked.relation));
        }
        E::Merged(merged) => state.merged = Some(merged.into),
        E::Unmerged(_) => state.merged = None,
        E::NoteAdded(added) => {
            state.notes.insert(added.note);
        }
    }
}

fn open(state: &mut Case, opened: &CaseOpened) {
    let key = opened.customer.map_or(KeySubject::Conversation(opened.conversation), KeySubject::Occupancy);
    state.opened = Some(Facts { number: opened.number, case_type: opened.case_type, key });
    state.priority = opened.priority;
    state.conversations = vec![opened.conversation];
    state.set = opened.set.iter().cloned().collect();
}
