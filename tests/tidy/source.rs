//! Rules over Rust source.
//!
//! **Invariant:** comments are not code: a rule about code does not look at lines that are only a comment.

use super::tree::File;

/// No file is longer, in lines; 500 is where to split.
const MAX_LINES: usize = 600;

/// File names that say nothing of what is inside.
const EMPTY_NAMES: [&str; 10] =
    ["utils", "util", "helpers", "helper", "manager", "service", "common", "types", "misc", "mod"];

/// The ways to make a channel write to a customer. Making the client of a channel, for the composition root, is none.
const DELIVERIES: [&str; 6] =
    [".deliver(", "::deliver(", "deliver::send(", ".send_text(", ".send_file(", ".answer_button("];

/// True for the files of these tests, which name what they forbid.
fn is_tidy(file: &File) -> bool {
    file.path == "tests/tidy.rs" || file.path.starts_with("tests/tidy/")
}

/// True when the file is `stem.rs` or lies under `stem/`.
fn is_of(file: &File, stem: &str) -> bool {
    file.path.strip_prefix(stem).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

/// The file without lines that are only a comment and without tests at its end.
fn code(file: &File) -> String {
    let text = match file.text.find("#[cfg(test)]\nmod tests {") {
        Some(tests) => &file.text[..tests],
        None => &file.text,
    };
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// True when `what` is called as a method on something whose name ends with `on`: `self.log.append(`, also when the
/// call is on a line of its own.
fn calls(code: &str, on: &str, what: &str) -> bool {
    let call = format!(".{what}(");
    code.match_indices(&call).any(|(at, _)| code[..at].trim_end().trim_end_matches("()").ends_with(on))
}

/// Every file begins with what it is for.
pub(crate) fn begins_with_its_purpose(file: &File) -> Vec<String> {
    if !file.is_rust() || file.text.starts_with("//! ") {
        return Vec::new();
    }
    vec!["begin with //! and what the file is for".to_owned()]
}

/// No file is too long to be read at once.
pub(crate) fn is_not_too_long(file: &File) -> Vec<String> {
    let lines = file.text.lines().count();
    if !file.is_rust() || lines <= MAX_LINES {
        return Vec::new();
    }
    vec![format!("{lines} lines: split it by responsibility")]
}

/// File names tell what is inside.
pub(crate) fn name_tells_something(file: &File) -> Vec<String> {
    let stem = file.name().strip_suffix(".rs").unwrap_or_default();
    if EMPTY_NAMES.contains(&stem) { vec!["name the file after what is inside".to_owned()] } else { Vec::new() }
}

/// No test is skipped and nothing is left to be written.
pub(crate) fn is_finished(file: &File) -> Vec<String> {
    if !file.is_rust() || is_tidy(file) {
        return Vec::new();
    }
    let code = code_with_tests(file);
    ["#[ignore", "todo!(", "unimplemented!("]
        .into_iter()
        .filter(|unfinished| code.contains(unfinished))
        .map(|unfinished| format!("{unfinished} is not finished work"))
        .collect()
}

fn code_with_tests(file: &File) -> String {
    file.text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Only `src/clock.rs` reads the clock and makes random ids.
pub(crate) fn asks_for_time_and_ids(file: &File) -> Vec<String> {
    if !file.is_rust() || is_tidy(file) || file.path == "src/clock.rs" {
        return Vec::new();
    }
    let code = code_with_tests(file);
    ["Utc::now", "Local::now", "SystemTime::now", "Uuid::now_v7", "Uuid::new_v4"]
        .into_iter()
        .filter(|call| code.contains(call))
        .map(|call| format!("{call} belongs to src/clock.rs; pass a Clock or an IdGenerator"))
        .collect()
}

/// Only the command handler appends domain events, and the webhooks raw intake.
pub(crate) fn appends_only_where_decided(file: &File) -> Vec<String> {
    let allowed = file.path == "models/src/handler.rs"
        || is_of(file, "src/http/webhooks")
        || file.path.starts_with("events/")
        || file.is_test();
    if !file.is_rust() || allowed {
        return Vec::new();
    }
    let code = code(file);
    // Whoever appends must say which revision it expects, whatever the log is called there.
    let appends = calls(&code, "log", "append") || (code.contains("ExpectedRevision") && code.contains(".append("));
    if appends { vec!["only models::handler and http::webhooks append to the log".to_owned()] } else { Vec::new() }
}

/// Only `outbound` makes a channel deliver to a customer.
pub(crate) fn delivers_only_from_outbound(file: &File) -> Vec<String> {
    let allowed = is_of(file, "src/outbound") || is_of(file, "src/channels") || file.is_test();
    if !file.is_rust() || allowed || !file.path.starts_with("src/") {
        return Vec::new();
    }
    let code = code(file);
    DELIVERIES
        .into_iter()
        .filter(|call| code.contains(call))
        .map(|call| format!("{call}…) makes a channel deliver: only outbound does"))
        .collect()
}

/// The log's own code holds no statement that changes or removes an event.
pub(crate) fn log_is_append_only(file: &File) -> Vec<String> {
    if !file.is_rust() || !is_of(file, "events/src/log") || file.is_test() {
        return Vec::new();
    }
    let words = code(file).to_lowercase();
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    ["update events", "delete from events", "replace into events", "update or replace events", "drop table events"]
        .into_iter()
        .filter(|statement| words.contains(statement))
        .map(|statement| format!("\"{statement}\" in the code of the log"))
        .collect()
}

#[test]
fn a_file_without_purpose_is_refused() {
    super::check(begins_with_its_purpose, ("src/x.rs", "use std::fmt;\n"), ("src/x.rs", "//! Does x.\n"));
    super::check(begins_with_its_purpose, ("src/x.rs", "//!\n"), ("README.md", "# x\n"));
}

#[test]
fn a_long_file_is_refused() {
    let lines = |count: usize| "x\n".repeat(count);
    super::check(is_not_too_long, ("src/x.rs", &lines(601)), ("src/x.rs", &lines(600)));
    super::check(is_not_too_long, ("src/x.rs", &lines(601)), ("docs/x.md", &lines(601)));
}

#[test]
fn an_empty_name_is_refused() {
    for name in EMPTY_NAMES {
        super::check(name_tells_something, (&format!("src/{name}.rs"), ""), (&format!("src/{name}_of_x.rs"), ""));
    }
}

#[test]
fn unfinished_work_is_refused_also_in_tests() {
    for unfinished in ["#[ignore]", "#[ignore = \"slow\"]", "todo!()", "unimplemented!()"] {
        let broken = format!("//! x\n{unfinished}\n");
        let kept = format!("//! x\n// {unfinished}\n");
        super::check(is_finished, ("src/x/tests.rs", &broken), ("src/x/tests.rs", &kept));
    }
}

#[test]
fn reading_the_clock_elsewhere_is_refused() {
    for call in ["chrono::Utc::now()", "SystemTime::now()", "Uuid::now_v7()", "Uuid::new_v4()", "Local::now()"] {
        let text = format!("let x = {call};\n");
        super::check(asks_for_time_and_ids, ("events/src/x.rs", &text), ("src/clock.rs", &text));
    }
}

#[test]
fn appending_elsewhere_is_refused() {
    let append = "self.log.append(&stream, expected, events).await?;\n";
    for place in ["src/inbound.rs", "graphql/src/conversation.rs", "models/src/conversation.rs", "src/http.rs"] {
        for kept in
            ["models/src/handler.rs", "src/http/webhooks.rs", "src/http/webhooks/telegram.rs", "events/src/x.rs"]
        {
            super::check(appends_only_where_decided, (place, append), (kept, append));
        }
    }
    let broken = ["self.log\n    .append(x)", "app.log().append(x)", "use ExpectedRevision;\nwriter.append(x)"];
    for text in broken {
        super::check(appends_only_where_decided, ("src/x.rs", text), ("src/x.rs", "names.append(&mut more)"));
    }
    let in_tests = format!("#[cfg(test)]\nmod tests {{\n{append}}}\n");
    super::check(appends_only_where_decided, ("src/x.rs", append), ("src/x.rs", &in_tests));
}

#[test]
fn delivering_elsewhere_is_refused() {
    let deliver = "channel.deliver(&message).await?;\n";
    super::check(delivers_only_from_outbound, ("src/inbound.rs", deliver), ("src/outbound.rs", deliver));
    super::check(delivers_only_from_outbound, ("src/app.rs", deliver), ("src/outbound/retry.rs", deliver));
    for call in DELIVERIES {
        let text = format!("let sent = bot{call}x).await;\n");
        super::check(delivers_only_from_outbound, ("src/http.rs", &text), ("src/channels/telegram.rs", &text));
    }
}

#[test]
fn a_statement_that_changes_events_is_refused() {
    for statement in ["UPDATE events SET x = 1", "DELETE FROM\n   events", "delete from events_index"] {
        let code = format!("execute(\"{statement}\");\n");
        let trigger = "CREATE TRIGGER t BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'never'); END";
        super::check(log_is_append_only, ("events/src/log/embedded/writer.rs", &code), ("events/src/log.rs", trigger));
        super::check(log_is_append_only, ("events/src/log.rs", &code), ("events/src/log/embedded/tests/x.rs", &code));
    }
}
