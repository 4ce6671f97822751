//! The text files of the repository.
//!
//! **Invariant:** everything that is written by hand is looked at; what is built, vendored or locked is not.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// Folders that hold nothing written by hand.
const SKIPPED_FOLDERS: [&str; 4] = [".git", "target", "data", "node_modules"];

/// Endings of text files.
const TEXT: [&str; 19] = [
    "rs", "toml", "md", "json", "graphql", "html", "css", "js", "sql", "sh", "yml", "yaml", "txt", "snap", "eml", "py",
    "mjs", "java", "xml",
];

/// Names of text files without an ending.
const TEXT_NAMES: [&str; 4] = ["Makefile", "Dockerfile", "run", "LICENSE"];

/// A text file.
#[derive(Debug, Clone)]
pub(crate) struct File {
    /// Its path from the root of the repository, with `/`.
    pub(crate) path: String,
    /// What it says.
    pub(crate) text: String,
}

impl File {
    /// The name without folder.
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// True for Rust source.
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// True for what runs only in tests and benchmarks.
    pub(crate) fn is_test(&self) -> bool {
        let folders = ["tests", "testing", "benches"];
        let names = ["tests.rs", "testing.rs"];
        self.path.split('/').any(|part| folders.contains(&part)) || names.contains(&self.name())
    }
}

/// The text files of the repository.
pub(crate) struct Tree {
    /// In order of path.
    pub(crate) files: Vec<File>,
}

impl Tree {
    /// Reads the repository that these tests run in.
    pub(crate) fn of_repository() -> Self {
        let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo tells tests where the package is"));
        let mut files = Vec::new();
        read(&root, &root, &mut files);
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Self { files }
    }
}

fn read(root: &Path, folder: &Path, files: &mut Vec<File>) {
    for entry in fs::read_dir(folder).expect("the repository can be read") {
        let path = entry.expect("the repository can be read").path();
        let name = path.file_name().expect("an entry of a folder has a name").to_string_lossy().into_owned();
        if path.is_dir() {
            if !SKIPPED_FOLDERS.contains(&name.as_str()) {
                read(root, &path, files);
            }
        } else if is_text(&name) {
            // Sample mails may be in any encoding; what is looked for is ASCII.
            let text = String::from_utf8_lossy(&fs::read(&path).expect("the repository can be read")).into_owned();
            let path =
                path.strip_prefix(root).expect("it was found under the root").to_string_lossy().replace('\\', "/");
            files.push(File { path, text });
        }
    }
}

fn is_text(name: &str) -> bool {
    if name.contains(".min.") {
        return false;
    }
    TEXT_NAMES.contains(&name) || name.rsplit_once('.').is_some_and(|(_, ending)| TEXT.contains(&ending))
}

#[test]
fn vendored_and_locked_files_are_not_looked_at() {
    assert!(is_text("lib.rs") && is_text("Makefile") && is_text("page.js"));
    assert!(!is_text("Cargo.lock") && !is_text("graphiql.min.js") && !is_text("photo.jpg"));
}

#[test]
fn tests_are_known_by_their_place() {
    let is_test = |path: &str| File { path: path.to_owned(), text: String::new() }.is_test();
    for path in ["src/http/graphql/tests.rs", "events/src/testing.rs", "events/src/testing/x.rs", "tests/e2e/main.rs"] {
        assert!(is_test(path), "{path}");
    }
    assert!(!is_test("src/outbound.rs") && !is_test("src/contests.rs"));
}
