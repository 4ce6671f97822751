//! Every flag, variable and key that `k8s/`, `Dockerfile` and `docker-compose.yml` use is one that letopis knows.
//!
//! **Invariant:** the program itself decides, by its command line and its loader; and each check is shown to fail on a
//! planted mistake. Files are read as they are written here (lists of arguments on one line, a variable and its value on
//! two): what is written otherwise is not found, and a test fails when too little is found.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use letopis::config::{Config, Role};

type Variables = BTreeMap<String, String>;

fn repository() -> PathBuf {
    PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo tells tests where the package is"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = repository().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The program without the settings of whoever runs the tests.
fn letopis() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_letopis"));
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("LETOPIS_")) {
        command.env_remove(name);
    }
    command
}

/// What a list on one line holds: `[serve, --roles, http]`, `["serve"]`.
fn list(text: &str) -> Option<Vec<String>> {
    let inner = text.trim().strip_prefix('[')?.strip_suffix(']')?;
    Some(
        inner.split(',').map(|item| item.trim().trim_matches('"').to_owned()).filter(|item| !item.is_empty()).collect(),
    )
}

/// The command lines of letopis in a file.
fn calls(text: &str) -> Vec<Vec<String>> {
    let of_line =
        |line: &str| ["args:", "command:", "CMD "].iter().find_map(|key| list(line.trim().strip_prefix(key)?));
    text.lines().filter_map(of_line).collect()
}

/// Whether the command line is one of letopis: what stands before `--help` is parsed before help is given.
fn is_known(call: &[String]) -> bool {
    letopis().args(call).arg("--help").output().expect("letopis can be started").status.success()
}

/// Variables of letopis: `- name: X` with `value:` on the next line, or `X: value` as compose files have it.
///
/// Of one that comes from a secret the test makes a value up.
fn variables(text: &str) -> Variables {
    let made_up = |name: &str| match name {
        "LETOPIS_POSTGRES__URL" => "postgres://letopis@postgres.example.org/letopis".to_owned(),
        "LETOPIS_KAFKA__BROKERS" => "kafka.example.org:9093".to_owned(),
        name => panic!("{name} comes from a secret: say here what it looks like"),
    };
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.starts_with('#')).collect();
    let mut found = Variables::new();
    for (at, line) in lines.iter().enumerate() {
        let named = line.strip_prefix("- name: ").filter(|name| name.starts_with("LETOPIS_"));
        if let Some(name) = named {
            let next = lines.get(at + 1).copied().unwrap_or_default();
            let value = next.strip_prefix("value: ").map(str::to_owned);
            assert!(value.is_some() || next == "valueFrom:", "{name}: its value must be on the next line");
            found.insert(name.to_owned(), value.unwrap_or_else(|| made_up(name)));
        } else if let Some((name, value)) = line.split_once(": ").filter(|(name, _)| name.starts_with("LETOPIS_")) {
            found.insert(name.to_owned(), value.to_owned());
        }
    }
    found
}

/// What the loader makes of a configuration file and variables for a process with these roles, or why it refuses them.
fn load(file: &str, variables: &Variables, roles: &[Role]) -> Result<Config, String> {
    let folder = tempfile::tempdir().expect("a folder can be made");
    // What is mounted into a pod lies in the folder instead; the loader wants files to be there.
    let mounts = ["/run/secrets/", "/etc/letopis"];
    let moved = |text: &str| {
        let mut text = text.to_owned();
        for mount in mounts {
            text = text.replace(mount, &format!("{}{mount}", folder.path().display()));
        }
        for (at, _) in text.match_indices(&folder.path().display().to_string()) {
            let path = Path::new(text[at..].split(['"', '\n']).next().unwrap_or_default());
            fs::create_dir_all(path.parent().expect("it is in a folder")).expect("a folder can be made");
            fs::write(path, "").expect("a file can be written");
        }
        text
    };
    let names: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
    let text = format!("roles = {names:?}\n{}", moved(file));
    let path = folder.path().join("letopis.toml");
    fs::write(&path, text).expect("a file can be written");
    let mut command = letopis();
    command.arg("--config").arg(path).arg("check-config");
    for (name, value) in variables.iter().filter(|(name, _)| *name != "LETOPIS_CONFIG") {
        command.env(name, moved(value));
    }
    let output = command.output().expect("letopis can be started");
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())
}

