//! Rules over every text: what must not be named in it, and what must be there.
//!
//! **Invariant:** the forbidden names stand here in pieces, so that this file keeps its own rules.

use super::tree::File;

/// Folders of one machine.
const MACHINE_PATHS: [&str; 4] =
    [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/")];

/// Hosts that packages come from.
const REGISTRY_HOSTS: [&str; 9] = [
    concat!("crates", ".io/"),
    concat!("index.crates", ".io"),
    concat!("registry.npmjs", ".org"),
    concat!("npmjs", ".com"),
    concat!("pypi", ".org"),
    concat!("unpkg", ".com"),
    concat!("jsdelivr", ".net"),
    concat!("esm", ".sh"),
    concat!("proxy.golang", ".org"),
];

fn named<const N: usize>(file: &File, names: [&str; N]) -> Vec<String> {
    names
        .into_iter()
        .filter_map(|name| {
            let line = file.text.lines().position(|line| line.contains(name))?;
            Some(format!("line {}: names {name}", line + 1))
        })
        .collect()
}

/// No path of somebody's machine. A path counts where a word begins, so that parts of addresses do not.
pub(crate) fn names_no_machine_path(file: &File) -> Vec<String> {
    let begins_word = |before: &str| {
        before.chars().next_back().is_none_or(|last| !last.is_alphanumeric() && !matches!(last, '/' | '.' | '-' | '_'))
    };
    MACHINE_PATHS
        .into_iter()
        .filter(|path| file.text.match_indices(path).any(|(at, _)| begins_word(&file.text[..at])))
        .map(|path| format!("names {path}"))
        .collect()
}

/// No host of a package registry: what is vendored says package and version.
pub(crate) fn names_no_registry_host(file: &File) -> Vec<String> {
    named(file, REGISTRY_HOSTS)
}

/// A GraphQL crate that builds a schema has the schema's text committed beside it.
pub(crate) fn schema_is_committed(files: &[File]) -> Vec<String> {
    let builds = files.iter().any(|file| file.path.starts_with("graphql/src/") && file.text.contains("Schema::build"));
    let committed = files.iter().any(|file| file.path == "graphql/schema.graphql" && !file.text.trim().is_empty());
    if builds && !committed { vec!["graphql/schema.graphql is missing".to_owned()] } else { Vec::new() }
}

#[test]
fn a_machine_path_is_refused() {
    for path in MACHINE_PATHS {
        super::check(names_no_machine_path, ("README.md", &format!("see {path}x")), ("README.md", "see docs/adr"));
        let address = format!("https://example.com{path}x");
        super::check(names_no_machine_path, ("Makefile", &format!("cd {path}x")), ("README.md", &address));
    }
}

#[test]
fn a_registry_host_is_refused() {
    for host in REGISTRY_HOSTS {
        super::check(
            names_no_registry_host,
            ("README.md", &format!("https://{host}x")),
            ("README.md", "package serde"),
        );
    }
}

#[test]
fn a_schema_that_is_not_committed_is_refused() {
    let file = |path: &str, text: &str| File { path: path.to_owned(), text: text.to_owned() };
    let code = file("graphql/src/lib.rs", "Schema::build(Query, Mutation, Subscription)");
    assert!(!schema_is_committed(std::slice::from_ref(&code)).is_empty());
    assert!(!schema_is_committed(&[code.clone(), file("graphql/schema.graphql", "\n")]).is_empty());
    assert!(schema_is_committed(&[code, file("graphql/schema.graphql", "type Query { x: Int }")]).is_empty());
    assert!(schema_is_committed(&[file("graphql/src/lib.rs", "//! x")]).is_empty());
}
