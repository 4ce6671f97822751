//! Rules over `Cargo.toml`: which crate may know which.
//!
//! **Invariant:** arrows point one way, `events <- {models, projections} <- graphql <- letopis`, in every section of
//! dependencies.

use super::tree::File;

/// The crates of the workspace and the ones each may know. The root package may know all.
const ARROWS: [(&str, &[&str]); 4] = [
    ("events", &[]),
    ("models", &["events"]),
    ("projections", &["events"]),
    ("graphql", &["events", "models", "projections"]),
];

/// The root package: nothing depends on it.
const ROOT: &str = "letopis";

/// What the domain models must not reach, by the beginnings of package names: run times, HTTP, databases, brokers,
/// mail and language models.
const IMPURE: [&str; 26] = [
    "actix",
    "axum",
    "hyper",
    "reqwest",
    "tokio",
    "async-std",
    "smol",
    "async-graphql",
    "rusqlite",
    "libsqlite3",
    "sqlx",
    "diesel",
    "deadpool",
    "postgres",
    "redis",
    "rdkafka",
    "krafka",
    "kurrentdb",
    "eventstore",
    "tantivy",
    "lettre",
    "mail-",
    "mistralrs",
    "candle",
    "async-openai",
    "llm",
];

/// A line that names a dependency.
#[derive(Debug, PartialEq, Eq)]
struct Dependency {
    /// `dependencies`, `dev-dependencies` or `build-dependencies`.
    section: String,
    /// The package, whatever it is called here.
    package: String,
}

/// The dependencies that a manifest names.
fn dependencies(manifest: &str) -> Vec<Dependency> {
    let mut found = Vec::new();
    let mut section = String::new();
    for line in manifest.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        if let Some(header) = line.strip_prefix('[').and_then(|line| line.split(']').next()) {
            let (section_name, package) = match header.rsplit_once('.') {
                Some((before, package)) if before.ends_with("dependencies") => (before, Some(package)),
                _ => (header, None),
            };
            section = section_name.rsplit('.').next().unwrap_or_default().to_owned();
            if let Some(package) = package {
                found.push(Dependency { section: section.clone(), package: package.to_owned() });
                section.clear();
            }
        } else if section.ends_with("dependencies") {
            let Some((key, value)) = line.split_once('=') else { continue };
            let renamed = value.split_once("package = \"").and_then(|(_, rest)| rest.split('"').next());
            let key = key.trim().split('.').next().unwrap_or_default().trim_matches('"');
            found.push(Dependency { section: section.clone(), package: renamed.unwrap_or(key).to_owned() });
        }
    }
    found
}

/// The crate a manifest is of, if it is one below the root.
fn crate_of(file: &File) -> Option<&str> {
    file.path.strip_suffix("/Cargo.toml")
}

/// Crates know only the crates below them.
pub(crate) fn arrows(file: &File) -> Vec<String> {
    let Some(name) = crate_of(file) else { return Vec::new() };
    let Some((_, allowed)) = ARROWS.iter().find(|(own, _)| *own == name) else {
        return vec!["a new crate needs its arrows here and an ADR".to_owned()];
    };
    let ours = |package: &str| package == ROOT || ARROWS.iter().any(|(own, _)| *own == package);
    dependencies(&file.text)
        .into_iter()
        .filter(|dependency| ours(&dependency.package) && !allowed.contains(&dependency.package.as_str()))
        .map(|dependency| format!("{name} must not know {} ({})", dependency.package, dependency.section))
        .collect()
}

/// The domain models know no run time, HTTP, database, broker or language model.
pub(crate) fn models_are_pure(file: &File) -> Vec<String> {
    if crate_of(file) != Some("models") {
        return Vec::new();
    }
    dependencies(&file.text)
        .into_iter()
        .filter(|dependency| dependency.section != "dev-dependencies")
        .filter(|dependency| IMPURE.iter().any(|impure| dependency.package.starts_with(impure)))
        .map(|dependency| format!("models must not know {}", dependency.package))
        .collect()
}

#[test]
fn every_way_to_name_a_dependency_is_read() {
    let manifest = "[package]\nname = \"x\"\n[dependencies]\na.workspace = true\nb = \"1\"\n# c = \"1\"\n\
                    d = { package = \"e\", version = \"1\" }\n[dependencies.f]\nversion = \"1\"\n\
                    [target.'cfg(unix)'.dependencies]\ng = \"1\"\n[dev-dependencies]\nh = \"1\"\n[lints]\ni = 1\n";
    let found: Vec<String> =
        dependencies(manifest).into_iter().map(|found| format!("{} {}", found.section, found.package)).collect();
    let expected = ["a", "b", "e", "f", "g"].map(|package| format!("dependencies {package}"));
    assert_eq!(found, [&expected[..], &["dev-dependencies h".to_owned()]].concat());
}

#[test]
fn an_arrow_that_points_up_is_refused() {
    let breaches = [
        ("events", "models"),
        ("models", "projections"),
        ("projections", "models"),
        ("projections", "graphql"),
        ("graphql", "letopis"),
    ];
    for (from, to) in breaches {
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let path = format!("{from}/Cargo.toml");
            let broken = format!("[{section}]\n{to}.workspace = true\n");
            super::check(arrows, (&path, &broken), (&path, "[dependencies]\nserde.workspace = true\n"));
        }
    }
    let graphql = "[dependencies]\nevents.workspace = true\nmodels.workspace = true\nprojections.workspace = true\n";
    super::check(arrows, ("events/Cargo.toml", graphql), ("graphql/Cargo.toml", graphql));
    super::check(arrows, ("shared/Cargo.toml", ""), ("Cargo.toml", "[dependencies]\ngraphql.workspace = true\n"));
}

#[test]
fn models_that_reach_outside_are_refused() {
    for package in ["tokio", "actix-web", "reqwest", "rusqlite", "mistralrs", "tokio-postgres"] {
        let broken = format!("[dependencies]\n{package}.workspace = true\n");
        super::check(models_are_pure, ("models/Cargo.toml", &broken), ("projections/Cargo.toml", &broken));
        let renamed = format!("[dependencies]\nx = {{ package = \"{package}\", version = \"1\" }}\n");
        let for_tests = format!("[dev-dependencies]\n{package} = \"1\"\n");
        super::check(models_are_pure, ("models/Cargo.toml", &renamed), ("models/Cargo.toml", &for_tests));
    }
}
