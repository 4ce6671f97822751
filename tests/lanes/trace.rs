//! Reads a trace of system calls, and judges by it what was durable when a sender was answered.
//!
//! **Invariant:** the judgement rests on the bytes that went to the kernel: an answer names an event, the event's id
//! is found in what was written to the log's write-ahead file, and the frame that commits it must be synced before the
//! answer goes to its socket.

use std::collections::{HashMap, HashSet};

/// One system call.
pub(crate) struct Call {
    name: String,
    arguments: String,
    /// The line on which it began.
    began: usize,
    /// The line on which it ended; `None` when the trace ends before it does.
    ended: Option<usize>,
    /// What it answered.
    result: Option<i64>,
}

/// What a trace shows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Answers of the 2xx class that name an event.
    pub(crate) acknowledged: usize,
    /// Those that went out before their bytes were synced.
    pub(crate) too_early: usize,
    /// Syncs of the write-ahead file.
    pub(crate) syncs: usize,
}

/// The calls in a trace that `strace -f -y -xx` wrote, in the order in which they began.
pub(crate) fn calls(trace: &str) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    // By thread, the call that waits for its end.
    let mut open = HashMap::new();
    for (line, text) in trace.lines().enumerate() {
        let Some((thread, text)) = text.split_once(' ') else { continue };
        let text = text.trim_start();
        if text.starts_with("<... ") {
            if let Some(index) = open.remove(thread) {
                let call: &mut Call = &mut calls[index];
                (call.ended, call.result) = (Some(line), result(text));
            }
            continue;
        }
        let Some((name, arguments)) = text.split_once('(') else { continue };
        let (name, arguments) = (name.to_owned(), arguments.to_owned());
        if arguments.ends_with("<unfinished ...>") {
            open.insert(thread, calls.len());
            calls.push(Call { name, arguments, began: line, ended: None, result: None });
        } else {
            let result = result(&arguments);
            calls.push(Call { name, arguments, began: line, ended: Some(line), result });
        }
    }
    calls
}

/// What stands behind the last `=`.
fn result(text: &str) -> Option<i64> {
    text.rsplit_once("= ")?.1.split_whitespace().next()?.parse().ok()
}

/// The bytes that `\x68\x69` stands for.
fn unescaped(text: &str) -> Vec<u8> {
    text.split("\\x").skip(1).filter_map(|byte| u8::from_str_radix(byte.get(..2)?, 16).ok()).collect()
}

impl Call {
    /// The path of its file; `-y` puts it behind the descriptor.
    fn path(&self) -> Vec<u8> {
        let path = self.arguments.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
        path.map(|(path, _)| unescaped(path)).unwrap_or_default()
    }

    /// The bytes it hands over: all strings among its arguments.
    fn bytes(&self) -> Vec<u8> {
        self.arguments.split('"').skip(1).step_by(2).flat_map(unescaped).collect()
    }

    fn is_write(&self) -> bool {
        matches!(self.name.as_str(), "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2" | "sendto" | "sendmsg")
    }

    fn is_sync(&self) -> bool {
        matches!(self.name.as_str(), "fsync" | "fdatasync")
    }
}

/// A write to the write-ahead file, or a sync of it.
enum Step {
    /// A frame's header; true when the frame ends a transaction.
    Header(bool),
    /// A page, and the line on which its write ended.
    Page(Vec<u8>, Option<usize>),
    /// A sync that succeeded: the lines on which it began and ended.
    Sync(usize, usize),
}

/// Length of a frame's header, and where in it stands the size of the file after a commit, 0 in all other frames.
/// **Source:** sqlite.org/fileformat2.html, section 4.1.
const FRAME_HEADER: usize = 24;
const SIZE_AFTER_COMMIT: std::ops::Range<usize> = 4..8;

/// Length of the header of the write-ahead file. **Source:** as above.
const FILE_HEADER: usize = 32;

/// Judges every answer of the trace that names an event; `write_ahead` ends the path of the log's write-ahead file.
pub(crate) fn judge(calls: &[Call], write_ahead: &str) -> Verdict {
    let mut steps = Vec::new();
    let mut answers = Vec::new();
    for call in calls {
        if call.path().ends_with(write_ahead.as_bytes()) {
            steps.extend(step(call));
        } else if call.is_write() {
            answers.extend(event_of_answer(&call.bytes()).map(|event| (event, call.began)));
        }
    }
    let first_pages = first_pages(&steps, &answers);
    let synced =
        |event: &Event, answered| first_pages.get(event).is_some_and(|first| synced_before(&steps, *first, answered));
    let too_early = answers.iter().filter(|(event, answered)| !synced(event, *answered)).count();
    let syncs = steps.iter().filter(|step| matches!(step, Step::Sync(..))).count();
    Verdict { acknowledged: answers.len(), too_early, syncs }
}