/// A folder of Kustomize with all that it names, in the order in which they are applied.
fn folders(folder: &str) -> Vec<PathBuf> {
    let own = repository().join("k8s").join(folder);
    let text = fs::read_to_string(own.join("kustomization.yaml")).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let named = text.lines().filter_map(|line| line.trim().strip_prefix("- ")).map(|name| own.join(name));
    let named = named.filter(|path| path.is_dir()).map(|path| path.canonicalize().expect("it is there"));
    let root = repository().join("k8s").canonicalize().expect("it is there");
    let relative = |path: PathBuf| path.strip_prefix(&root).expect("it is in k8s").to_string_lossy().into_owned();
    let mut all: Vec<PathBuf> = named.flat_map(|path| folders(&relative(path))).collect();
    all.push(own.canonicalize().expect("it is there"));
    all
}

/// Whether what a component patches is of this role: all are where it names none.
fn is_for(kustomization: &str, role: Option<Role>) -> bool {
    let roles = kustomization.split_once("component in (").and_then(|(_, rest)| rest.split_once(')'));
    match (roles, role) {
        (Some((roles, _)), Some(role)) => roles.split(',').any(|name| name.trim() == role.as_str()),
        _ => true,
    }
}

/// The configuration file and the variables that a pod of an overlay has.
fn pod(overlay: &str, role: Option<Role>) -> (String, Variables) {
    let (mut file, mut all) = (None, Variables::new());
    for folder in folders(overlay) {
        let kustomization = fs::read_to_string(folder.join("kustomization.yaml")).expect("it was read before");
        if kustomization.contains("files: [letopis.toml]") {
            file = Some(fs::read_to_string(folder.join("letopis.toml")).expect("it is named"));
        }
        for entry in fs::read_dir(&folder).expect("it is there") {
            let path = entry.expect("it is there").path();
            if path.extension().is_some_and(|ending| ending == "yaml") && is_for(&kustomization, role) {
                all.extend(variables(&fs::read_to_string(&path).expect("it is there")));
            }
        }
    }
    (file.unwrap_or_else(|| panic!("{overlay} has no letopis.toml")), all)
}

fn overlays() -> Vec<String> {
    let entries = fs::read_dir(repository().join("k8s/overlays")).expect("it is there");
    entries.map(|entry| format!("overlays/{}", entry.expect("it is there").file_name().to_string_lossy())).collect()
}

#[test]
fn every_command_line_is_known() {
    let mut files =
        vec!["Dockerfile".to_owned(), "docker-compose.yml".to_owned(), "k8s/overlays/pilot/pilot.yaml".to_owned()];
    files.extend(Role::ALL.iter().map(|role| format!("k8s/base/{}.yaml", role.as_str())));
    for file in files {
        let calls = calls(&read(&file));
        assert!(!calls.is_empty(), "{file}: no command line was found");
        for call in calls {
            assert!(is_known(&call), "{file}: {call:?}");
        }
    }
    let call = |text: &str| calls(text).remove(0);
    for wrong in ["args: [serve, --role, http]", "command: [serve, --roles, htp]", "CMD [\"server\"]"] {
        assert!(!is_known(&call(wrong)), "must be refused: {wrong}");
    }
}

#[test]
fn each_role_runs_with_what_its_overlay_sets() {
    let mut seen = BTreeSet::new();
    for overlay in overlays() {
        let roles: Vec<Option<Role>> =
            if overlay.ends_with("pilot") { vec![None] } else { Role::ALL.into_iter().map(Some).collect() };
        for role in roles {
            let (file, variables) = pod(&overlay, role);
            let named: Vec<Role> = role.into_iter().collect();
            let config = load(&file, &variables, &named).unwrap_or_else(|error| panic!("{overlay} {role:?}: {error}"));
            assert!(config.auth.tokens_file.is_some() && config.keys.kek_file.is_some(), "{overlay}");
            seen.extend(variables.into_keys());
        }
    }
    for name in ["LETOPIS_POSTGRES__URL", "LETOPIS_KAFKA__BROKERS", "LETOPIS_EVENTSTORE__URL_FILE", "LETOPIS_CONFIG"] {
        assert!(seen.contains(name), "{name} was not found: are the files written as this test reads them?");
    }
    let used: BTreeSet<PathBuf> = overlays().iter().flat_map(|overlay| folders(overlay)).collect();
    for entry in fs::read_dir(repository().join("k8s/components")).unwrap() {
        let path = entry.unwrap().path().canonicalize().unwrap();
        assert!(used.contains(&path), "{} is in no overlay, so nothing checks it", path.display());
    }
}

