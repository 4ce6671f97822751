//! Rich messages: headings, lists, tables and quotations, read as plain text.
//!
//! **Invariant:** every text in it is kept, in order, blocks apart by line breaks; links that hide behind words and
//! files are collected beside it. Its depth is bounded by that of the JSON parser.
//!
//! **Source:** Bot API 10.1, objects `RichMessage`, `RichBlock` and `RichText`.

use serde_json::Value;

use super::files::Files;
use crate::channels::json::Object;

/// A rich message, read.
#[derive(Debug, Default)]
pub(super) struct Rich {
    pub(super) text: String,
    pub(super) links: Vec<String>,
    pub(super) files: Files,
}

impl Rich {
    pub(super) fn read(message: Object<'_>) -> Self {
        let mut rich = Self::default();
        rich.blocks(message.list("blocks"));
        rich.text.truncate(rich.text.trim_end().len());
        rich
    }

    fn blocks(&mut self, blocks: &[Value]) {
        for block in blocks.iter().filter_map(Object::of) {
            self.block(block);
        }
    }

    fn block(&mut self, block: Object<'_>) {
        for field in ["summary", "label", "text", "expression"] {
            if let Some(text) = block.get(field) {
                self.inline(text);
                // The label of a list item stands before its content.
                self.text.push(if field == "label" { ' ' } else { '\n' });
            }
        }
        for item in block.objects("items") {
            self.block(item);
        }
        self.blocks(block.list("blocks"));
        for row in block.list("cells").iter().filter_map(Value::as_array) {
            for (column, cell) in row.iter().filter_map(Object::of).enumerate() {
                if column > 0 {
                    self.text.push('\t');
                }
                if let Some(text) = cell.get("text") {
                    self.inline(text);
                }
            }
            self.text.push('\n');
        }
        for field in ["caption", "credit"] {
            match block.get(field).map(|value| (value, Object::of(value))) {
                // A caption with a credit of its own, which is no text with a type.
                Some((_, Some(caption))) if !caption.has("type") => self.block(caption),
                Some((text, _)) => {
                    self.inline(text);
                    self.text.push('\n');
                }
                None => {}
            }
        }
        // A voice note and a file stand under their own names here; elsewhere the names are those of a message.
        if let Some(voice) = block.get("voice_note") {
            let as_message = Value::Object([("voice".to_owned(), voice.clone())].into_iter().collect());
            self.files.append(Object::of(&as_message).map(Files::of).unwrap_or_default());
        }
        self.files.append(Files::of(block));
    }

    /// A string, a list of texts, or an object with a type and a text.
    fn inline(&mut self, text: &Value) {
        match text {
            Value::String(text) => self.text.push_str(text),
            Value::Array(parts) => {
                for part in parts {
                    self.inline(part);
                }
            }
            Value::Object(_) => {
                let Some(part) = Object::of(text) else { return };
                for field in ["text", "alternative_text", "expression"] {
                    if let Some(inner) = part.get(field) {
                        self.inline(inner);
                    }
                }
                self.links.extend(part.owned("url"));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}
