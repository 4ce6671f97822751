//! Tokens: who calls.
//!
//! A static file stands in until access control comes. Each entry names a viewer and the SHA-256 of their token:
//!
//! ```toml
//! [[token]]
//! sha256 = "<64 hex digits>"
//! tenant = "acme"
//! role = "operator"            # agent, operator, supervisor or administrator
//! id = "olga"
//! expires_at = "2027-01-01T00:00:00Z"   # optional
//! ```
//!
//! **Invariant:** the file holds hashes only; tokens are random and long, so a plain hash suffices; all entries are
//! compared in constant time.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use chrono::{DateTime, Utc};
use events::clock::Clock;
use events::ids::TenantId;
use events::viewer::{Role, Viewer};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Everyone who may call.
pub struct Tokens {
    entries: Vec<Entry>,
    clock: Arc<dyn Clock>,
}

struct Entry {
    hash: [u8; 32],
    viewer: Viewer,
    expires_at: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    token: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    sha256: String,
    tenant: TenantId,
    role: Role,
    id: String,
    expires_at: Option<DateTime<Utc>>,
}

impl Tokens {
    /// Nobody may call.
    #[must_use]
    pub fn none(clock: Arc<dyn Clock>) -> Self {
        Self { entries: Vec::new(), clock }
    }

    /// Reads the file.
    ///
    /// # Errors
    /// The file cannot be read or an entry is malformed.
    pub fn load(file: &Path, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        use figment::providers::{Format, Toml};
        let place = || format!("tokens file {}", file.display());
        anyhow::ensure!(file.exists(), "{} does not exist", place());
        let parsed: File = figment::Figment::from(Toml::file_exact(file)).extract().with_context(place)?;
        let mut tokens = Self::none(clock);
        for row in parsed.token {
            let hash = hex::decode(&row.sha256).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
            let hash = hash.with_context(|| format!("{}: sha256 of {} is not 64 hex digits", place(), row.id))?;
            let viewer = Viewer { tenant: row.tenant, role: row.role, id: row.id.into() };
            tokens.entries.push(Entry { hash, viewer, expires_at: row.expires_at });
        }
        Ok(tokens)
    }

    /// Lets a viewer call with a token that was made for them.
    pub fn admit(&mut self, token: &str, viewer: Viewer) {
        self.entries.push(Entry { hash: Sha256::digest(token.as_bytes()).into(), viewer, expires_at: None });
    }

    /// Whose token it is, and until when it is good.
    #[must_use]
    pub fn viewer(&self, token: &str) -> Option<(Viewer, Option<DateTime<Utc>>)> {
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let now = self.clock.now();
        let mut found = None;
        for entry in &self.entries {
            if bool::from(entry.hash.ct_eq(&hash)) && entry.expires_at.is_none_or(|at| at > now) {
                found = Some((entry.viewer.clone(), entry.expires_at));
            }
        }
        found
    }

    /// True when nobody may call.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// The token of an `Authorization: Bearer …` header (RFC 6750, section 2.1).
#[must_use]
pub fn bearer(request: &actix_web::HttpRequest) -> Option<&str> {
    let value = request.headers().get(actix_web::http::header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use events::clock::FixedClock;

    use super::*;

    fn tokens(text: &str) -> anyhow::Result<Tokens> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tokens.toml");
        std::fs::write(&file, text).unwrap();
        Tokens::load(&file, Arc::new(FixedClock::new("2026-11-22T12:00:00Z".parse().unwrap())))
    }

    const HASH_OF_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_token_names_its_viewer_and_no_other_does() {
        let tokens = tokens(&format!(
            "[[token]]\nsha256 = \"{HASH_OF_ABC}\"\ntenant = \"acme\"\nrole = \"operator\"\nid = \"olga\""
        ))
        .unwrap();
        assert_eq!(tokens.viewer("abc").unwrap().0.id.as_ref(), "olga");
        assert!(tokens.viewer("abd").is_none());
    }

    #[test]
    fn an_expired_token_names_nobody() {
        let row =
            format!("[[token]]\nsha256 = \"{HASH_OF_ABC}\"\ntenant = \"acme\"\nrole = \"operator\"\nid = \"olga\"\n");
        assert!(tokens(&format!("{row}expires_at = \"2026-11-22T12:00:00Z\"")).unwrap().viewer("abc").is_none());
        assert!(tokens(&format!("{row}expires_at = \"2026-11-22T12:00:01Z\"")).unwrap().viewer("abc").is_some());
    }

    #[test]
    fn a_malformed_entry_is_refused() {
        assert!(tokens("[[token]]\nsha256 = \"12\"\ntenant = \"acme\"\nrole = \"operator\"\nid = \"olga\"").is_err());
        assert!(tokens("[[token]]\nsha = \"12\"").is_err());
    }
}
