//! The deliveries that are sent: Telegram updates as the Bot API makes them, in any number, the same in every run.
//!
//! **Invariant:** a delivery follows from its number alone. Different numbers have different `update_id`s and message
//! ids, so that what was acknowledged can be counted afterwards.

use std::fmt::Write as _;

/// Chats that write. **Source:** performance method, step 5.
pub(crate) const CONVERSATIONS: usize = 50_000;
/// Exponent of the Zipf distribution over chats. **Source:** performance method, step 5.
const EXPONENT: f64 = 1.05;
/// The id of the first chat; Telegram's ids of people are of this size.
const FIRST_CHAT: u64 = 500_000_000;
/// Every delivery whose number is a multiple of this comes twice: 1 % duplicates.
pub(crate) const REPEAT_EVERY: u64 = 100;

const WORDS: [&str; 24] = [
    "здравствуйте",
    "заказ",
    "доставка",
    "когда",
    "привезут",
    "оплата",
    "прошла",
    "не",
    "могу",
    "войти",
    "в",
    "личный",
    "кабинет",
    "спасибо",
    "помогите",
    "пожалуйста",
    "номер",
    "договора",
    "вчера",
    "hello",
    "refund",
    "please",
    "курьер",
    "опоздал",
];
const NAMES: [&str; 8] = ["Анна", "Иван", "Мария", "Сергей", "Ольга", "Алексей", "Emma", "John"];

/// Makes deliveries.
pub(crate) struct Deliveries {
    /// Cumulated shares of the chats, in 2^-53 steps of the whole.
    shares: Vec<f64>,
}

impl Deliveries {
    /// The generator; there is only one.
    pub(crate) fn new() -> Self {
        let mut sum = 0.0;
        let mut shares: Vec<f64> = (1..=CONVERSATIONS)
            .map(|rank| {
                #[expect(clippy::cast_precision_loss, reason = "a rank is far below 2^52")]
                let weight = (rank as f64).powf(-EXPONENT);
                sum += weight;
                sum
            })
            .collect();
        shares.iter_mut().for_each(|share| *share /= sum);
        Self { shares }
    }

    /// The chat that delivery `number` comes from.
    pub(crate) fn chat(&self, number: u64) -> u64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
        let point = (mix(number) >> 11) as f64 / (1u64 << 53) as f64;
        FIRST_CHAT + self.shares.partition_point(|share| *share < point) as u64
    }

    /// The chat that writes most; those after it write less and less.
    pub(crate) const fn busiest(&self) -> u64 {
        FIRST_CHAT
    }

    /// The text of delivery `number`: 512 bytes is the median of the whole body, a tenth is several times as long.
    pub(crate) fn text(number: u64) -> String {
        let random = mix(number ^ 0xA5A5_A5A5);
        let words = match random % 10 {
            0 => 60,
            other => 3 + other + (random >> 8) % 9,
        };
        let mut text = String::with_capacity(256);
        for place in 0..words {
            let word = WORDS[usize::try_from(mix(random ^ place) % 24).unwrap_or_default()];
            text.push_str(word);
            text.push(' ');
        }
        let _ = write!(text, "№{number}");
        text
    }

    /// The body of delivery `number`.
    pub(crate) fn body(&self, number: u64) -> String {
        let chat = self.chat(number);
        let name = NAMES[usize::try_from(chat % 8).unwrap_or_default()];
        // A second of provider time per thousand deliveries.
        let date = 1_790_000_000 + number / 1_000;
        format!(
            r#"{{"update_id":{number},"message":{{"message_id":{number},"from":{{"id":{chat},"is_bot":false,"first_name":"{name}","last_name":"Клиент{chat}","username":"client_{chat}","language_code":"ru"}},"chat":{{"id":{chat},"first_name":"{name}","last_name":"Клиент{chat}","username":"client_{chat}","type":"private"}},"date":{date},"text":"{}"}}}}"#,
            Self::text(number)
        )
    }
}

/// `SplitMix64`. **Source:** Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
