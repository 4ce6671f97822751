//! The two acts of the story: what customers write first, and what they do once they were answered.
//!
//! **Invariant:** what each customer does follows from their number among those who write in the same way; every kind
//! of thing happens at least once with [`FEWEST_CUSTOMERS`](super::super::FEWEST_CUSTOMERS).

use super::*;

impl Story {
    /// What customers write before anybody answers.
    pub(crate) fn first_act(&mut self) -> Vec<Scene> {
        let customers = self.customers.clone();
        let mut scenes = Vec::with_capacity(customers.len() + 2);
        for customer in &customers {
            self.expected.people += 1;
            let at = self.begin();
            scenes.push(match customer.way {
                Way::Telegram => self.telegram_opening(customer, at),
                Way::Webchat => self.webchat_opening(customer, at),
                Way::Email => self.mail_opening(customer, at),
            });
        }
        scenes.push(self.group(&customers));
        self.expected.unrecognised += 1;
        scenes.push(vec![self.updates.update("hologram", &json!({ "projector": "of a later year" }))]);
        scenes
    }

    fn telegram_opening(&mut self, customer: &Customer, at: DateTime<Utc>) -> Scene {
        let words = customer.words(&self.catalogue);
        let greeting = customer.say(&words.greetings, &mut self.random);
        let order = customer.say(&words.orders, &mut self.random);
        let question = customer.say(&words.questions, &mut self.random);
        let complaint = customer.say(&words.complaints, &mut self.random);
        let edited = customer.say(&words.edits, &mut self.random);
        let caption = customer.say(&words.captions, &mut self.random);
        let chat = customer.telegram.to_string();
        self.expect_conversation(&chat);
        let soon = at + TimeDelta::seconds(25);
        let later = at + TimeDelta::minutes(2);
        let answer = self.answer(customer);
        let mut scene = vec![self.updates.message(customer, at, &json!({ "text": greeting })).1];
        match customer.ordinal % 12 {
            0 => {
                scene.push(self.updates.message(customer, soon, &json!({ "text": order })).1);
                self.ask(chat, customer.tongue, vec![answer]);
            }
            1 => {
                let photo = photo(&format!("broken{}", customer.number));
                scene.push(self.updates.message(customer, soon, &json!({ "photo": photo, "caption": complaint })).1);
                self.expected.files += 1;
                let note = self.note(customer);
                self.ask(chat, customer.tongue, vec![Step::Assign, Step::Tag("complaint"), note, answer]);
            }
            2 => {
                // The edit overtakes the message.
                let (id, message) = self.updates.message(customer, soon, &json!({ "text": question }));
                scene.push(self.updates.edit(id, customer, soon, &json!({ "text": edited })));
                scene.push(message);
                self.expected.edits += 1;
                self.ask(chat, customer.tongue, vec![answer]);
            }
            3 => {
                let album = customer.telegram.to_string();
                for place in [2, 0, 1] {
                    let photo = photo(&format!("album{}-{place}", customer.number));
                    let mut says = json!({ "photo": photo, "media_group_id": album });
                    if place == 0 {
                        says["caption"] = caption.as_str().into();
                    }
                    scene.push(self.updates.message(customer, soon, &says).1);
                    self.expected.files += 1;
                }
                self.ask(chat, customer.tongue, vec![Step::Tag("photos")]);
            }
            4 => {
                scene.push(self.updates.button(customer, soon, "menu:delivery"));
                self.expected.activities += 1;
            }
            5 => {
                // The same person in two channels: the phone number is what joins them.
                let card = json!({ "phone_number": customer.phone, "first_name": customer.first_name,
                                   "user_id": customer.telegram });
                scene.push(self.updates.message(customer, soon, &json!({ "contact": card })).1);
                let chat_on_site = format!("chat-{}", customer.number);
                let says = json!({ "text": question });
                let who = format!("who-{}", customer.number);
                scene.push(webchat::delivery(&who, "identify", customer, Told::NameAndPhone, later, &json!({})));
                scene.push(webchat::delivery(&chat_on_site, "message", customer, Told::NameAndPhone, later, &says));
                self.expected.inbound += 1;
                self.expected.linked += 1;
                self.expect_conversation(customer.visitor());
                self.ask(chat, customer.tongue, vec![answer]);
            }
            6 => {
                scene.push(self.updates.blocked(customer, soon));
                self.expected.refused += 1;
                self.ask(chat, customer.tongue, vec![answer]);
            }
            7 => {
                let place = json!({ "latitude": 56.0, "longitude": 37.0 });
                scene.push(self.updates.message(customer, soon, &json!({ "location": place })).1);
                self.ask(chat, customer.tongue, vec![answer]);
            }
            8 => {
                scene.push(self.updates.message(customer, soon, &json!({ "text": question })).1);
                // The provider saw no answer and sends everything again.
                scene.iter_mut().for_each(|delivery| delivery.copies = 3);
                self.ask(chat, customer.tongue, vec![answer, Step::Close, Step::Reopen]);
            }
            10 => {
                scene.push(self.updates.message(customer, soon, &json!({ "text": question })).1);
                self.ask(chat, customer.tongue, vec![Step::Snooze]);
            }
            11 => self.ask(chat, customer.tongue, vec![answer, Step::Tag("solved"), Step::Close]),
            _ => {}
        }
        self.expected.inbound += match customer.ordinal % 12 {
            3 => 4,
            0 | 1 | 2 | 5 | 7 | 8 | 10 => 2,
            _ => 1,
        };
        scene
    }

