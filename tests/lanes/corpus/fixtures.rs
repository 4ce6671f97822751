//! Reads the fixtures from the folder that `LETOPIS_CORPUS_DIR` names.
//!
//! **Invariant:** a folder that is missing or lacks a part of the corpus fails the lane.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// The first id of updates that are made here around bare objects.
const FIRST_OWN_UPDATE: i64 = 910_000_001;

/// Fields that name who sent a mail. **Source:** RFC 5322, sections 3.6.2, 3.6.6 and 3.6.7.
const SENDER_FIELDS: [&str; 5] = ["from", "reply-to", "sender", "resent-from", "return-path"];

/// One body.
pub(crate) struct Fixture {
    /// Its file.
    pub(crate) name: String,
    /// What a provider would send.
    pub(crate) body: Vec<u8>,
    /// False for an update of a kind that nobody knows.
    pub(crate) known: bool,
}

/// The corpus.
pub(crate) struct Fixtures {
    /// Updates of Telegram.
    pub(crate) telegram: Vec<Fixture>,
    /// Mails.
    pub(crate) mails: Vec<Fixture>,
    /// Everything else: what other channels send.
    foreign: Vec<Fixture>,
}

impl Fixtures {
    /// Reads it.
    pub(crate) fn read() -> Self {
        let folder = std::env::var_os("LETOPIS_CORPUS_DIR").map(PathBuf::from);
        let folder = folder.expect("LETOPIS_CORPUS_DIR names the folder of the fixtures");
        let mut files = Vec::new();
        collect(&folder, &folder, &mut files);
        files.sort();
        let (mut telegram, mut mails, mut foreign) = (Vec::new(), Vec::new(), Vec::new());
        for (own_update, name) in (FIRST_OWN_UPDATE..).zip(files) {
            let body = std::fs::read(folder.join(&name)).unwrap_or_else(|error| panic!("{name}: {error}"));
            let file = name.strip_prefix("telegram/");
            if let Some(file) = file {
                let body = match file.split_once("__") {
                    Some(("update", _)) => body,
                    Some(("message_object", _)) => wrapped(&name, own_update, "message", &body),
                    Some(("reaction_object", _)) => wrapped(&name, own_update, "message_reaction", &body),
                    _ => panic!("{name}: no rule says what it is"),
                };
                telegram.push(Fixture { known: !file.starts_with("update__new_update_kind"), name, body });
            } else if name.starts_with("email/") && name.ends_with(".eml") {
                mails.push(Fixture { name, body, known: true });
            } else {
                foreign.push(Fixture { name, body, known: false });
            }
        }
        let complete = !telegram.is_empty() && !mails.is_empty() && !foreign.is_empty();
        assert!(complete, "the corpus has updates, mails and bodies of other channels: is LETOPIS_CORPUS_DIR right?");
        Self { telegram, mails, foreign }
    }

    /// Every body.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Fixture> {
        self.telegram.iter().chain(&self.mails).chain(&self.foreign)
    }
}

/// The files of the channels' folders, by their path below `root`.
fn collect(root: &Path, folder: &Path, files: &mut Vec<String>) {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() {
            collect(root, &path, files);
        } else if folder != root {
            let name = path.strip_prefix(root).expect("it lies below the root");
            files.push(name.to_str().expect("names of fixtures are UTF-8").to_owned());
        }
    }
}

/// An update around a bare object.
fn wrapped(name: &str, id: i64, kind: &str, object: &[u8]) -> Vec<u8> {
    let object: Value = serde_json::from_slice(object).unwrap_or_else(|error| panic!("{name}: {error}"));
    json!({ "update_id": id, kind: object }).to_string().into_bytes()
}

/// True when a line of the mail's header names somebody in one of the fields of a sender.
pub(crate) fn names_a_sender(mail: &[u8]) -> bool {
    let text = String::from_utf8_lossy(mail).replace("\r\n", "\n").replace('\r', "\n");
    let mut in_sender = false;
    for line in text.trim_start().lines() {
        if line.is_empty() {
            return false;
        }
        let folded = line.starts_with([' ', '\t']);
        if !folded {
            let field = line.split_once(':').map(|(field, _)| field.trim().to_ascii_lowercase());
            in_sender = field.is_some_and(|field| SENDER_FIELDS.contains(&field.as_str()));
        }
        if in_sender && line.contains('@') {
            return true;
        }
    }
    false
}