#[test]
fn each_service_of_the_compose_file_runs_with_what_it_sets() {
    let text = read("docker-compose.yml");
    let variables = variables(&text);
    assert!(variables.len() > 8, "{variables:?}");
    let mut roles = BTreeSet::new();
    for call in calls(&text) {
        let role = Role::ALL.into_iter().find(|role| call.iter().any(|word| word == role.as_str())).unwrap();
        load("", &variables, &[role]).unwrap_or_else(|error| panic!("{role:?}: {error}"));
        roles.insert(role);
    }
    assert_eq!(roles.len(), Role::ALL.len());
}

#[test]
fn what_letopis_does_not_know_is_refused() {
    let (file, good) = pod("overlays/production", Some(Role::Relay));
    assert!(load(&file, &good, &[Role::Relay]).is_ok());
    let with = |name: &str, value: &str| {
        let mut variables = good.clone();
        variables.insert(name.to_owned(), value.to_owned());
        load(&file, &variables, &[Role::Relay])
    };
    assert!(with("LETOPIS_KAFKA__BROKER", "x").unwrap_err().contains("broker"));
    // What a service called letopis would set, were its links not turned off.
    assert!(with("LETOPIS_SERVICE_HOST", "10.0.0.1").unwrap_err().contains("service_host"));
    assert!(load(&file.replace("topic_prefix", "topics_prefix"), &good, &[Role::Relay]).is_err());
    let embedded = file.replace("engine = \"kafka\"", "engine = \"embedded\"");
    assert!(load(&embedded, &good, &[Role::Relay]).unwrap_err().contains("relay"), "a split that cannot be");
    // A variable is given to those alone that a component names.
    let (_, of_http) = pod("overlays/production", Some(Role::Http));
    assert!(good.contains_key("LETOPIS_KAFKA__BROKERS") && !of_http.contains_key("LETOPIS_KAFKA__BROKERS"));
}

/// The topics of a file: name, partitions, copies, settings.
#[cfg(feature = "kafka")]
fn declared(text: &str) -> BTreeMap<String, Variables> {
    let mut all = BTreeMap::new();
    for document in text.split("\n---\n") {
        let fields = document.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(": "));
        let mut fields: Variables = fields.map(|(key, value)| (key.trim().to_owned(), value.to_owned())).collect();
        assert_eq!(fields.remove("kind").as_deref(), Some("KafkaTopic"), "{document}");
        fields.retain(|key, _| !matches!(key.as_str(), "apiVersion" | "strimzi.io/cluster"));
        all.insert(fields.remove("name").expect("a topic has a name"), fields);
    }
    all
}

/// The topics as the relay would make them.
#[cfg(feature = "kafka")]
fn expected(config: &Config) -> BTreeMap<String, Variables> {
    use events::envelope::Category;

    let topics = letopis::engines::kafka::topics(config).expect("the configuration was loaded");
    let hours = u64::from(config.kafka.retention_hours);
    let topic = |partitions: u32, retention: String| {
        let fields = [
            ("partitions", partitions.to_string()),
            ("replicas", config.kafka.replication.to_string()),
            ("cleanup.policy", "delete".to_owned()),
            ("retention.ms", retention),
            ("max.message.bytes", "1048588".to_owned()),
            ("min.insync.replicas", "2".to_owned()),
        ];
        fields.map(|(key, value)| (key.to_owned(), value)).into_iter().collect()
    };
    let of_category =
        |category| (topics.topic(category), topic(topics.partitions(category), (hours * 3_600_000).to_string()));
    let mut all: BTreeMap<String, Variables> = Category::ALL.into_iter().map(of_category).collect();
    all.insert(topics.parked(), topic(1, "-1".to_owned()));
    all
}

#[cfg(feature = "kafka")]
#[test]
fn the_declared_topics_are_those_that_letopis_expects() {
    let (file, variables) = pod("overlays/production", Some(Role::Relay));
    let config = load(&file, &variables, &[Role::Relay]).unwrap();
    assert!(!config.kafka.create_topics, "they are declared");
    let text = read("k8s/components/kafka-strimzi/topics.yaml");
    assert_eq!(declared(&text), expected(&config));
    assert_ne!(declared(&text.replace("partitions: 24", "partitions: 23")), expected(&config));
}