    fn group(&mut self, customers: &[Customer]) -> Scene {
        let title = self.catalogue.shop.group_title.clone();
        let members = customers.iter().filter(|customer| customer.way == Way::Telegram && customer.ordinal % 12 == 9);
        let mut scene = Vec::new();
        let mut at = self.began + TimeDelta::minutes(30);
        for member in members {
            at += TimeDelta::seconds(50);
            let joined = json!({ "new_chat_members": [user(member)] });
            scene.push(self.updates.in_group(&title, member, at, &joined));
            let text = member.say(&member.words(&self.catalogue).group_talk, &mut self.random);
            scene.push(self.updates.in_group(&title, member, at + TimeDelta::seconds(20), &json!({ "text": text })));
            self.expected.inbound += 1;
        }
        if let Some(member) = customers.iter().find(|it| it.way == Way::Telegram && it.ordinal == 9) {
            self.expect_conversation(GROUP.to_string());
            let answer = self.answer(member);
            self.ask(GROUP.to_string(), Tongue::Russian, vec![answer]);
        }
        scene
    }

    fn webchat_opening(&mut self, customer: &Customer, at: DateTime<Utc>) -> Scene {
        let words = customer.words(&self.catalogue);
        let greeting = customer.say(&words.greetings, &mut self.random);
        let question = customer.say(&words.questions, &mut self.random);
        let edited = customer.say(&words.edits, &mut self.random);
        let soon = at + TimeDelta::seconds(15);
        let id = |part: &str| format!("{part}-{}", customer.number);
        let message = |part: &str, text: &str| {
            webchat::delivery(&id(part), "message", customer, Told::Name, at, &json!({ "text": text }))
        };
        self.expect_conversation(customer.visitor());
        self.expected.inbound += 2;
        let mut scene = vec![message("hello", &greeting), message("question", &question)];
        let about = id("question");
        match customer.ordinal % 4 {
            0 => {
                let answer = self.answer(customer);
                self.expected.waiting += 1;
                self.ask(customer.visitor(), customer.tongue, vec![answer]);
            }
            1 => {
                let edit = json!({ "message": about, "text": edited });
                scene.push(webchat::delivery(&id("edit"), "edit", customer, Told::Name, soon, &edit));
                let reaction = json!({ "message": about, "reactions": ["👍"] });
                scene.push(webchat::delivery(&id("like"), "reaction", customer, Told::Name, soon, &reaction));
                self.expected.edits += 1;
                self.expected.reactions += 1;
            }
            2 => {
                // The same person in two channels: the mail address is what joins them.
                scene.push(webchat::delivery(&id("who"), "identify", customer, Told::NameAndEmail, soon, &json!({})));
                let letter = self.letter(customer, soon + TimeDelta::minutes(3));
                self.expect_conversation(&letter.id);
                self.expected.inbound += 1;
                self.expected.linked += 1;
                scene.push(letter.delivery());
            }
            _ => {
                let opened = json!({ "activity": "page_opened", "data": "/samovars" });
                scene.push(webchat::delivery(&id("page"), "activity", customer, Told::Name, soon, &opened));
                self.expected.activities += 1;
            }
        }
        scene
    }