fn step(call: &Call) -> Option<Step> {
    if call.is_sync() {
        return call.ended.filter(|_| call.result == Some(0)).map(|ended| Step::Sync(call.began, ended));
    }
    if !call.is_write() {
        return None;
    }
    let bytes = call.bytes();
    match bytes.len() {
        FILE_HEADER => None,
        FRAME_HEADER => Some(Step::Header(bytes[SIZE_AFTER_COMMIT].iter().any(|byte| *byte != 0))),
        _ => Some(Step::Page(bytes, call.ended)),
    }
}

/// The bytes of an event's id, as they stand in the file.
type Event = [u8; 16];

/// The id in the answer `{"accepted":"event-<uuid>"}` of the 2xx class.
fn event_of_answer(bytes: &[u8]) -> Option<Event> {
    if !bytes.starts_with(b"HTTP/1.1 2") {
        return None;
    }
    let text = String::from_utf8_lossy(bytes);
    let (_, id) = text.split_once("\"accepted\":\"event-")?;
    uuid::Uuid::parse_str(id.get(..36)?).ok().map(uuid::Uuid::into_bytes)
}

/// For each event that was answered, the step that first wrote a page with its id.
fn first_pages(steps: &[Step], answers: &[(Event, usize)]) -> HashMap<Event, usize> {
    let mut wanted: HashSet<Event> = answers.iter().map(|(event, _)| *event).collect();
    let mut found = HashMap::new();
    for (at, step) in steps.iter().enumerate() {
        let Step::Page(page, _) = step else { continue };
        // The version of a UUID stands in its seventh byte; those of deliveries are of version 8.
        for bytes in page.windows(16).filter(|bytes| bytes[6] >> 4 == 8) {
            if let Some(event) = wanted.take(bytes) {
                found.insert(event, at);
            }
        }
    }
    found
}

/// True when a sync that began after the transaction around the step `first` was written whole ended before line
/// `answered`.
fn synced_before(steps: &[Step], first: usize, answered: usize) -> bool {
    // The page of a frame follows its header, so the event's own page may be the one that commits.
    let from = first.saturating_sub(1);
    let commit = steps[from..].iter().position(|step| matches!(step, Step::Header(true)));
    let Some(commit) = commit.map(|at| from + at) else { return false };
    let Some(Step::Page(_, Some(written))) = steps.get(commit + 1) else { return false };
    steps[commit..].iter().any(|step| matches!(step, Step::Sync(began, ended) if began > written && *ended < answered))
}

#[test]
fn an_answer_counts_as_durable_only_after_a_sync_that_began_after_the_commit() {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>();
    let file = format!("9<{}>", hex(b"data/log.db-wal"));
    let event = uuid::Uuid::new_v8([7; 16]);
    let header = |commits: u8| hex(&[&[0; 7], &[commits][..], &[0; 16]].concat());
    let write = |bytes: &str| format!("1 pwrite64({file}, \"{bytes}\", 1, 0) = 1");
    let page = write(&hex(&[b"page ", &event.into_bytes()[..]].concat()));
    let answer = hex(format!("HTTP/1.1 200 OK\r\n\r\n{{\"accepted\":\"event-{event}\"}}").as_bytes());
    let answer = format!("2 sendto(7<{}>, \"{answer}\", 1, 0, NULL, 0) = 1", hex(b"socket"));
    let (inner, last) = (write(&header(0)), write(&header(1)));
    let (begun, done) = (format!("1 fdatasync({file} <unfinished ...>"), "1 <... fdatasync resumed>) = 0".to_owned());
    let other = write(&hex(b"another page of the same group"));
    let judged = |lines: &[&String]| {
        let trace: Vec<&str> = lines.iter().map(|line| line.as_str()).collect();
        let verdict = judge(&calls(&trace.join("\n")), "log.db-wal");
        assert_eq!(verdict.acknowledged, 1);
        verdict.too_early == 0
    };
    assert!(judged(&[&last, &page, &begun, &done, &answer]));
    assert!(judged(&[&inner, &page, &last, &other, &begun, &done, &answer]));
    assert!(!judged(&[&last, &page, &answer, &begun, &done]), "the sync came later");
    assert!(!judged(&[&last, &page, &begun, &answer, &done]), "the sync had not ended");
    assert!(!judged(&[&inner, &page, &begun, &done, &last, &other, &answer]), "the group was not whole");
    assert!(!judged(&[&begun, &last, &page, &done, &answer]), "the sync had begun before");
    assert!(!judged(&[&last, &page, &answer]), "there was no sync");
    assert!(!judged(&[&begun, &done, &answer]), "the event was never written");
}
