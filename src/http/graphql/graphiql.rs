//! `GraphiQL`, from files inside the binary.
//!
//! The page loads nothing from anywhere else, so it works offline. Whoever opens it enters a token in the editor for
//! headers; the page itself is public and holds nothing.
//!
//! **Invariant:** the page runs only the scripts listed in `src/http/graphiql/SOURCES.md`: its content security policy
//! allows no inline script, no `eval` and no other host.

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use rust_embed::RustEmbed;

/// The vendored files and our page.
#[derive(RustEmbed)]
#[folder = "src/http/graphiql/"]
struct Files;

/// What the page may do. Fonts are inside the style sheet as `data:` URLs; `GraphiQL` adds a style element of its own,
/// with a width that it measures, while a dialog is open.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     style-src-elem 'self' 'unsafe-inline'; font-src data:; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Puts `/graphiql` into an actix application.
pub fn routes(services: &mut web::ServiceConfig) {
    services
        .route("/graphiql", web::get().to(async || file("index.html")))
        .route("/graphiql/{file}", web::get().to(async |name: web::Path<String>| file(&name)));
}

fn file(name: &str) -> HttpResponse {
    let Some(file) = Files::get(name) else { return HttpResponse::NotFound().finish() };
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, content_type(name)))
        .insert_header((header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .body(file.data)
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.') {
        Some((_, "html")) => "text/html; charset=utf-8",
        Some((_, "js")) => "text/javascript; charset=utf-8",
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "svg")) => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn every_vendored_file_is_the_one_that_its_source_names() {
        let sources = String::from_utf8(Files::get("SOURCES.md").unwrap().data.into_owned()).unwrap();
        let own = ["SOURCES.md", "LICENSES.txt", "index.html", "page.css", "page.js"];
        for name in Files::iter().filter(|name| !own.contains(&&**name)) {
            let digest = hex::encode(Sha256::digest(Files::get(&name).unwrap().data));
            let row = sources.lines().find(|line| line.starts_with(&format!("| {name} |"))).unwrap();
            assert!(row.contains(&digest), "{name} is not what SOURCES.md says");
        }
    }

    #[test]
    fn the_page_has_no_inline_script_and_asks_no_other_host() {
        let page = String::from_utf8(Files::get("index.html").unwrap().data.into_owned()).unwrap();
        assert!(page.matches("<script").count() >= 5);
        assert_eq!(page.matches("<script src=\"/graphiql/").count(), page.matches("<script").count());
        assert!(!page.contains("//") && !page.contains("<style"), "{page}");
    }
}
