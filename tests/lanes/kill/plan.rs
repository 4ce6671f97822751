//! What the kill lane sends: messages of many conversations, and their deliveries in the order of sending.
//!
//! **Invariant:** every message is delivered at least once; two deliveries of one conversation change places within a
//! window of a few messages only, as a provider's retries do.

use std::collections::VecDeque;
use std::time::Duration;

use events::clock::IdGenerator;
use letopis::clock::SystemIds;
use serde_json::json;

/// Conversations.
const CHATS: usize = 200;
/// Every so many-th conversation is a group.
const GROUP_EVERY: usize = 10;
/// Customers in a group.
const GROUP_SIZE: usize = 5;
/// Messages within which the order is changed.
const WINDOW: usize = 4;
/// Most copies of one delivery.
const COPIES: usize = 3;
/// The time of the first message, in Unix time.
const FIRST_DATE: usize = 1_780_000_000;

/// One message.
pub(crate) struct Message {
    number: usize,
    chat: usize,
}

impl Message {
    /// The conversation it belongs to, from 0.
    pub(crate) const fn chat(&self) -> usize {
        self.chat
    }

    /// What it says.
    pub(crate) fn text(&self) -> String {
        format!("Сообщение {} of conversation {}", self.number, self.chat)
    }

    /// The update that Telegram would send. **Source:** Bot API, `Update` and `Message`.
    pub(crate) fn update(&self) -> String {
        let group = self.chat.is_multiple_of(GROUP_EVERY);
        let author = if group { 5_000_000 + self.number / CHATS % GROUP_SIZE } else { 1_000_000 + self.chat };
        let chat = if group {
            json!({"id": -1_000_000_000_000_i64 - i64::try_from(self.chat).expect("few chats"), "type": "supergroup",
                "title": format!("Group {}", self.chat)})
        } else {
            json!({"id": author, "type": "private", "first_name": format!("Customer {}", self.chat)})
        };
        json!({"update_id": 700_000_000 + self.number, "message": {
            "message_id": 1 + self.number, "date": FIRST_DATE + self.number, "chat": chat, "text": self.text(),
            "from": {"id": author, "is_bot": false, "first_name": format!("Customer {author}"), "language_code": "ru"},
        }})
        .to_string()
    }
}

/// All messages and deliveries.
pub(crate) struct Plan {
    /// The messages.
    pub(crate) messages: Vec<Message>,
    /// The places of messages in `messages`, in the order of sending.
    pub(crate) deliveries: Vec<usize>,
}

impl Plan {
    /// A plan for so many messages.
    pub(crate) fn new(dice: &mut Dice, messages: usize) -> Self {
        let messages: Vec<_> = (0..messages).map(|number| Message { number, chat: number % CHATS }).collect();
        let mut by_chat: Vec<VecDeque<usize>> = (0..CHATS).map(|_| VecDeque::new()).collect();
        for (chat, deliveries) in by_chat.iter_mut().enumerate() {
            let numbers: Vec<_> = messages.iter().filter(|it| it.chat == chat).map(|it| it.number).collect();
            for window in numbers.chunks(WINDOW) {
                let copies = window.iter().flat_map(|number| vec![*number; 1 + dice.below(COPIES)]);
                let mut copies: Vec<_> = copies.collect();
                dice.shuffle(&mut copies);
                deliveries.extend(copies);
            }
        }
        let turns = by_chat.iter().enumerate().flat_map(|(chat, deliveries)| vec![chat; deliveries.len()]);
        let mut turns: Vec<_> = turns.collect();
        dice.shuffle(&mut turns);
        let deliveries = turns.into_iter().map(|chat| by_chat[chat].pop_front().expect("as many turns as deliveries"));
        let deliveries = deliveries.collect();
        Self { messages, deliveries }
    }
}

/// Random numbers. **Source:** `SplitMix64`, Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
/// 2014.
pub(crate) struct Dice(u64);

impl Dice {
    /// One that throws differently each time.
    pub(crate) fn of_chance() -> Self {
        let [_, _, _, _, _, _, _, _, rest @ ..] = SystemIds.next().into_bytes();
        Self(u64::from_le_bytes(rest))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0, below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit).expect("a small number")).expect("below a small number")
    }

    /// A time up to `longest`.
    pub(crate) fn up_to(&mut self, longest: Duration) -> Duration {
        Duration::from_micros(self.next() % u64::try_from(longest.as_micros()).expect("a short time"))
    }

    fn shuffle<T>(&mut self, values: &mut [T]) {
        for last in (1..values.len()).rev() {
            values.swap(last, self.below(last + 1));
        }
    }
}
