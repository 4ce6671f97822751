//! The roles of a process, and which of them may be apart on which engines.
//!
//! **Invariant:** processes share nothing but the engines. A split that an engine cannot carry is refused at start: the
//! embedded log and the embedded key store are written by one process.

use crate::config::{Config, FeedEngine, Keeping, LogEngine, Role};

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    http: bool,
    project: bool,
    react: bool,
    relay: bool,
}

impl Roles {
    /// These; all when none is named.
    #[must_use]
    pub fn of(roles: &[Role]) -> Self {
        let has = |role| roles.is_empty() || roles.contains(&role);
        Self { http: has(Role::Http), project: has(Role::Project), react: has(Role::React), relay: has(Role::Relay) }
    }

    /// True when it has this one.
    #[must_use]
    pub const fn has(self, role: Role) -> bool {
        match role {
            Role::Http => self.http,
            Role::Project => self.project,
            Role::React => self.react,
            Role::Relay => self.relay,
        }
    }

    /// True when it appends to the log.
    #[must_use]
    pub const fn appends(self) -> bool {
        self.http || self.react
    }

    /// True when it reads the read models.
    #[must_use]
    pub const fn reads_views(self) -> bool {
        self.http || self.react
    }

    /// Their names, for people.
    #[must_use]
    pub fn names(self) -> String {
        let names: Vec<&str> = Role::ALL.into_iter().filter(|role| self.has(*role)).map(Role::as_str).collect();
        names.join(",")
    }
}

/// Refuses roles that the configured engines cannot carry.
///
/// # Errors
/// What to do instead.
pub fn can_be_split(config: &Config) -> Result<(), &'static str> {
    let roles = config.roles();
    if config.roles.contains(&Role::Relay) && config.feed.engine != FeedEngine::Kafka {
        return Err("relay publishes to Kafka: set feed.engine = \"kafka\", or leave the role out");
    }
    if config.views.engine == Keeping::Embedded && roles.project != roles.reads_views() && !is_relay_alone(roles) {
        return Err(
            "embedded read models are read by the process that keeps them: give project to the process with http \
                    and react, or set views.engine = \"postgres\"",
        );
    }
    let writes_alone = roles.http && roles.react;
    if roles.appends() && !writes_alone {
        if config.log.engine == LogEngine::Embedded {
            return Err("the embedded log is written by one process: give http and react to the same one, or set \
                        log.engine to \"postgres\" or \"eventstore\"");
        }
        if config.keys.engine == Keeping::Embedded {
            return Err(
                "the embedded key store is written by one process: give http and react to the same one, or set \
                        keys.engine = \"postgres\"",
            );
        }
        if config.blobs.engine == Keeping::Embedded {
            return Err("embedded blobs are in one process's folder: give http and react to the same one, or set \
                        blobs.engine = \"postgres\"");
        }
    }
    Ok(())
}

/// A relay needs no read models.
fn is_relay_alone(roles: Roles) -> bool {
    !roles.project && !roles.reads_views()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(roles: &[Role], postgres: bool) -> Config {
        let mut config = Config { roles: roles.to_vec(), ..Config::default() };
        if postgres {
            config.log.engine = LogEngine::Postgres;
            (config.keys.engine, config.blobs.engine) = (Keeping::Postgres, Keeping::Postgres);
            config.views.engine = Keeping::Postgres;
        }
        config
    }

    #[test]
    fn a_process_without_named_roles_has_all() {
        assert_eq!(Config::default().roles().names(), "http,project,react,relay");
        assert_eq!(can_be_split(&Config::default()), Ok(()));
    }

    #[test]
    fn what_the_embedded_engines_cannot_carry_is_refused_and_told() {
        use Role::{Http, Project, React, Relay};
        for (roles, fits) in [
            (&[Http, React][..], false),
            (&[Http, React, Project], true),
            (&[Project], false),
            (&[Http], false),
            (&[React, Project], false),
        ] {
            assert_eq!(can_be_split(&config(roles, false)).is_ok(), fits, "{roles:?}");
            assert_eq!(can_be_split(&config(roles, true)), Ok(()), "{roles:?}");
        }
        assert!(can_be_split(&config(&[Http, React], false)).unwrap_err().contains("embedded read models"));
        let mut views = config(&[Http, React], false);
        views.views.engine = Keeping::Postgres;
        assert_eq!(can_be_split(&views), Ok(()), "the log may be read beside the process that writes it");
        assert!(can_be_split(&config(&[Http, Project], false)).unwrap_err().contains("embedded log"));
        let mut keys = config(&[Http], true);
        keys.keys.engine = Keeping::Embedded;
        assert!(can_be_split(&keys).unwrap_err().contains("key store"));
        assert!(can_be_split(&config(&[Relay], true)).unwrap_err().contains("feed.engine"));
        let mut relay = config(&[Relay], false);
        relay.feed.engine = FeedEngine::Kafka;
        assert_eq!(can_be_split(&relay), Ok(()), "it reads the file of a log that another process writes");
    }
}