    fn mail_opening(&mut self, customer: &Customer, at: DateTime<Utc>) -> Scene {
        let mut letter = self.letter(customer, at);
        letter.charset = match customer.ordinal % 4 {
            1 => KOI8_R,
            2 => WINDOWS_1251,
            _ => UTF_8,
        };
        self.expected.inbound += 1;
        self.expect_conversation(&letter.id);
        if customer.ordinal % 4 != 2 {
            let answer = self.answer(customer);
            self.ask(&letter.id, customer.tongue, vec![answer]);
        }
        let mut delivery = letter.delivery();
        delivery.copies = if customer.ordinal % 4 == 1 { 2 } else { 1 };
        vec![delivery]
    }

    /// What customers do once they were answered; `sent` is what reached them.
    pub(crate) fn second_act(&mut self, sent: &[Sent]) -> Vec<Scene> {
        let customers = self.customers.clone();
        let mut scenes = Vec::new();
        for customer in &customers {
            let at = self.begin() + TimeDelta::minutes(45);
            scenes.extend(match customer.way {
                Way::Telegram => self.telegram_reply(customer, at, sent),
                Way::Email => self.mail_reply(customer, at, sent),
                Way::Webchat => None,
            });
        }
        scenes
    }

    fn telegram_reply(&mut self, customer: &Customer, at: DateTime<Utc>, sent: &[Sent]) -> Option<Scene> {
        let words = customer.words(&self.catalogue);
        match customer.ordinal % 12 {
            0 => {
                let own = customer.telegram.to_string();
                let answer = sent.iter().find_map(|sent| match sent {
                    Sent::Telegram { chat, message, .. } if *chat == own => Some(*message),
                    Sent::Telegram { .. } | Sent::Mail { .. } => None,
                })?;
                let thanks = customer.say(&words.thanks, &mut self.random);
                self.expected.inbound += 1;
                self.expected.reactions += 1;
                Some(vec![
                    self.updates.reaction(answer, customer, at, "👍"),
                    self.updates.message(customer, at, &json!({ "text": thanks })).1,
                ])
            }
            11 => {
                let again = customer.say(&words.again, &mut self.random);
                self.expected.inbound += 1;
                Some(vec![self.updates.message(customer, at, &json!({ "text": again })).1])
            }
            _ => None,
        }
    }

    fn mail_reply(&mut self, customer: &Customer, at: DateTime<Utc>, sent: &[Sent]) -> Option<Scene> {
        let answer = sent.iter().find_map(|sent| match sent {
            Sent::Mail { to, mail } if to.contains(&customer.email) => Some(mail),
            Sent::Mail { .. } | Sent::Telegram { .. } => None,
        })?;
        let shop = self.catalogue.shop.mailbox.clone();
        if customer.ordinal == 1 {
            self.expected.inbound += 1;
            // The mail server that writes is a contact point, too.
            self.expected.people += 1;
            // The report and the header of the returned mail come as files.
            self.expected.files += 2;
            return Some(vec![mail::bounce(&shop, customer, at, answer)]);
        }
        let words = customer.words(&self.catalogue);
        let (subject, text, header) = match customer.ordinal % 4 {
            0 => {
                let subject = format!("Re: {}", pick(&words.subjects, &mut self.random));
                (subject, customer.say(&words.thanks, &mut self.random), "")
            }
            3 => (words.away_subject.clone(), customer.fill(&words.away), "Auto-Submitted: auto-replied\r\n"),
            _ => return None,
        };
        let answered = mail::field(answer, "Message-ID")?;
        let reply_to = mail::field(answer, "Reply-To").and_then(mail::address).map_or(shop, str::to_owned);
        let mut letter = self.letter(customer, at);
        letter.to = reply_to;
        letter.subject = customer.fill(&subject);
        letter.text = text;
        letter.header = format!("{header}In-Reply-To: {answered}\r\nReferences: {answered}\r\n");
        self.expected.inbound += 1;
        Some(vec![letter.delivery()])
    }
}
