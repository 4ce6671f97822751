//! Layering and house rules as tests over the text of the repository.
//!
//! **Invariant:** every rule is a pure function over files (path and text), and each is shown to fail on a planted
//! breach, so that no rule passes only because it looks at nothing.

#[path = "tidy/manifest.rs"]
mod manifest;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/text.rs"]
mod text;
#[path = "tidy/tree.rs"]
mod tree;

use tree::{File, Tree};

/// A rule over one file: what is wrong with it.
type FileRule = fn(&File) -> Vec<String>;

/// Every rule that looks at one file at a time.
const FILE_RULES: &[(&str, FileRule)] = &[
    ("crate arrows", manifest::arrows),
    ("models stay pure", manifest::models_are_pure),
    ("files say what they are for", source::begins_with_its_purpose),
    ("files stay short", source::is_not_too_long),
    ("file names tell something", source::name_tells_something),
    ("nothing is skipped or missing", source::is_finished),
    ("one place reads the clock and makes ids", source::asks_for_time_and_ids),
    ("one write path", source::appends_only_where_decided),
    ("one way out", source::delivers_only_from_outbound),
    ("the log is never changed", source::log_is_append_only),
    ("no paths of a machine", text::names_no_machine_path),
    ("no registry hosts", text::names_no_registry_host),
];

/// Where a rule is broken, in lines.
fn breaches(files: &[File], rule: FileRule) -> Vec<String> {
    files.iter().flat_map(|file| rule(file).into_iter().map(|what| format!("{}: {what}", file.path))).collect()
}

#[test]
fn the_repository_keeps_its_rules() {
    let tree = Tree::of_repository();
    let mut broken = Vec::new();
    for (name, rule) in FILE_RULES {
        broken.extend(breaches(&tree.files, *rule).into_iter().map(|breach| format!("[{name}] {breach}")));
    }
    broken.extend(text::schema_is_committed(&tree.files));
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn the_rules_see_the_files_they_are_about() {
    let tree = Tree::of_repository();
    let has = |path: &str| tree.files.iter().any(|file| file.path == path);
    for path in [
        "Cargo.toml",
        "events/Cargo.toml",
        "models/Cargo.toml",
        "models/src/handler.rs",
        "src/http.rs",
        "tests/tidy.rs",
    ] {
        assert!(has(path), "{path}");
    }
    assert!(!tree.files.iter().any(|file| file.path.starts_with("target/") || file.path.starts_with(".git/")));
}

/// Checks a rule against a breach and against a file that keeps it.
#[track_caller]
fn check(rule: FileRule, broken: (&str, &str), kept: (&str, &str)) {
    let file = |(path, text): (&str, &str)| File { path: path.to_owned(), text: text.to_owned() };
    assert_ne!(rule(&file(broken)), Vec::<String>::new(), "must be refused: {broken:?}");
    assert_eq!(rule(&file(kept)), Vec::<String>::new(), "must be allowed: {kept:?}");
}
